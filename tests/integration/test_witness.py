"""Do others see to it that a log has one history, and does a held key wait for them?"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from independent.verifier import verify as independent_verify
from kit.checkers import check_log
from kit.node import DIRECT, PROOF, PROOF_P256, Node
from kit.witnessed import Watched, log_vkey, trust_text, watched
from sealpress.core.proof import parse_note, parse_proof
from sealpress.errors import SealpressError, TimedOut
from sealpress.values import DigestAlgorithm
from sealpress.verify.policy import TrustPolicy, parse_policy
from sealpress.verify.proof import verify_proof

DIGESTS = [hashlib.sha256(b"%d" % number).digest() for number in range(64)]
DAMAGED, CANNOT_START = 3, 4


def eventually(true: Callable[[], bool], seconds: float = 10) -> None:
    """Until it is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def trust(found: Watched, line: str) -> TrustPolicy:
    """A verifier who demands the quorum."""
    return parse_policy(trust_text(found.node, line, found.witnesses, 2).encode())


def cosigners(checkpoint: bytes) -> int:
    """Signature lines beside the log's and the line's."""
    return sum("witness" in line.name for line in parse_note(checkpoint).lines)


@pytest.fixture(scope="module")
def held() -> Iterator[Watched]:
    """Two held lines, proof and direct, and one that waits for nobody."""
    with watched(PROOF, DIRECT, shim=True, hold_s_max=2) as found:
        yield found


def test_a_held_proof_satisfies_a_verifier_who_demands_the_quorum(held: Watched) -> None:
    """The answer carries the lines of log, line and two witnesses, over one head."""
    with held.node.client() as client:
        answer = client.sign(DIGESTS[0], line=PROOF)
    verified = verify_proof(trust(held, PROOF), DigestAlgorithm.SHA256, DIGESTS[0], answer.proof)
    independent_verify(trust_text(held.node, PROOF, held.witnesses, 2), "sha256", DIGESTS[0], answer.proof)
    head = parse_proof(answer.proof).note

    assert verified.line == PROOF
    assert sum((head.origin, head.size, head.root) in one.seen for one in held.witnesses) >= 2


def test_a_held_direct_line_signs_after_its_witnesses(held: Watched) -> None:
    """A signature comes, and by then two witnesses have seen a head with its leaf."""
    with held.node.client() as client:
        answer = client.sign(DIGESTS[1], line=DIRECT)

    assert answer.signature
    assert sum(max(size for _, size, _ in one.seen) > answer.leaf_index for one in held.witnesses) >= 2


def test_many_at_once_share_rounds(held: Watched) -> None:
    """64 callers of two held lines: all get their proofs, with fewer rounds than callers."""
    before = held.witnesses[0].asked
    with held.node.client() as client, ThreadPoolExecutor(16) as pool:
        jobs = [pool.submit(client.sign, one, line=PROOF if i % 2 else DIRECT) for i, one in enumerate(DIGESTS)]
        answers = [job.result() for job in jobs]

    assert all(answer.proof or answer.signature for answer in answers)
    assert held.witnesses[0].asked - before < len(DIGESTS)


@pytest.mark.parametrize("line", [PROOF, DIRECT])
def test_without_the_quorum_the_line_key_rests(held: Watched, line: str) -> None:
    """Two of three stall: HOLD_TIMEOUT, no C_Sign; awake within 300 s, the same id gets the same leaf's answer."""
    counters = held.node.shim
    for one in held.witnesses[:2]:
        one.stall()
    with held.node.client(attempts_max=1, timeout_s=30) as client:
        before = counters["C_Sign"]
        began = time.monotonic()
        with pytest.raises(TimedOut) as error:
            client.sign(DIGESTS[2], line=line, request_id=f"held-{line[-5:]}")
        waited = time.monotonic() - began
        assert (error.value.reason, counters["C_Sign"]) == ("HOLD_TIMEOUT", before)
        assert 2 <= waited < 6
        size = client.get_status().logs[0].tree_size
        for one in held.witnesses[:2]:
            one.wake()
        answer = client.sign(DIGESTS[2], line=line, request_id=f"held-{line[-5:]}")

    assert answer.leaf_index < size  # no second leaf
    assert counters["C_Sign"] == before + 1


