"""The signer as a process, on a real token behind a counting module: does it start, sign, refuse, and survive?"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import socket
import stat
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kit import shim
from kit.signer import KEYS, ORIGIN, SOFTHSM, FakeLog, Node, Signer, line_of, make_node
from sealpress.core.proof import parse_note
from sealpress.errors import Refusal, Unavailable
from sealpress.hsm import frames as f
from sealpress.hsm.link import SignerLink
from sealpress.hsm.outcomes import Sealed
from sealpress.values import DigestAlgorithm
from sealpress.verify import note
from sealpress.verify.evidence import Evidence

DIGEST = hashlib.sha256(b"artifact").digest()
SMALL = {name: plan for name, plan in KEYS.items() if plan[0] in ("ed25519", "p256")}


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """A provisioned node that tests copy."""
    return make_node(tmp_path_factory.mktemp("node") / "n", keys=SMALL, module=str(shim.built()))


@pytest.fixture
def node(template: Node, tmp_path: Path) -> Node:
    """A node of the test's own."""
    return template.copy(tmp_path / "n")


@pytest.fixture
def counters(tmp_path: Path) -> Iterator[shim.Shim]:
    """What the module saw."""
    with shim.Shim(tmp_path / "counters", SOFTHSM) as page:
        yield page


async def linked(node: Node, work: Callable[[SignerLink], Awaitable[None]]) -> None:
    """Run `work` on a connection."""
    link = SignerLink(node.socket, 10_000)
    await link.connect()
    try:
        await work(link)
    finally:
        await link.close()


def now() -> int:
    """Seconds, as leaves count them."""
    return int(time.time())


async def advance_and_seal(link: SignerLink, log: FakeLog, keys: list[str]) -> Sealed:
    """What serve does for a batch: both at once, answers together."""
    size, root, path = log.growth()
    _, sealed = await asyncio.gather(
        link.advance(log.origin, size, root, path, now()), link.seal(log.origin, size, keys)
    )
    return sealed


def check_head(node: Node, log: FakeLog, sealed: Sealed) -> None:
    """Every line verifies, by the strings that verifiers use."""
    text = note.checkpoint_text(log.origin, sealed.size, log.tree.root(sealed.size))
    lines = [sealed.log_signature_line, *(by.line for by in sealed.lines.values())]
    parsed = parse_note(text + b"\n" + b"".join(lines))
    log_public = note.public_key(note.canonical_spki((node.directory / "main.pub").read_bytes()))
    assert isinstance(log_public, Ed25519PublicKey)
    log_key = note.log_key(log.origin, log_public.public_bytes_raw())
    note.verify_log(log_key, text, parsed.lines[0].signature)
    for key, line in zip(sealed.lines, parsed.lines[1:], strict=True):
        line_key = note.line_key(f"{log.name}/{line_of(key)}", node.public(key))
        assert (line.name, line.key_id) == (line_key.name, line_key.key_id)
        assert note.verify_line(line_key, text, line.signature) == sealed.time


async def test_every_kind_of_key_signs(tmp_path: Path, counters: shim.Shim) -> None:
    """Proof keys sign heads, direct keys sign leaves, one token operation each, with locking on; all of it verifies."""
    node = make_node(tmp_path / "full", module=str(shim.built()))
    direct = {
        "direct-p256": DigestAlgorithm.SHA256,
        "direct-p384": DigestAlgorithm.SHA384,
        "direct-rsa3072": DigestAlgorithm.SHA256,
        "direct-pss3072": DigestAlgorithm.SHA512,
    }

    async def work(link: SignerLink) -> None:
        log = FakeLog()
        leaves = {}
        for key, algorithm in direct.items():
            digest = hashlib.new(algorithm.label, key.encode()).digest()
            leaves[key] = (*log.direct(node.public(key), line_of(key), digest, now(), algorithm), digest)
        sealed = await advance_and_seal(link, log, ["proof-ed25519", "proof-p256"])
        check_head(node, log, sealed)
        assert counters["C_Sign"] == 2
        for key, leaf in leaves.items():
            result = (await link.direct(key, [log.item(*leaf)], sealed.size))[0]
            assert (result.reason, result.rv, result.slot) == ("", 0, "s1#1")
            assert result.signature
        assert counters["C_Sign"] == 2 + len(direct)
        assert (counters["C_Initialize"], counters.initialize_flags, counters["C_Login"]) == (1, 2, 1)

    with Signer(node, counters.env) as signer:
        await linked(node, work)
        assert signer.stop() == 0


