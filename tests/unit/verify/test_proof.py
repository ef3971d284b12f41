"""Does the verifier accept exactly what the specification says? Two verifiers that share no code must agree."""

from __future__ import annotations

import base64
import hashlib
import random

import pytest

from independent.verifier import verify as other_verify
from kit.fabricate import TIME, LineSigner, Parts, World
from sealpress.core.leaf import LeafSpec, leaf_hashes, salts
from sealpress.core.merkle import Tree
from sealpress.errors import Invalid
from sealpress.values import DigestAlgorithm
from sealpress.verify.batch import CompactAnswer, verify_batch
from sealpress.verify.limits import Limits, Void
from sealpress.verify.policy import parse_policy
from sealpress.verify.proof import verify_proof

KINDS = ["ed25519", "p256", "p521"]
MUTATIONS = 10_000


def judge(world: World, proof: bytes, digest: bytes, algorithm: str = "sha256") -> bool:
    """Both verdicts, which must be one."""
    try:
        verify_proof(parse_policy(world.policy.encode()), DigestAlgorithm.parse(algorithm), digest, proof)
        ours = True
    except Invalid:
        ours = False
    try:
        other_verify(world.policy, algorithm, digest, proof)
        theirs = True
    except ValueError:
        theirs = False
    assert ours == theirs, proof
    return ours


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest) -> World:
    """A log and a line of each kind of key."""
    return World.make(request.param)


DIGEST = hashlib.sha256(b"artifact").digest()


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_good_proofs_are_accepted(world: World, algorithm: str) -> None:
    """Every size and index of small trees, every digest algorithm."""
    digest = hashlib.new(algorithm, b"artifact").digest()
    for size in (1, 2, 3, 4, 5, 7, 8, 9):
        for index in range(size):
            assert judge(world, world.prove(digest, algorithm, size=size, index=index).write(), digest, algorithm)


@pytest.mark.parametrize("kind", ["ml-dsa-44", "ml-dsa-65", "ml-dsa-87"])
def test_proofs_of_ml_dsa_lines_are_accepted(kind: str) -> None:
    """Signatures of some thousand bytes fit; a changed one, or one of another line, is refused."""
    world, other = World.make(kind), World.make(kind)

    assert judge(world, world.prove(DIGEST).write(), DIGEST)
    assert not judge(world, world.prove(DIGEST, signer=other.line).write(), DIGEST)
    assert not judge(world, world.prove(DIGEST).write(), hashlib.sha256(b"other").digest())


def test_what_a_proof_says() -> None:
    """Line, places and times are those of the proof."""
    world = World.make()

    said = verify_proof(
        parse_policy(world.policy.encode()),
        DigestAlgorithm.SHA256,
        DIGEST,
        world.prove(DIGEST, sealed=TIME + 9).write(),
    )

    assert (said.line, said.index, said.tree_size) == ("acme/router/eu/prod/firmware", 5, 11)
    assert (said.leaf_time, said.sealed_time, said.security_version) == (TIME, TIME + 9, 7)


def test_numbers_are_read_whole() -> None:
    """To the highest byte of counter and time: what is cut off would make a proof of old firmware a new one."""
    world, time, version = World.make(), 0x0102_0304_0506_0708, 0x0A0B_0C0D
    proof = world.prove(DIGEST, time=time, version=version).write()
    said = verify_proof(parse_policy(world.policy.encode()), DigestAlgorithm.SHA256, DIGEST, proof)

    assert (said.leaf_time, said.sealed_time, said.security_version) == (time, time, version)
    assert judge(world, proof, DIGEST)


def test_each_cause_has_its_reason() -> None:
    """A script, and a person, hear what is wrong first: whose proof it is comes before what it is a proof of."""
    world, other = World.make(), World.make(log="sign.example/other")
    policy, good = parse_policy(world.policy.encode()), world.prove(DIGEST)
    log, line = good.signatures
    causes = {
        b"": "ENCODING",
        other.prove(DIGEST).write(): "ORIGIN",
        world.prove(hashlib.sha384(b"artifact").digest(), "sha384").write(): "ALGORITHM",
        world.prove(hashlib.sha256(b"other").digest()).write(): "INCLUSION",
        good.but(signatures=(line,)).write(): "LOG_SIGNATURE",
        good.but(signatures=(log,)).write(): "LINE_SIGNATURE",
        good.but(signatures=(log, line, line)).write(): "ENCODING",
        world.prove(DIGEST, sealed=TIME + 301).write(): "TIME",
    }
    for text, reason in causes.items():
        with pytest.raises(Invalid) as caught:
            verify_proof(policy, DigestAlgorithm.SHA256, DIGEST, text)
        assert caught.value.reason == reason


