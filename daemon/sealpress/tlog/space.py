"""How much room a log has: what 75 % (alert), 90 % (refusals have no record) and 95 % (requests are refused) mean.

    used    written bytes of the journal: its sealed segments, and the active one up to its end
    left    what can still be written: the rest of the active segment, the spare one, and as many whole segments as fit
            into what is free on the file system, or below [journal] space_bytes_max if that is less
    share   used / (used + left)

So a log that others crowd out of its disk fills up as well as one that grows, a fresh log on a nearly full disk does
not refuse the space that it has set aside already, and archived segments are room again. Only the part of a segment
that batches may fill counts; the reserved segment (csrc/sp_spare.h) counts as neither.

Guarantees: an answer counts what this commit wrote, and is of a disk seen at most LOOK_MS ago; nothing here writes.
Does not: keep the core from being told that the disk is full (a batch that fails says so with Busy LOG_FULL all the
same), or archive.
"""

from __future__ import annotations

import enum
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sealpress.core.segment import segment_name
from sealpress.errors import Busy
from sealpress.ports import Clock
from sealpress.tlog.entry import Where

ALERT_SHARE = 0.75
REFUSALS_SHARE = 0.90  # from here on refusals have no record
FULL_SHARE = 0.95  # from here on requests are refused: what is left is for outcomes, stops and recovery
EASED = 0.02  # so far below ALERT_SHARE the alert is over, so that it does not come and go with every batch
USABLE = 0.75  # a segment is ended where its last quarter begins, so that the largest batch always fits
LOOK_MS = 50
FILES_MS = 1_000  # how old sizes of files may be that only archiving changes
OTHERS = ("reserve", "next.tmp", "archived.json")  # in the journal, beside its segments
RETRY_MS = 1_000
_MILLISECONDS = 1_000_000


class Level(enum.IntEnum):
    """How full a log is."""

    ROOM = 0
    ALERT = 1
    FULL = 2


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes written, and bytes that requests may still write."""

    used: float
    left: float

    def share(self, more: int = 0) -> float:
        """The part of all room that is used once `more` bytes are written; 1.0 if there is no room at all."""
        return min(1.0, (self.used + more) / (self.used + self.left)) if self.left > more else 1.0


@dataclass(frozen=True, slots=True)
class _Files:
    """What the log's files take, in bytes."""

    sealed: int  # segments before the active one
    segments: int  # with that one and the spare
    all: int  # with the reserved segment and the tree


@dataclass(frozen=True, slots=True)
class _Disk:
    """What a look at the disk says."""

    sealed: int  # bytes of the segments before the active one
    segments: int  # that can still be begun, the spare one included


class _Sealed:
    """Segments before the active one: each comes once, keeps its size, and they leave from the lowest on."""

    def __init__(self, journal: Path) -> None:
        """None seen yet."""
        self._journal = journal
        self._lowest = 0
        self._sizes: deque[int] = deque()
        self._bytes = 0

    def before(self, active: int) -> int:
        """Their bytes. Only the lowest and those that are new are looked at, of however many."""
        if not self._sizes:
            stems = [path.stem for path in self._journal.glob("*.seg")]
            self._lowest = min([int(stem) for stem in stems if stem.isdigit()], default=active)
        while self._sizes and not (self._journal / segment_name(self._lowest)).exists():
            self._bytes -= self._sizes.popleft()
            self._lowest += 1
        for number in range(self._lowest + len(self._sizes), active):
            self._sizes.append(_size(self._journal / segment_name(number)))
            self._bytes += self._sizes[-1]
        return self._bytes


