"""Decides which heads of a log are accepted, and which time a cosignature carries. Rules only: no I/O, no clock.

Guarantees: an accepted head is larger than the last one, consistent with it, not from the future nor stale, and within
the growth cap; T never decreases per key that its log has. Does not: sign, or make anything durable.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from types import MappingProxyType

from msgspec.structs import replace

from sealpress.core.merkle import frontier_advance
from sealpress.errors import Busy, CoreError, Malformed
from sealpress.hsm.mark import KEYS_MAX, HeadMark, Signed

_HASH = 32
_MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """The limits of the signer's own configuration."""

    leaf_age_s_max: int
    clock_ahead_s_max: int
    leaves_per_minute_max: int


class Growth:
    """Leaves accepted in the last 60 seconds, counted by the second."""

    def __init__(self, leaves_per_minute_max: int) -> None:
        """The cap is over all heads of one log."""
        self._cap = leaves_per_minute_max
        self._seconds: dict[int, int] = {}
        self._sum = 0
        self._second = -1  # as of which the sum is

    def room(self, leaves: int, second: int) -> bool:
        """Whether so many more are allowed now; `second` is monotonic."""
        if second != self._second:
            self._second = second
            self._seconds = {at: count for at, count in self._seconds.items() if at > second - _MINUTE_S}
            self._sum = sum(self._seconds.values())
        return self._sum + leaves <= self._cap

    def add(self, leaves: int, second: int) -> None:
        """They were accepted."""
        self._seconds[second] = self._seconds.get(second, 0) + leaves
        self._sum += leaves


def check_ahead(time: int, now: int, limits: HeadLimits) -> None:
    """A leaf's time against our clock: LEAF_FROM_FUTURE."""
    if time > now + limits.clock_ahead_s_max:
        raise Malformed(f"a leaf's time is {time - now} s ahead of the signer's clock", reason="LEAF_FROM_FUTURE")


def check_time(time: int, now: int, limits: HeadLimits) -> None:
    """The same, and LEAF_TOO_OLD."""
    check_ahead(time, now, limits)
    if time < now - limits.leaf_age_s_max:
        raise Malformed(f"the leaf is {now - time} s old", reason="LEAF_TOO_OLD")


def accept(
    mark: HeadMark,
    size: int,
    root: bytes,
    consistency: bytes,
    newest_leaf_time: int,
    now: int,
    limits: HeadLimits,
    *,
    opened: bool = False,
) -> HeadMark:
    """The mark after this head, or why it is refused.

    `opened`: every new leaf was looked at. Such a head may be old, since a long range is told in several of them; its
    old leaves can count no more, for T is never behind our clock.
    """
    if size < mark.size:
        raise Malformed(f"size {size} is behind the accepted {mark.size}", reason="SIZE_NOT_GROWING")
    if size == mark.size:
        raise Malformed("a head of this size is accepted already", reason="SIZE_NOT_GROWING")
    if len(consistency) % _HASH:
        raise Malformed("a consistency path is whole hashes", reason="BAD_REQUEST")
    if newest_leaf_time < mark.time:
        raise Malformed("the newest leaf is older than that of the accepted head", reason="TIME_WENT_BACK")
    (check_ahead if opened else check_time)(newest_leaf_time, now, limits)
    try:
        frontier = frontier_advance(mark.size, mark.frontier, size, consistency, root)
    except CoreError:
        raise Malformed("the head is not consistent with the accepted one", reason="INCONSISTENT") from None
    return replace(mark, size=size, root=root, frontier=frontier, time=newest_leaf_time)


def check_growth(growth: Growth, leaves: int, second: int) -> None:
    """GROWTH_CAP: come back later."""
    if not growth.room(leaves, second):
        raise Busy("the log grows faster than the signer allows", reason="GROWTH_CAP", retry_after_ms=1_000)


def cosign(
    mark: HeadMark, keys: Iterable[bytes], now: int, size: int | None = None, leaf_time: int | None = None
) -> tuple[int, HeadMark]:
    """T = max(clock, last T, newest leaf time), and the mark that says how far these keys (8 bytes each) sign.

    `size` and `leaf_time` are of an earlier accepted head that is signed instead of the last one; no key goes back to a
    smaller head than it has signed: SIZE_NOT_GROWING.
    """
    size = mark.size if size is None else size
    signed = dict(mark.signed)
    names = list(keys)
    last = [signed[key] for key in names if key in signed]
    if any(one.size > size for one in last):
        raise Malformed("this key has signed a larger head", reason="SIZE_NOT_GROWING")
    time = max([now, mark.time if leaf_time is None else leaf_time, *(one.time for one in last)])
    signed.update({key: Signed(size, time) for key in names})
    return time, replace(mark, signed=MappingProxyType(signed))


def remembered(mark: HeadMark, keys: Collection[bytes]) -> HeadMark:
    """The mark without keys that its log no longer has, as far as they would fill it: lines are rotated for ever.

    `keys`, 8 bytes each: those that it has. Of the others those that signed last stay.
    """
    others = sorted((key for key in mark.signed if key not in keys), key=lambda key: mark.signed[key].time)
    gone = set(others[: max(0, len(keys) + len(others) - KEYS_MAX)])
    return replace(mark, signed=MappingProxyType({key: one for key, one in mark.signed.items() if key not in gone}))