def test_another_digest_is_refused(world: World) -> None:
    """One bit of the digest, and another length."""
    proof = world.prove(DIGEST).write()

    assert not judge(world, proof, bytes([DIGEST[0] ^ 1]) + DIGEST[1:])
    assert not judge(world, proof, DIGEST[:-1])
    assert not judge(world, proof, hashlib.sha384(b"artifact").digest(), "sha384")


def test_every_changed_byte_is_refused(world: World) -> None:
    """Each byte of the whole text, changed three ways, deleted and doubled."""
    proof = world.prove(DIGEST).write()
    assert judge(world, proof, DIGEST)

    for at in range(len(proof)):
        for changed in (proof[at] ^ 1, proof[at] ^ 0x20, (proof[at] + 1) % 256):
            assert not judge(world, proof[:at] + bytes([changed]) + proof[at + 1 :], DIGEST), at
        assert not judge(world, proof[:at] + proof[at + 1 :], DIGEST), at
        assert not judge(world, proof[: at + 1] + proof[at:], DIGEST), at


def test_changed_parts_are_refused(world: World) -> None:
    """Every byte of opening and path, other indices, another checkpoint, when it is all written anew."""
    good = world.prove(DIGEST)

    def flipped(raw: bytes, at: int) -> bytes:
        return raw[:at] + bytes([raw[at] ^ 0x80]) + raw[at + 1 :]

    bad = [good.but(opening=flipped(good.opening, at)) for at in range(61)]
    bad += [good.but(index=index) for index in (0, 4, 6, 10, 11, 2**62)]
    for position, node in enumerate(good.path):
        for at in range(32):
            bad.append(good.but(path=(*good.path[:position], flipped(node, at), *good.path[position + 1 :])))
    bad += [good.but(path=good.path[:-1]), good.but(path=(*good.path, bytes(32))), good.but(path=())]
    bad += [good.but(text=good.text.replace(b"\n11\n", b"\n12\n")), good.but(opening=good.opening + b"\0")]

    assert [parts for parts in bad if judge(world, parts.write(), DIGEST)] == []


def test_other_spellings_are_refused(world: World) -> None:
    """Base64 with stray bits, leading zeros, CR, trailing bytes, blank lines, no final newline."""
    proof = world.prove(DIGEST, index=5).write()
    stray = proof.split(b"\n")
    hash_row = bytearray(stray[3])  # 32 bytes: the last letter before = has two bits to spare
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    hash_row[-2] = alphabet[alphabet.index(hash_row[-2]) | 1]
    stray[3] = bytes(hash_row)
    spellings = [
        b"\n".join(stray),
        proof.replace(b"index 5", b"index 05"),
        proof.replace(b"index 5", b"index +5"),
        proof.replace(b"\n11\n", b"\n011\n"),
        proof.replace(b"\n", b"\r\n"),
        proof.replace(b"index 5\n", b"index 5\r\n"),
        proof + b"\n",
        proof + b"x",
        proof + b"\0",
        proof[:-1],
        b"\n" + proof,
        b"\xef\xbb\xbf" + proof,
        proof.replace(b"extra ", b"extra  "),
        proof.replace(b"extra ", b"Extra "),
        proof.replace(b"@v1", b"@v2"),
        proof.replace(b"\n\n", b"\n\n\n", 1),
        proof.replace(b"=\n", b"\n", 1),
    ]

    assert [text for text in spellings if text == proof or judge(world, text, DIGEST)] == []


def test_high_s_is_refused() -> None:
    """One ECDSA signature has one spelling."""
    world = World.make("p256")

    assert judge(world, world.prove(DIGEST).write(), DIGEST)
    assert not judge(world, world.prove(DIGEST, high=True).write(), DIGEST)


def test_another_lines_signature_does_not_count(world: World) -> None:
    """A leaf of this line under a checkpoint that only another line's key signed, also under this line's name."""
    other = World.make().line
    stranger = LineSigner(world.line.log_name, "acme/router/eu/prod/other", other.private)
    pretender = LineSigner(world.line.log_name, world.line.line, other.private)

    assert not judge(world, world.prove(DIGEST, signer=stranger).write(), DIGEST)
    assert not judge(world, world.prove(DIGEST, signer=pretender).write(), DIGEST)