async def test_a_killed_worker_is_replaced(node: Node, counters: shim.Shim) -> None:
    """kill -9 of the worker: calls fail in a retryable way, and within 5 s the key signs again."""

    async def work(link: SignerLink) -> None:
        log = FakeLog()
        log.event(now())
        await advance_and_seal(link, log, ["proof-p256"])
        (worker,) = signer.workers()
        os.kill(worker, signal.SIGKILL)
        killed = time.monotonic()
        while True:
            log.event(now())
            sealed = await advance_and_seal(link, log, ["proof-p256"])
            if sealed.lines["proof-p256"].line:
                break
            assert sealed.lines["proof-p256"].reason in ("SLOT_DOWN", "OUTCOME_UNKNOWN")
            await asyncio.sleep(0)  # also while the guard has not yet read that the worker is gone
        assert time.monotonic() - killed < 5
        check_head(node, log, sealed)
        assert signer.workers() != [worker]
        assert (await link.status()).slots["s1"].restarts == 1

    with Signer(node, counters.env) as signer:
        await linked(node, work)


async def test_a_hanging_worker_is_killed(node: Node, counters: shim.Shim) -> None:
    """An operation that outlasts its deadline is given up on time, and its worker replaced."""
    node.edit("sessions = 2", "sessions = 2\ndeadline_ms = 300")

    async def work(link: SignerLink) -> None:
        log = FakeLog()
        log.event(now())
        counters.inject("C_Sign", shim.Kind.HANG, shim.ONCE)
        began = time.monotonic()
        sealed = await advance_and_seal(link, log, ["proof-p256"])
        assert time.monotonic() - began < 1
        assert sealed.lines["proof-p256"].reason == "OUTCOME_UNKNOWN"
        while not sealed.lines["proof-p256"].line:
            await asyncio.sleep(0.05)
            sealed = await link.seal(ORIGIN, 1, ["proof-p256"])
        assert time.monotonic() - began < 5

    with Signer(node, counters.env):
        await linked(node, work)


async def test_a_killed_signer_keeps_its_mark(node: Node, counters: shim.Shim) -> None:
    """kill -9 of everything: the mark stands, T goes on, and what was under way is never signed a second time."""
    log = FakeLog()
    leaf = log.direct(node.public("direct-p256"), line_of("direct-p256"), DIGEST, now())
    times = []

    async def before(link: SignerLink) -> None:
        times.append((await advance_and_seal(link, log, ["proof-p256"])).time)

    async def after(link: SignerLink) -> None:
        status = await link.status()
        mark = status.logs[ORIGIN]
        assert (mark.size, mark.root) == (log.told, log.tree.root())
        assert status.keys["proof-p256"].last_time == times[0]
        result = (await link.direct("direct-p256", [log.item(*leaf, DIGEST)], log.told))[0]
        assert (result.signature, result.reason) == (b"", "OUTCOME_UNKNOWN")
        with pytest.raises(Refusal) as caught:
            await link.advance(ORIGIN, log.told, bytes(32), b"", now())
        assert caught.value.reason == "SIZE_NOT_GROWING"
        log.event(now(), 3)
        check_head(node, log, await advance_and_seal(link, log, ["proof-p256"]))

    with Signer(node, counters.env) as signer:
        await linked(node, before)
        signer.kill()
    with Signer(node, counters.env):
        await linked(node, after)


async def test_a_stop_outlives_the_signer(node: Node, counters: shim.Shim) -> None:
    """A stopped key signs no more, after a restart either; stopping everything silences the log key too."""

    async def stop_one(link: SignerLink) -> None:
        await link.stop("proof-p256")
        assert not (await link.status()).keys["proof-p256"].ready

    async def stop_all(link: SignerLink) -> None:
        log = FakeLog()
        log.event(now())
        assert not link.ready("proof-p256")
        sealed = await advance_and_seal(link, log, ["proof-p256", "proof-ed25519"])
        assert sealed.lines["proof-p256"].reason == "STOPPED"
        assert sealed.lines["proof-ed25519"].line
        with pytest.raises(Refusal) as caught:
            await link.lift("proof-p256", Evidence(b"please", ()))
        assert caught.value.reason == "NOT_PERMITTED"
        await link.stop(None)
        with pytest.raises(Refusal) as caught:
            await link.seal(ORIGIN, 1, ["proof-ed25519"])
        assert caught.value.reason == "STOPPED"
        assert counters["C_Sign"] == 1

    for work in (stop_one, stop_all):
        with Signer(node, counters.env) as signer:
            await linked(node, work)
            signer.stop()


