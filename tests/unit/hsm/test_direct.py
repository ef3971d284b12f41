"""Direct leaves: found in an accepted head, young, and released once."""

from __future__ import annotations

import hashlib

import pytest

from kit.signer import FakeLog
from sealpress.core import leaf
from sealpress.errors import Conflict, Malformed, OutcomeUnknown
from sealpress.hsm.direct import Opened, Released, open_leaf
from sealpress.hsm.heads import HeadLimits
from sealpress.hsm.messages import DirectAsk
from sealpress.values import DigestAlgorithm

NOW = 1_800_000_000
LIMITS = HeadLimits(300, 2, 1_000)
SPKI = b"some key"
DIGEST = hashlib.sha256(b"artifact").digest()


def opened(index: int, time: int = NOW) -> Opened:
    """A leaf as `open_leaf` gives it."""
    return Opened(index, DigestAlgorithm.SHA256, DIGEST, time)


def log_with_leaf(time: int = NOW) -> tuple[FakeLog, DirectAsk]:
    """A log with one direct leaf, and the honest ask for it."""
    log = FakeLog()
    log.event(NOW, 5)
    index, opening = log.direct(SPKI, "a/b/c/d/e", DIGEST, time)
    log.event(NOW, 3)
    item = log.item(index, opening, DIGEST)
    return log, DirectAsk(item.opening, item.digest, item.index, item.path)


def judge(log: FakeLog, ask: DirectAsk, *, line: str = "a/b/c/d/e", spki: bytes = SPKI, name: str = "") -> Opened:
    """What the guard does with an ask."""
    scope = leaf.scope(name or log.name, line)
    return open_leaf(ask, leaf.key_id(spki), scope, log.tree.size, log.tree.root(), NOW, LIMITS)


def test_a_leaf_of_the_head_opens() -> None:
    """Opening, digest, key and scope make the leaf that the path leads from."""
    log, ask = log_with_leaf()

    assert judge(log, ask) == opened(5)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"digest": bytes(32)}, "NOT_IN_LOG"),
        ({"digest": bytes(31)}, "DIGEST_LENGTH"),
        ({"digest": bytes(48)}, "DIGEST_LENGTH"),
        ({"index": 4}, "NOT_IN_LOG"),
        ({"index": (1 << 63) - 1}, "NOT_IN_LOG"),
        ({"path": b""}, "NOT_IN_LOG"),
        ({"path": bytes(33)}, "BAD_REQUEST"),
        ({"path": bytes(64 * 32)}, "NOT_IN_LOG"),
        ({"opening": b"\x09" + bytes(60)}, "DIGEST_LENGTH"),
        ({"opening": b"\x01" + bytes(4) + NOW.to_bytes(8) + bytes(48)}, "NOT_IN_LOG"),
    ],
)
def test_what_is_no_leaf_of_the_head(change: dict[str, object], reason: str) -> None:
    """Anything else than the leaf in the log is refused, whatever its shape."""
    log, ask = log_with_leaf()
    fields = {"opening": ask.opening, "digest": ask.digest, "index": ask.index, "path": ask.path, **change}

    with pytest.raises(Malformed) as caught:
        judge(log, DirectAsk(**fields))  # type: ignore[arg-type]
    assert caught.value.reason == reason


@pytest.mark.parametrize("other", [{"line": "a/b/c/d/f"}, {"spki": b"another key"}, {"name": "dev.example/elsewhere"}])
def test_a_leaf_belongs_to_one_key_line_and_log(other: dict[str, str | bytes]) -> None:
    """The leaf of one key is nothing under another."""
    log, ask = log_with_leaf()

    with pytest.raises(Malformed) as caught:
        judge(log, ask, **other)  # type: ignore[arg-type]
    assert caught.value.reason == "NOT_IN_LOG"