def test_a_line_that_holds_nothing_does_not_wait(held: Watched) -> None:
    """All witnesses stall, and a line without hold answers at once; awake, the same id gets their cosignatures, too."""
    for one in held.witnesses:
        one.stall()
    with held.node.client(timeout_s=5) as client:
        answer = client.sign(DIGESTS[3], line=PROOF_P256, request_id="free")
        assert cosigners(parse_proof(answer.proof).checkpoint) == 0
        for one in held.witnesses:
            one.wake()

        def cosigned() -> bool:
            again = client.sign(DIGESTS[3], line=PROOF_P256, request_id="free")
            assert again.leaf_index == answer.leaf_index
            verify_proof(held.node.trust(PROOF_P256), DigestAlgorithm.SHA256, DIGESTS[3], again.proof)
            return cosigners(parse_proof(again.proof).checkpoint) >= 2

        eventually(cosigned)


def test_readers_get_the_cosigned_head(held: Watched) -> None:
    """GetCheckpoint and the published file carry the log's line and the witnesses', and no line's."""
    with held.node.client() as client:
        client.sign(DIGESTS[4], line=PROOF)
        text = client.get_checkpoint()
    names = [line.name for line in parse_note(text).lines]

    assert names[0] == parse_note(text).origin
    assert cosigners(text) == len(names) - 1 >= 2
    published = held.node.log_directory / "checkpoint"
    eventually(lambda: published.exists() and parse_note(published.read_bytes()).size >= parse_note(text).size)
    eventually(lambda: cosigners(published.read_bytes()) >= 2)


@pytest.mark.parametrize("mood", ["text", "time", "name", "key", "garbage", "503", "302", "huge", "409"])
def test_a_witness_that_answers_wrongly_counts_for_nothing(held: Watched, mood: str) -> None:
    """One lies, two are honest: the quorum is made by those two; no lie is in the checkpoint."""
    held.witnesses[1].lie(mood)
    try:
        with held.node.client() as client:
            answer = client.sign(DIGESTS[5], line=PROOF)
    finally:
        held.witnesses[1].wake()
    head = parse_proof(answer.proof).note

    assert {held.witnesses[0].name, held.witnesses[2].name} <= {line.name for line in head.lines}
    assert held.witnesses[1].name not in {line.name for line in head.lines}
    verify_proof(trust(held, PROOF), DigestAlgorithm.SHA256, DIGESTS[5], answer.proof)


def test_metrics_name_the_witnesses(held: Watched) -> None:
    """What each answered, how many cosigned, and which head."""
    with held.node.client() as client:
        client.sign(DIGESTS[6], line=PROOF)
    metrics = held.node.metrics()

    assert metrics['sealpress_witness_answers_total{answer="COSIGNED",log="ci",witness="w0"}'] > 0
    assert metrics['sealpress_cosigners{log="ci"}'] >= 2
    assert metrics['sealpress_witnessed_size{log="ci"}'] > 0


def test_the_log_holds(held: Watched) -> None:
    """Whatever its witnesses did before: `log verify` finds every head good, the cosignatures among them."""
    with held.node.client() as client:
        client.sign(DIGESTS[7], line=PROOF)
    held.node.stop("serve")
    vkeys = [one.vkey for one in held.witnesses]
    report = check_log(held.node.log_directory, keys=[log_vkey(held.node), *vkeys])
    held.node.start("serve")

    assert report.bad is None


