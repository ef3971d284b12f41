"""Does a compact answer count for all of its digests, or for none?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest

from kit.fabricate import TIME, World, b64
from sealpress.core.leaf import LeafSpec, leaf_hashes
from sealpress.core.merkle import Tree
from sealpress.errors import Invalid
from sealpress.values import DigestAlgorithm
from sealpress.verify.batch import CompactAnswer, verify_batch
from sealpress.verify.policy import parse_policy

SHA256 = DigestAlgorithm.SHA256
FIRST, COUNT, VERSION = 3, 5, 0x0102_0304
DIGESTS = b"".join(hashlib.sha256(b"item %d" % number).digest() for number in range(COUNT))
SEED, RECORD = bytes(range(32)), hashlib.sha256(b"record").digest()
WORLD = World.make()


def made(world: World = WORLD, *, sealed: int = TIME, by: str = "log line") -> CompactAnswer:
    """The answer to SignBatch of these digests, its head signed by these keys."""
    key_id = hashlib.sha256(world.line.spki).digest()
    tree = Tree()
    tree.append(b"".join(hashlib.sha256(b"before %d" % number).digest() for number in range(FIRST)))
    tree.append(leaf_hashes(LeafSpec(1, 1, key_id, world.line.scope, VERSION, TIME, RECORD), SEED, DIGESTS, COUNT))
    tree.append(hashlib.sha256(b"after").digest())
    world.log.leaves = [tree.node(0, index) for index in range(tree.size)]
    text = world.log.text()
    signed = {
        "log": (world.log.origin, world.log.key_id + world.log.private.sign(text)),
        "line": (world.line.name, world.line.key_id + world.line.signature(text, sealed)),
    }
    lines = "".join(f"\u2014 {signed[who][0]} {b64(signed[who][1])}\n" for who in by.split())
    left, right = tree.range(FIRST, COUNT, tree.size)
    opening = b"\x01" + VERSION.to_bytes(4, "big") + TIME.to_bytes(8, "big") + RECORD
    return CompactAnswer(FIRST, tree.size, opening, SEED, left, right, text + b"\n" + lines.encode())


def reason(answer: CompactAnswer, digests: bytes = DIGESTS, algorithm: DigestAlgorithm = SHA256) -> str:
    """Why it is not taken; empty if it is."""
    try:
        verify_batch(parse_policy(WORLD.policy.encode()), algorithm, digests, answer)
    except Invalid as error:
        return error.reason
    return ""


def test_what_a_batch_says() -> None:
    """When its leaves were made, and when they were sealed."""
    found = verify_batch(parse_policy(WORLD.policy.encode()), SHA256, DIGESTS, made(sealed=TIME + 9))

    assert (found.leaf_time, found.sealed_time) == (TIME, TIME + 9)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda: made(by="line"), "LOG_SIGNATURE"),
        (lambda: made(by="log"), "LINE_SIGNATURE"),
        (lambda: made(World.make()), "INCLUSION"),
        (lambda: made(World(World.make().log, WORLD.line)), "LOG_SIGNATURE"),
        (lambda: made(World(World.make(log="sign.example/other").log, WORLD.line)), "ORIGIN"),
        (lambda: made(sealed=TIME + 300), ""),
        (lambda: made(sealed=TIME + 301), "TIME"),
        (lambda: made(sealed=TIME - 1), "TIME"),
    ],
    ids=["no log", "no line", "strangers", "another log's key", "another log", "in time", "late", "early"],
)
def test_its_head_is_judged_as_that_of_a_proof(answer: Callable[[], CompactAnswer], why: str) -> None:
    """Both keys signed it, of the log that is trusted, in the 300 seconds of its leaves."""
    assert reason(answer()) == why


GOOD = made()
OTHER = GOOD.opening[:1] + (VERSION + 1).to_bytes(4, "big") + GOOD.opening[5:]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (replace(GOOD, opening=GOOD.opening + b"\0"), "ENCODING"),
        (replace(GOOD, opening=GOOD.opening[:-1]), "ENCODING"),
        (replace(GOOD, salt_seed=SEED[:-1]), "ENCODING"),
        (replace(GOOD, checkpoint=GOOD.checkpoint + b"\n"), "ENCODING"),
        (replace(GOOD, opening=b"\x02" + GOOD.opening[1:]), "ALGORITHM"),
        (replace(GOOD, opening=OTHER), "INCLUSION"),
        (replace(GOOD, salt_seed=bytes(32)), "INCLUSION"),
        (replace(GOOD, first=FIRST + 1), "INCLUSION"),
        (replace(GOOD, tree_size=GOOD.tree_size + 1), "INCLUSION"),
        (replace(GOOD, left=GOOD.left[:-32]), "INCLUSION"),
        (replace(GOOD, right=GOOD.right + bytes(32)), "INCLUSION"),
    ],
)
def test_changed_parts_of_an_answer_are_refused(answer: CompactAnswer, why: str) -> None:
    """Each part has one length and one value."""
    assert reason(answer) == why


def test_an_answer_is_over_the_digests_that_were_sent() -> None:
    """All of them, whole, in their order, of their algorithm; none at all are no batch."""
    assert reason(GOOD) == ""
    for digests in (b"", DIGESTS[:-1], DIGESTS + b"\0"):
        assert reason(GOOD, digests) == "ALGORITHM"
    for digests in (DIGESTS[:-32], DIGESTS + DIGESTS[:32], DIGESTS[32:] + DIGESTS[:32]):
        assert reason(GOOD, digests) == "INCLUSION"
    assert reason(GOOD, DIGESTS + bytes(32), DigestAlgorithm.SHA384) == "ALGORITHM"