def test_a_proof_leaf_is_no_direct_leaf() -> None:
    """Kind is part of the leaf: kind 1 under the same key does not open as kind 3."""
    log = FakeLog()
    spec = leaf.LeafSpec(1, 1, leaf.key_id(SPKI), leaf.scope(log.name, "a/b/c/d/e"), 0, NOW, bytes(32))
    log.tree.append(leaf.leaf_hashes(spec, bytes(32), DIGEST, 1))
    ask = DirectAsk(leaf.opening(spec, leaf.salts(bytes(32), 0, 1)), DIGEST, 0, b"")

    with pytest.raises(Malformed):
        judge(log, ask)


@pytest.mark.parametrize(
    ("time", "reason"), [(NOW - 301, "LEAF_TOO_OLD"), (NOW + 3, "LEAF_FROM_FUTURE"), (0, "LEAF_TOO_OLD")]
)
def test_a_leaf_has_its_300_seconds(time: int, reason: str) -> None:
    """Older than the limit, or from the future: refused although it stands in the log."""
    log, ask = log_with_leaf(time)

    with pytest.raises(Malformed) as caught:
        judge(log, ask)
    assert caught.value.reason == reason


@pytest.mark.parametrize("time", [NOW - 300, NOW + 2])
def test_the_ends_of_its_300_seconds_belong_to_them(time: int) -> None:
    """What front end and verifiers still count is signed, and the clocks of two processes may differ a little."""
    log, ask = log_with_leaf(time)

    assert judge(log, ask) == opened(5, time)


def test_an_index_is_released_once() -> None:
    """In flight and done are refused; a failed attempt gives the index back; the past is unknown."""
    released = Released(first=10)
    released.reserve(opened(10))
    with pytest.raises(Conflict):
        released.reserve(opened(10))
    released.give_back(10)
    released.reserve(opened(10))
    released.done(opened(10))
    with pytest.raises(Conflict) as caught:
        released.reserve(opened(10))
    assert caught.value.reason == "ALREADY_SIGNED"
    released.reserve(opened(11))
    with pytest.raises(OutcomeUnknown):
        released.reserve(opened(9))


def test_what_is_too_old_to_sign_need_not_be_remembered() -> None:
    """Memory is bounded by the age limit; a young leaf of the same chunk keeps it."""
    released = Released(first=0)
    released.done(opened(1, NOW - 400))
    released.done(opened(5_000, NOW - 400))
    released.done(opened(5_001, NOW))
    released.forget(NOW - 300)

    released.reserve(opened(1))
    with pytest.raises(Conflict):
        released.reserve(opened(5_000))


def test_a_clock_that_goes_back_makes_no_leaf_young_again() -> None:
    """What was too old once, and forgotten for that, is not signed a second time when the clock says that it is not."""
    released = Released(first=0)
    released.done(opened(1, NOW))
    released.forget(NOW + 100)
    released.forget(NOW - 300)

    with pytest.raises(Malformed) as caught:
        released.reserve(opened(1, NOW))
    assert caught.value.reason == "LEAF_TOO_OLD"


def test_each_index_is_remembered_as_itself() -> None:
    """Every place of two chunks: what had its signature is refused, and none beside it."""
    released, indices = Released(first=0), range(2 << 12)
    for index in indices:
        if index % 3 == 0:
            released.done(opened(index))
    again = []
    for index in indices:
        try:
            released.reserve(opened(index))
        except Conflict:
            again.append(index)

    assert again == [index for index in indices if index % 3 == 0]


def test_what_is_just_young_enough_to_sign_is_remembered() -> None:
    """At its last second a leaf may have its signature, and only if it had none."""
    released = Released(first=0)
    released.done(opened(1, NOW - 300))
    released.forget(NOW - 300)
    released.reserve(opened(2, NOW - 300))

    with pytest.raises(Conflict) as caught:
        released.reserve(opened(1, NOW - 300))
    assert caught.value.reason == "ALREADY_SIGNED"