@pytest.mark.parametrize("kind", [*KINDS, "p384", "rsa", "ml-dsa-44"])
def test_a_signature_is_whole_and_of_this_head(kind: str) -> None:
    """Under the right names and key ids: another head's, one with a bit changed, cut short, or none at all."""
    world = World.make(kind)
    policy, good = parse_policy(world.policy.encode()), world.prove(DIGEST)
    (origin, by_log), (name, by_line) = good.signatures
    other = world.log.key_id + world.log.private.sign(good.text + b"x")
    logs = [by_log[:4], by_log[:-1], by_log + b"\0", by_log[:-1] + bytes([by_log[-1] ^ 1]), other]
    lines = [by_line[:size] for size in (4, 11, 12, 13, len(by_line) - 1)] + [by_line + b"\0"]
    lines.append(by_line[:-1] + bytes([by_line[-1] ^ 1]))
    lines.append(world.line.key_id + world.line.signature(good.text + b"x", TIME))
    lines.append(by_line[:4] + (TIME + 1).to_bytes(8, "big") + by_line[12:])
    wrong = [("LOG_SIGNATURE", ((origin, raw), (name, by_line))) for raw in logs]
    wrong += [("LINE_SIGNATURE", ((origin, by_log), (name, raw))) for raw in lines]

    verify_proof(policy, DigestAlgorithm.SHA256, DIGEST, good.write())
    for reason, signatures in wrong:
        with pytest.raises(Invalid) as caught:
            verify_proof(policy, DigestAlgorithm.SHA256, DIGEST, good.but(signatures=signatures).write())
        assert caught.value.reason in (reason, "ENCODING"), signatures  # a line without a signature is no line
        assert not judge(world, good.but(signatures=signatures).write(), DIGEST)


def test_a_proof_moved_elsewhere_is_refused(world: World) -> None:
    """To another line of the same log, to another log with the same line, to another number of the log."""
    parts = world.prove(DIGEST)
    line = World(world.log, LineSigner(world.log.name, "acme/router/eu/prod/other", world.line.private))
    log = World.make(log="sign.example/other")
    log.line.private = world.line.private
    number = World.make()
    number.log.number, number.log.private, number.line = 2, world.log.private, world.line

    for elsewhere in (line, log, number):
        assert not judge(elsewhere, parts.write(), DIGEST)


def test_a_direct_leaf_is_no_proof(world: World) -> None:
    """Kinds 2 and 3 do not verify as proofs."""
    assert not judge(world, world.prove(DIGEST, kind=3).write(), DIGEST)
    assert not judge(world, world.prove(DIGEST, kind=2).write(), DIGEST)


def test_a_leaf_counts_for_300_seconds(world: World) -> None:
    """Sealed 300 s after its time: good; 301 s after, or before it: refused."""
    assert judge(world, world.prove(DIGEST, sealed=TIME + 300).write(), DIGEST)
    assert not judge(world, world.prove(DIGEST, sealed=TIME + 301).write(), DIGEST)
    assert not judge(world, world.prove(DIGEST, sealed=TIME - 1).write(), DIGEST)


def test_both_signatures_are_needed_and_strangers_ignored(world: World) -> None:
    """Without the log's or the line's: refused; strangers' lines change nothing; none twice; at most 16."""
    good = world.prove(DIGEST)
    log, line = good.signatures
    stranger = [(f"someone.example/{number}", bytes(72)) for number in range(15)]

    assert not judge(world, good.but(signatures=(log,)).write(), DIGEST)
    assert not judge(world, good.but(signatures=(line,)).write(), DIGEST)
    assert not judge(world, good.but(signatures=(log, line, line)).write(), DIGEST)
    assert not judge(world, good.but(signatures=(log, line, *stranger)).write(), DIGEST)
    assert judge(world, good.but(signatures=(*stranger[:14], line, log)).write(), DIGEST)


def test_10000_mutations_find_one_verdict(world: World) -> None:
    """Random changes of bytes, rows and parts: both verifiers say the same of each."""
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)  # noqa: T201 - to replay a failure
    dice = random.Random(seed)
    good = world.prove(DIGEST).write()
    texts = [mutated(dice, good) for _ in range(MUTATIONS)]
    accepted = {text for text in texts if judge(world, text, DIGEST)}

    assert accepted <= {good}  # a mutation may change nothing
    assert len(set(texts)) > MUTATIONS // 2