def test_a_wrong_pin_is_tried_once(node: Node, counters: shim.Shim) -> None:
    """However often a supervisor starts it: one C_Login; the right PIN then works."""
    right = (node.directory / "pin").read_text()
    (node.directory / "pin").write_text("not-the-pin")
    for _ in range(4):
        code, err = Signer(node, counters.env).fails()
        assert code == 4
        assert err.startswith("PIN_REJECTED: ")
        assert err.count("\n") == 1
        assert "not-the-pin" not in err
    assert counters["C_Login"] == 1

    (node.directory / "pin").write_text(right)
    with Signer(node, counters.env):
        assert counters["C_Login"] == 2


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("libshim.so", "nowhere.so", "MODULE_MISSING"),
        ("libshim.so", "../../../../../../../../bin/true", "MODULE_MISSING"),
        ('label = "kit"', 'label = "kat"', "TOKEN_NOT_FOUND"),
        ('label = "kit"', 'label = "kit"\nserial = "0000"', "TOKEN_NOT_FOUND"),
        ('cka_id = "a0"', 'cka_id = "0a"', "KEY_NOT_FOUND"),
        ('pin_file = "pin"', 'pin_file = "no-pin"', "PIN_FILE"),
        ('pin_file = "pin"', 'pin_file = "empty"', "PIN_FILE"),
    ],
)
def test_what_is_missing_is_named(node: Node, counters: shim.Shim, before: str, after: str, reason: str) -> None:
    """One line on standard error with reason and hint, exit code 4, and no login that could fail."""
    (node.directory / "empty").write_text("\n")
    node.edit(before, after)
    code, err = Signer(node, counters.env).fails()

    assert code == 4
    assert err.startswith(f"{reason}: ")
    assert err.count("\n") == 1
    assert len(err.rpartition("; ")[2]) > 10
    assert counters["C_Sign"] == 0


async def test_a_replica_that_is_gone_at_the_start_costs_speed_only(node: Node, counters: shim.Shim) -> None:
    """A dead token keeps no signer down whose keys another has; one key on it alone does, by the token's name."""
    text = node.config.read_text().replace('slots = ["s1"]', 'slots = ["gone", "s1"]')
    gone = f'[slot.gone]\nmodule = "{shim.built()}"\nlabel = "gone"\npin_file = "pin"\n'
    node.config.write_text(text + gone)
    signer = Signer(node, counters.env)
    signer.wait_ready()
    link = SignerLink(node.socket, 5_000)
    await link.connect()
    status = await link.status()
    await link.close()
    assert signer.stop() == 0

    assert all(key.ready and key.slot == "s1" for key in status.keys.values())
    assert (status.slots["gone"].up, status.slots["gone"].reason) == (False, "TOKEN_NOT_FOUND")

    node.config.write_text(node.config.read_text().replace('slots = ["gone", "s1"]', 'slots = ["gone"]', 1))
    code, told = Signer(node, counters.env).fails()
    assert code == 4
    assert "TOKEN_NOT_FOUND: slot gone" in told


def test_another_key_behind_the_label_is_refused(node: Node, counters: shim.Shim) -> None:
    """The token's key is not the pinned one: it signs nothing."""
    other = Ed25519PrivateKey.generate().public_key()
    pem = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (node.directory / "keys" / "proof-ed25519.pem").write_bytes(pem)
    code, err = Signer(node, counters.env).fails()

    assert code == 4
    assert err.startswith("KEY_MISMATCH: ")
    assert counters["C_Sign"] == 0


def test_a_damaged_mark_stops_the_signer(node: Node, counters: shim.Shim) -> None:
    """Exit 3 and the next step, never a fresh start."""
    with Signer(node, counters.env) as signer:
        signer.stop()
    (mark, *_) = (node.directory / "signer").glob("mark-*")
    mark.write_bytes(os.urandom(8192))
    code, err = Signer(node, counters.env).fails()

    assert code == 3
    assert err.startswith("MARK_DAMAGED: ")


def test_two_signers_never_share_a_directory(node: Node, counters: shim.Shim) -> None:
    """The second one leaves, and the first one's socket stays."""
    with Signer(node, counters.env):
        code, err = Signer(node, counters.env).fails()
        assert code == 4
        assert err.startswith("SIGNER_IN_USE: ")
        mode = node.socket.stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        assert stat.S_IMODE(node.socket.parent.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("known", [False, True])
def test_a_stranger_is_not_heard(node: Node, counters: shim.Shim, known: bool) -> None:
    """Another user who can reach the socket is hung up on, unless the configuration names him."""
    stranger = 65_534
    with tempfile.TemporaryDirectory(prefix="sealpress-") as name:
        directory = Path(name)
        users = f"users = [{stranger}]\n" if known else ""
        node.edit("[signer]\n", f'[signer]\nsocket = "{directory}/s.sock"\n{users}')
        with Signer(node, counters.env):
            directory.chmod(0o755)
            (directory / "s.sock").chmod(0o666)
            assert _greeted_as(stranger, directory / "s.sock") == known


def _greeted_as(user: int, path: Path) -> bool:
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.setuid(user)
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
                connection.sendall(f.frame(f.Hello(f.VERSION)))
                os._exit(0 if connection.recv(1) else 1)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


async def test_no_signer_is_a_clear_answer(tmp_path: Path) -> None:
    """Nobody listens: Unavailable with what to do, within the deadline."""
    link = SignerLink(tmp_path / "none.sock", 200)
    with pytest.raises(Unavailable) as caught:
        await link.connect()
    assert "sealpress signer" in caught.value.hint
    with pytest.raises(Unavailable):
        await link.status()
    await link.close()
