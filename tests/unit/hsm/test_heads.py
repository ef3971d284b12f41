"""Heads: the table of what is accepted and what is refused, and T."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from sealpress.core.merkle import Tree
from sealpress.errors import Busy, Malformed
from sealpress.hsm.heads import Growth, HeadLimits, accept, check_growth, cosign
from sealpress.hsm.mark import HeadMark

NOW = 1_800_000_000
LIMITS = HeadLimits(leaf_age_s_max=300, clock_ahead_s_max=2, leaves_per_minute_max=1_000)


def tree_of(size: int, salt: int = 0) -> Tree:
    """A tree; another `salt`, other leaves."""
    tree = Tree()
    tree.append(b"".join((i ^ salt << 32).to_bytes(32) for i in range(size)))
    return tree


def mark_of(size: int) -> HeadMark:
    """The mark at a size of `tree_of`."""
    tree = tree_of(size)
    return HeadMark("a/b/1", size, tree.root(), tree.frontier(size), NOW - 10)


def test_every_growth_up_to_40_is_accepted() -> None:
    """From any size to any larger one, and the frontier is that of the new size."""
    tree = tree_of(40)
    for old in range(40):
        mark = replace(mark_of(old), time=NOW - 10)
        for new in range(old + 1, 41):
            taken = accept(mark, new, tree.root(new), tree.growth(old, new), NOW, NOW, LIMITS)
            assert (taken.size, taken.root, taken.frontier, taken.time) == (
                new,
                tree.root(new),
                tree.frontier(new),
                NOW,
            )


@pytest.mark.parametrize(
    ("size", "salt", "time", "path", "reason"),
    [
        (9, 0, NOW, None, "SIZE_NOT_GROWING"),
        (10, 0, NOW, None, "SIZE_NOT_GROWING"),
        (10, 1, NOW, b"", "SIZE_NOT_GROWING"),
        (14, 1, NOW, None, "INCONSISTENT"),
        (14, 0, NOW, b"", "INCONSISTENT"),
        (14, 0, NOW, bytes(32), "INCONSISTENT"),
        (14, 0, NOW, bytes(33), "BAD_REQUEST"),
        (14, 0, NOW, bytes(32 * 128), "INCONSISTENT"),
        ((1 << 63) - 1, 0, NOW, bytes(32), "INCONSISTENT"),
        (14, 0, NOW + 3, None, "LEAF_FROM_FUTURE"),
        (14, 0, NOW - 11, None, "TIME_WENT_BACK"),
    ],
)
def test_what_is_refused(size: int, salt: int, time: int, path: bytes | None, reason: str) -> None:
    """Each wrong head has its reason."""
    tree = tree_of(20, salt)
    given = tree.growth(min(10, size), min(size, 20)) if path is None else path
    root = tree.root(min(size, 20))

    with pytest.raises(Malformed) as caught:
        accept(mark_of(10), size, root, given, time, NOW, LIMITS)
    assert caught.value.reason == reason


def test_a_stale_head_is_refused() -> None:
    """The newest leaf is more than 300 s old: the batch can no longer be sealed."""
    tree = tree_of(3)
    for age, fine in ((300, True), (301, False)):
        mark = HeadMark("a/b/1")
        if fine:
            accept(mark, 3, tree.root(), tree.growth(0, 3), NOW - age, NOW, LIMITS)
        else:
            with pytest.raises(Malformed) as caught:
                accept(mark, 3, tree.root(), tree.growth(0, 3), NOW - age, NOW, LIMITS)
            assert caught.value.reason == "LEAF_TOO_OLD"


def test_the_growth_cap_is_per_minute() -> None:
    """Room comes back after 60 seconds, not before."""
    growth = Growth(1_000)
    check_growth(growth, 600, 5)
    growth.add(600, 5)
    check_growth(growth, 400, 30)
    growth.add(400, 30)
    with pytest.raises(Busy) as caught:
        check_growth(growth, 1, 64)
    assert (caught.value.reason, caught.value.retry_after_ms > 0) == ("GROWTH_CAP", True)
    check_growth(growth, 600, 65)


def test_t_never_decreases() -> None:
    """T = max(clock, last T, newest leaf time), per key, also when the clock goes back."""
    mark = replace(mark_of(4), time=NOW + 1)
    first, mark = cosign(mark, [b"k" * 8], NOW)
    second, mark = cosign(mark, [b"k" * 8], NOW + 50)
    third, mark = cosign(mark, [b"k" * 8, b"l" * 8], NOW - 500)

    assert (first, second, third) == (NOW + 1, NOW + 50, NOW + 50)
    assert {signed.time for signed in mark.signed.values()} == {NOW + 50}
    assert mark.signed[b"l" * 8].size == 4


def test_no_key_goes_back_to_a_smaller_head() -> None:
    """An earlier head is signed instead of the last one only by keys that signed none beyond it; at T of its leaves."""
    mark = replace(mark_of(9), time=NOW)
    key, late, new = (letter * 8 for letter in (b"k", b"l", b"n"))
    _, mark = cosign(mark, [key], NOW, size=5, leaf_time=NOW - 9)
    _, mark = cosign(mark, [late], NOW)
    for keys in ([late], [key, late]):
        with pytest.raises(Malformed) as caught:
            cosign(mark, keys, NOW, size=8, leaf_time=NOW)
        assert caught.value.reason == "SIZE_NOT_GROWING"
    time, after = cosign(mark, [key, new], NOW - 50, size=5, leaf_time=NOW + 1)

    assert (time, after.size) == (NOW + 1, 9)
    assert {name: one.size for name, one in after.signed.items()} == {key: 5, late: 9, new: 5}