def test_after_the_leaf_s_time_a_retry_gets_a_new_leaf() -> None:
    """The quorum comes too late: the leaf is recorded as lapsed and never signed; the same id begins anew."""
    with watched(PROOF, start=False, hold_s_max=1) as found:
        found.node.configure({"signer": {"leaf_age_s_max": 3}})
        found.start()
        for one in found.witnesses:
            one.stall()
        with found.node.client(attempts_max=1, timeout_s=30) as client:
            with pytest.raises(TimedOut):
                client.sign(DIGESTS[0], line=PROOF, request_id="late")
            size = client.get_status().logs[0].tree_size
            time.sleep(4)
            for one in found.witnesses:
                one.wake()
        with found.node.client() as client:
            answer = client.sign(DIGESTS[0], line=PROOF, request_id="late")

        assert answer.leaf_index >= size


def no_section(found: Watched) -> str:
    """Held keys, and nobody to ask."""
    found.node.config.write_text(found.node.config.read_text().replace('policy = "witness.policy"', 'policy = "none"'))
    return "serve"


def no_url(found: Watched) -> str:
    """A witness that cannot be asked."""
    path = found.node.directory / "witness.policy"
    path.write_text(path.read_text().replace(f" {found.witnesses[1].url}", ""))
    return "serve"


def no_hold_at_the_key(found: Watched) -> str:
    """The policy wants it, and the signer would not enforce it."""
    found.node.configure({"key": {"proof-ed25519": {"hold": "none"}}})
    return "serve"


def another_hold_at_the_signer(found: Watched) -> str:
    """The signer was started with another configuration."""
    found.node.start("signer")
    found.node.configure({"key": {"proof-p256": {"hold": "witnessed"}}})
    return "serve"


@pytest.mark.parametrize(
    ("break_it", "reason", "said"),
    [
        (no_section, "CONFIG", "No such file"),
        (no_url, "CONFIG", "w1 has no https URL"),
        (no_hold_at_the_key, "CONFIG", "its key has not"),
        (another_hold_at_the_signer, "SIGNER_DIFFERS", "[key.proof-p256] hold"),
    ],
)
def test_a_hold_that_nothing_enforces_is_refused(break_it: Callable[[Watched], str], reason: str, said: str) -> None:
    """Exit 4 at the start, with what is wrong."""
    with watched(PROOF, start=False) as found:
        done = found.node.run(break_it(found))

    assert (done.returncode, reason in done.stderr, said in done.stderr) == (CANNOT_START, True, True), done.stderr


def ended(node: Node, seconds: float = 10) -> int:
    """The exit code of a daemon that ends by itself."""
    process = node.children.pop("serve").process
    try:
        return int(process.wait(seconds))
    finally:
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.parametrize(("mood", "reason"), [("size", "WITNESS_AHEAD"), ("422", "WITNESS_DISAGREES")])
def test_a_witness_that_saw_another_history_stops_the_node(mood: str, reason: str) -> None:
    """While it runs: exit 3, nothing more is signed; and at the next start exit 3 before anything is."""
    with watched() as found:
        with found.node.client() as client:
            client.sign(DIGESTS[0], line=PROOF)
        eventually(lambda: bool(found.witnesses[2].seen))
        found.witnesses[2].lie(mood)
        with found.node.client(attempts_max=1) as client:
            try:
                client.sign(DIGESTS[1], line=PROOF)
            except SealpressError as error:  # it may be stopped by then
                assert error.reason in ("LOG_UNAVAILABLE", "CONNECTION_LOST", "UNREACHABLE")
        assert ended(found.node) == DAMAGED
        done = found.node.run("serve")

        assert (done.returncode, reason in done.stderr) == (DAMAGED, True), done.stderr
        assert reason in found.node.words


def test_a_witness_that_saw_another_root_at_our_size_ends_the_start() -> None:
    """It answers 409 with just the size that we gave, as the protocol has it: exit 3 all the same."""
    with watched() as found:
        with found.node.client() as client:
            client.sign(DIGESTS[0], line=PROOF)
        found.node.stop("serve")
        head = parse_note((found.node.log_directory / "checkpoint").read_bytes())
        found.witnesses[2].heads[head.origin] = head.size, hashlib.sha256(b"another").digest()
        done = found.node.run("serve")

        assert (done.returncode, "WITNESS_DISAGREES" in done.stderr) == (DAMAGED, True), done.stderr