class Space:
    """The room of one log. Owned by the event loop's thread, as the log is."""

    def __init__(
        self,
        directory: Path,
        segment_bytes: int,
        bytes_max: int,
        clock: Clock,
        end: Callable[[], Where],
        free: Callable[[], int] | None = None,
    ) -> None:
        """`bytes_max` 0: the file system's; `end`: where the next batch will stand; `free`: bytes, for tests."""
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._bytes_max = bytes_max
        self._clock = clock
        self._end = end
        self.free = free if free is not None else self._statvfs  # bytes on the file system
        self._room: tuple[Where, int, Room] | None = None  # at which end, after which look, what
        self._looked: tuple[int, int, _Disk] | None = None  # in which segment, when (monotonic), what
        self._counted: tuple[int, int, _Files] | None = None  # in which segment, when, what
        self._sealed = _Sealed(directory / "journal")
        self._full_until_ns = 0
        self._good: tuple[Where, int] | None = None  # at which end, and until when (monotonic), there is room
        self._level = Level.ROOM

    def room(self) -> Room:
        """Used and left, now."""
        return self._room_at(self._clock.monotonic_ns())

    def segments_bytes(self) -> int:
        """What the segments take, the spare one too, now or a second ago."""
        return self._files(self._end(), self._clock.monotonic_ns()).segments

    def _room_at(self, now_ns: int) -> Room:
        end = self._end()
        looked = self._looked
        if looked is None or looked[0] != end.segment or now_ns - looked[1] >= LOOK_MS * _MILLISECONDS:
            looked = self._looked = (end.segment, now_ns, self._look(end, now_ns))
        known = self._room
        if known is None or known[0] != end or known[1] != looked[1]:
            known = self._room = (end, looked[1], self._measure(end, looked[2]))
        return known[2]

    def check(self, more: int = 0) -> None:
        """Busy LOG_FULL if with `more` bytes less than the last 5 % would be left, or the disk has just been full."""
        now_ns = self._clock.monotonic_ns()
        good = self._good
        if not more and good is not None and now_ns < good[1] and self._end() is good[0]:
            return  # nothing was written since, and the disk was looked at
        if now_ns < self._full_until_ns or self._room_at(now_ns).share(more) >= FULL_SHARE:
            raise full()
        if not more and self._looked is not None:
            self._good = self._end(), self._looked[1] + LOOK_MS * _MILLISECONDS

    def filled(self) -> None:
        """The core found no room: requests are refused for a while, so that the disk is not asked for each of them."""
        self._good = None
        self._full_until_ns = self._clock.monotonic_ns() + RETRY_MS * _MILLISECONDS

    def level(self) -> Level:
        """How full it is; an alert ends only well below the line where it began."""
        share = self.room().share()
        if share >= FULL_SHARE or self._clock.monotonic_ns() < self._full_until_ns:
            self._level = Level.FULL
        elif share >= ALERT_SHARE - (EASED if self._level is not Level.ROOM else 0):
            self._level = Level.ALERT
        else:
            self._level = Level.ROOM
        return self._level

    def _measure(self, end: Where, disk: _Disk) -> Room:
        usable = USABLE * self._segment_bytes
        left = max(0.0, usable - end.offset) + disk.segments * usable
        return Room(USABLE * disk.sealed + min(end.offset, usable), left)

    def _look(self, end: Where, now_ns: int) -> _Disk:
        files = self._files(end, now_ns)
        free = self.free()
        if self._bytes_max:
            free = min(free, max(0, self._bytes_max - files.all))
        spare = (self._directory / "journal" / segment_name(end.segment + 1)).exists()
        return _Disk(files.sealed, free // self._segment_bytes + spare)

    def _files(self, end: Where, now_ns: int) -> _Files:
        known = self._counted
        if known is not None and known[0] == end.segment and now_ns - known[1] < FILES_MS * _MILLISECONDS:
            return known[2]
        journal = self._directory / "journal"
        sealed = self._sealed.before(end.segment)
        segments = sealed + sum([_size(journal / segment_name(end.segment + ahead)) for ahead in range(2)])
        others = sum([_size(journal / name) for name in OTHERS]) + _bytes_of(self._directory / "tree")
        files = _Files(sealed, segments, segments + others)
        self._counted = (end.segment, now_ns, files)
        return files

    def _statvfs(self) -> int:
        found = os.statvfs(self._directory)
        return found.f_bavail * found.f_frsize


def full() -> Busy:
    """What a caller hears of a log without room."""
    return Busy(
        "the log's disk is full: nothing was written, and what is left is for outcomes and stops",
        reason="LOG_FULL",
        hint="ask again after the delay, with the same request_id; the node's operator makes room (`sealpress log "
        "archive`, a larger disk, [journal] space_bytes_max), and then it goes on by itself",
        retry_after_ms=RETRY_MS,
    )


def _size(path: Path) -> int:
    """Of a file; one that is not there, or goes away meanwhile, counts nothing."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _bytes_of(directory: Path) -> int:
    """Of all files in a directory."""
    try:
        return sum([_size(path) for path in directory.iterdir()])
    except FileNotFoundError:
        return 0