def mutated(dice: random.Random, proof: bytes) -> bytes:
    """One of many ways to change a text."""
    rows = proof.split(b"\n")
    at = dice.randrange(len(rows))
    where = dice.randrange(len(proof))
    match dice.randrange(8):
        case 0:
            return proof[:where] + bytes([dice.randrange(256)]) + proof[where + 1 :]
        case 1:
            return proof[:where] + dice.randbytes(dice.randrange(1, 4)) + proof[where:]
        case 2:
            return proof[:where] + proof[where + dice.randrange(1, 9) :]
        case 3:
            rows[at] = rows[dice.randrange(len(rows))]
        case 4:
            rows.insert(at, rows[dice.randrange(len(rows))])
        case 5:
            del rows[at]
        case 6:
            word = rows[at].rpartition(b" ")[2]
            raw = base64.b64encode(dice.randbytes(dice.choice((31, 32, 33, 61, 64, 72, 76))))
            rows[at] = rows[at].replace(word, raw) if word else raw
        case _:
            rows[at] = (
                rows[at].swapcase() if dice.random() < 0.5 else rows[at] + dice.choice((b" ", b"=", b"\r", b"\t"))
            )
    return b"\n".join(rows)


def test_limits_narrow_what_is_accepted() -> None:
    """not_after, void ranges and the least security version."""
    world = World.make()
    policy, proof = parse_policy(world.policy.encode()), world.prove(DIGEST, sealed=TIME + 10).write()

    def reason(limits: Limits) -> str:
        try:
            verify_proof(policy, DigestAlgorithm.SHA256, DIGEST, proof, limits)
        except Invalid as error:
            return error.reason
        return ""

    assert reason(Limits(not_after=TIME + 10, min_security_version=7, void=(Void(6, 9),))) == ""
    assert reason(Limits(not_after=TIME + 9)) == "NOT_AFTER"
    assert reason(Limits(min_security_version=8)) == "SECURITY_VERSION"
    assert reason(Limits(void=(Void(5, 5),))) == "VOID"


def test_a_quorum_of_witnesses_is_demanded() -> None:
    """`quorum` may ask for witnesses beside the line; one that is there must be right."""
    world = World.make()
    witness = LineSigner("witness.example/w", "a/b/c/d/e", World.make().line.private)
    text = world.policy.replace("quorum line", f"witness w {witness.vkey}\ngroup both all line w\nquorum both")
    policy, good = parse_policy(text.encode()), world.prove(DIGEST)
    signed = (witness.name, witness.key_id + witness.signature(good.text, TIME))
    wrong = (witness.name, witness.key_id + witness.signature(good.text + b"x", TIME))

    def reason(parts: Parts) -> str:
        try:
            verify_proof(policy, DigestAlgorithm.SHA256, DIGEST, parts.write())
        except Invalid as error:
            return error.reason
        return ""

    assert reason(good) == "QUORUM"
    assert reason(good.but(signatures=(*good.signatures, signed))) == ""
    assert reason(good.but(signatures=(*good.signatures, wrong))) == "LINE_SIGNATURE"


@pytest.mark.parametrize("kind", KINDS)
def test_the_compact_answer_expands_to_good_proofs(kind: str) -> None:
    """A range proof for N leaves gives N proofs that both verifiers accept; a changed digest gives none."""
    world = World.make(kind)
    policy = parse_policy(world.policy.encode())
    digests = b"".join(hashlib.sha256(b"item %d" % number).digest() for number in range(37))
    seed, record = bytes(range(32)), hashlib.sha256(b"record").digest()
    spec = LeafSpec(1, 1, policy.key_id, policy.scope, 7, TIME, record)
    tree = Tree()
    tree.append(b"".join(hashlib.sha256(b"before %d" % number).digest() for number in range(5)))
    tree.append(leaf_hashes(spec, seed, digests, 37))
    tree.append(hashlib.sha256(b"after").digest())
    world.log.leaves = [tree.node(0, index) for index in range(tree.size)]
    text = world.log.text()
    signed = (
        f"\u2014 {world.log.origin} {base64.b64encode(world.log.key_id + world.log.private.sign(text)).decode()}\n"
        f"\u2014 {world.line.name} {base64.b64encode(world.line.key_id + world.line.signature(text, TIME)).decode()}\n"
    )
    left, right = tree.range(5, 37, tree.size)
    opening = b"\x01" + (7).to_bytes(4, "big") + TIME.to_bytes(8, "big") + record
    answer = CompactAnswer(5, tree.size, opening, seed, left, right, text + b"\n" + signed.encode())

    proofs = verify_batch(policy, DigestAlgorithm.SHA256, digests, answer).proofs()

    assert all(judge(world, proof, digests[32 * at : 32 * at + 32]) for at, proof in enumerate(proofs))
    assert proofs[0].split(b"\n")[1].endswith(base64.b64encode(opening + salts(seed, 0, 1)))
    with pytest.raises(Invalid, match="not what was signed"):
        verify_batch(policy, DigestAlgorithm.SHA256, digests[32:] + digests[:32], answer)
