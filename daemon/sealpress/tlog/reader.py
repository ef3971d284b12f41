"""Reads committed records, also while the log is being written: by place, in order, or by searching.

Guarantees: nothing behind `end` is read, so nothing that is not committed; any thread may read. Does not: take the
lock, repair, or check roots (recovery.py and check.py do).
"""

from __future__ import annotations

import contextlib
import os
import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from sealpress.core.index import LAST_KEY, request_key
from sealpress.core.segment import FORMAT_VERSION, Frame, Segment, SegmentHeader, segment_name
from sealpress.errors import CannotStart, CoreError, Damaged, Invalid, VersionError
from sealpress.tlog import record
from sealpress.tlog.entry import HEAD_STARTS, VERSION, Where
from sealpress.tlog.index import SegmentIndexes
from sealpress.tlog.record import Record, Stored, StoredOutcome
from sealpress.tlog.standing import no_use, refused, segments
from sealpress.values import RecordType

SEGMENTS_OPEN_MAX = 16
SEGMENTS_OF_A_MOMENT = 3
END = 1 << 63
_LEAFLESS = (RecordType.COMMIT, RecordType.SEAL)
RECORDS = tuple(type_ for type_ in RecordType if type_ not in _LEAFLESS)


class LogReader:
    """The segments of one log, up to `end`."""

    def __init__(self, directory: Path, name: str, log_id: bytes, disk: Any = None) -> None:
        """`directory` is the log's; nothing is opened yet, and nothing is committed as far as we know."""
        self.directory = directory
        self.name = name
        self.end = Where(0, 0)  # replaced whole by the writer; readers take it once
        self._log_id = log_id
        self._disk = disk
        self._open: OrderedDict[int, Segment] = OrderedDict()
        self._lock = threading.Lock()
        self._first: int | None = None  # the lowest that was there when somebody looked last
        self.indexes = SegmentIndexes(directory, self.segment)

    def numbers(self) -> range:
        """Segments up to the active one, in order; a spare is not among them.

        A log has no holes, and what is archived leaves it from the lowest on: the directory is listed once.
        """
        active, first = self.end.segment, self._first
        if first is None:
            stems = [path.stem for path in (self.directory / "journal").glob("*.seg")]
            first = min([int(stem) for stem in stems if stem.isdigit()], default=None)
            if first is None:
                return range(0)  # nothing is written yet
        while first < active and self._gone(first):
            first += 1
        self._first = first  # counted apart: another thread may be at it
        return range(first, active + 1)

    def segment(self, number: int) -> Segment:
        """A mapped segment; the last few stay open. CoreError if it cannot be read."""
        with self._lock:
            found = self._open.get(number)
            if found is None:
                path = self.directory / "journal" / segment_name(number)
                found = self._open[number] = Segment(path, self._log_id, disk=self._disk)
                if len(self._open) > SEGMENTS_OPEN_MAX:
                    self._open.popitem(last=False)  # whoever still reads it holds it
            self._open.move_to_end(number)
            return found

    def let_go(self) -> None:
        """Unmap what has left the journal: while it is mapped, an archived segment still takes its room on the disk."""
        first = self.numbers().start
        with self._lock:
            for number in [number for number in self._open if number < first]:
                del self._open[number]
        self.indexes.let_go(lambda number: number < first)

    def unmap(self, number: int) -> None:
        """A segment that was read whole holds as much memory of this process as it is long; it is mapped when asked."""
        with self._lock:
            self._open.pop(number, None)  # whoever still reads it holds it

    def cool(self, number: int) -> None:
        """A sealed segment will not be read soon: unmap it and let the page cache have its memory back."""
        self.unmap(number)
        path = self.directory / "journal" / segment_name(number)
        with contextlib.suppress(OSError), path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def _since(self, number: int, end: Where) -> range:
        """Segments from this one to that of `end`."""
        return range(max(number, self.numbers().start), end.segment + 1)

    def _gone(self, number: int) -> bool:
        return not (self.directory / "journal" / segment_name(number)).exists()

    def _present(self, numbers: Iterable[int]) -> Iterator[tuple[int, Segment]]:
        """Those that were not archived since somebody looked which there are."""
        for number in numbers:
            try:
                segment = self.segment(number)
            except CoreError:
                if self._gone(number):
                    continue
                raise
            yield number, segment

    def _newest(self, begins: Callable[[SegmentHeader], bool]) -> int | None:
        """The newest segment that begins so, as all before it do: of the others a handful is looked at."""

        def later(number: int) -> bool:
            found = next(self._present((number,)), None)
            return found is not None and not begins(found[1].header)

        numbers = self.numbers()
        at = bisect_left(numbers, True, key=later)
        return numbers[at - 1] if at else None

    def frames(self, number: int, start: int = 0) -> Iterator[Frame]:
        """All frames of a segment from `start` (0: the first), up to `end` if it is the active one."""
        end = self.end
        stop = end.offset if number == end.segment else END
        return self.segment(number).frames(start, stop, whole=True)

    def record(self, where: Where) -> Record:
        """The record at a place. Damaged if there is none."""
        try:
            frame = self.segment(where.segment).frame(where.offset)
            if frame is None:
                raise Invalid("nothing is written there")
            return record.from_frame(where.segment, frame)
        except (CoreError, Invalid) as error:
            raise unreadable(self.directory, where, error) from error

    def stored(self, where: Where) -> Stored:
        """The REQUEST at a place with all that an answer needs."""
        return record.stored(self.record(where), self.name)

    def outcome(self, where: Where) -> StoredOutcome:
        """The OUTCOME at a place."""
        return record.stored_outcome(self.record(where))

    def records(self, from_seq: int = 0, at: Where | None = None) -> Iterator[Record]:
        """Committed records with seq >= from_seq in order, up to what is committed now.

        To go on later give the `next` of the last record as `at`.
        """
        at = at if at is not None else self.since_seq(from_seq)
        for number, _ in self._present(self._since(at.segment, self.end)):
            for frame in self.frames(number, at.offset if number == at.segment else 0):
                if frame.type not in _LEAFLESS and frame.seq >= from_seq:
                    yield record.from_frame(number, frame)

    def since_seq(self, seq: int) -> Where:
        """Where the frames from this seq on begin."""
        number = self._newest(lambda header: header.first_seq <= seq)
        if number is None or self._gone(number):
            return Where(number or 0, 0)
        start = self._seek(number, seq)
        return Where(number, start) if start is not None else Where(number + 1, 0)

    def since_time(self, time_ns: int) -> Where:
        """Nothing of then or later stands in front of it."""
        return Where(self._newest(lambda header: header.created_ns <= time_ns) or 0, 0)

    def records_of_leaves(self, first_leaf: int, at: Where | None = None) -> Iterator[Record]:
        """Committed records in order from the one that made leaf `first_leaf`; `at` as in `records`, if it is known."""
        if at is None:
            at = Where(self._newest(lambda header: header.tree_size <= first_leaf) or 0, 0)
        for found in self.records(at=at):
            if found.head.first_leaf + found.head.count > first_leaf:
                yield found

    def of_types(
        self,
        types: Iterable[RecordType],
        at: Where | None = None,
        needle: bytes = HEAD_STARTS,
        *,
        indexed: bool = False,
    ) -> Iterator[Record]:
        """Committed records of these types that hold `needle`, in order, from `at` on; C passes over all others.

        `indexed`: of sealed segments without any, as their index tells, nothing else is read; for REQUEST, REFUSAL and
        GOVERNANCE, and for answers that may rest on an index, as Explain's do.
        """
        mask = sum(1 << type_ for type_ in types)
        end = self.end
        for number, segment in self._present(self._since(at.segment if at is not None else 0, end)):
            start = at.offset if at is not None and number == at.segment else 0
            stop = end.offset if number == end.segment else END
            if indexed and number != end.segment:
                stop = self._behind_last(number, segment, mask)
            while (frame := segment.find(needle, mask, start, stop)) is not None:
                yield record.from_frame(number, frame)
                start = frame.next_offset

    def find(
        self,
        needle: bytes,
        types: Iterable[RecordType] = RECORDS,
        since: Where | None = None,
        key: int | None = None,
    ) -> Iterator[Record]:
        """Records of these types whose payload holds `needle`: newest segment first, in order inside one.

        With `key` (core.index) sealed segments are not read from end to end but where their index says; one without a
        good index is. A hit is only bytes: the caller looks whether they mean what he seeks.
        """
        mask = sum(1 << type_ for type_ in types)
        end = self.end
        for number, segment in self._present(reversed(self._since(since.segment if since is not None else 0, end))):
            start = since.offset if since is not None and number == since.segment else 0
            stop = end.offset if number == end.segment else END
            places = self.indexes.places(number, key) if key is not None and number != end.segment else None
            stretches = [(start, stop)] if places is None else [(at, at + 1) for at in places if at >= start]
            for at, stop in stretches:
                while (frame := segment.find(needle, mask, at, stop)) is not None:
                    yield record.from_frame(number, frame)
                    at = frame.next_offset

    def written_at(self, needle: bytes, type_: RecordType, time_ns: int) -> Iterator[Record]:
        """Records of a type whose payload holds `needle`, of what was written at this time, in order.

        The segment of that moment is read, and the few behind it: a batch may have opened one of these.
        """
        end = self.end
        first = self._newest(lambda header: header.created_ns < time_ns) or 0
        for number, segment in self._present(self._since(first, end)[:SEGMENTS_OF_A_MOMENT]):
            start, stop = 0, end.offset if number == end.segment else END
            while (frame := segment.find(needle, 1 << type_, start, stop)) is not None:
                yield record.from_frame(number, frame)
                start = frame.next_offset

    def request(self, seq: int) -> Record | None:
        """The REQUEST with this seq."""
        end = self.end
        number = self._newest(lambda header: header.first_seq <= seq)
        if number is None or self._gone(number):
            return None
        places = self.indexes.places(number, request_key(seq)) if number != end.segment else None
        for offset in [self._seek(number, seq)] if places is None else places:
            if offset is not None:
                found = self.record(Where(number, offset))
                if found.seq == seq and found.type is RecordType.REQUEST:
                    return found
        return None

    def close(self) -> None:
        """Let go of the mappings."""
        self.indexes.close()
        with self._lock:
            self._open.clear()

    def _behind_last(self, number: int, segment: Segment, mask: int) -> int:
        """Where no record of these types follows any more in a sealed segment."""
        places = self.indexes.places(number, LAST_KEY)
        if places is None:
            return END
        return max([at + 1 for at in places if segment.find(HEAD_STARTS, mask, at, at + 1) is not None], default=0)

    def _seek(self, number: int, seq: int) -> int | None:
        end = self.end
        return self.segment(number).seek(seq, 0, end.offset if number == end.segment else END)


def newer_format(directory: Path, found: str, known: int) -> Damaged:
    """The error for what a newer release wrote: nothing is guessed at, and nothing changed."""
    return Damaged(
        f"{directory}: {found}; this release reads up to version {known}",
        reason="LOG_VERSION",
        hint="start the release that wrote it, or a newer one; nothing was changed",
    )


def unreadable(directory: Path, where: Where, error: Exception) -> CannotStart | Damaged:
    """The error for a record that should be there."""
    if (system := refused(error)) is not None:
        return no_use(directory / "journal" / segment_name(where.segment), system)
    if isinstance(error, Invalid) and error.reason == "ENTRY_VERSION":
        return newer_format(directory, f"segment {where.segment}, byte {where.offset}: {error.message}", VERSION)
    if isinstance(error, VersionError):
        found = f"segment {where.segment} has version {error.version} of its format"
        return newer_format(directory, found, FORMAT_VERSION)
    return Damaged(
        f"{directory}: segment {where.segment}, byte {where.offset}: {error}",
        reason="LOG_DAMAGED",
        hint="run `sealpress log verify`; restore the directory from a copy that holds every record; see "
        "daemon/DAMAGED-LOG.md",
    )


def committed(directory: Path, from_seq: int = 0) -> Iterator[Record]:
    """Records of a log that nobody writes, as far as a COMMIT follows them; Damaged where it breaks before its end.

    With `from_seq` those from it on: segments before it are not read.
    """
    waiting: list[Record] = []
    paths = segments(directory)
    paths = paths[max(0, bisect_left(paths, True, key=lambda path: begins_behind(path, from_seq)) - 1) :]
    for number, path in enumerate(paths, int(paths[0].stem) if paths else 0):
        try:
            with Segment(path) as segment:
                if int(path.stem) != number:
                    raise Invalid("the segment is missing")
                for frame in segment.frames():
                    if frame.type == RecordType.COMMIT:
                        yield from waiting
                        waiting = []
                    elif frame.type not in _LEAFLESS and frame.seq >= from_seq:
                        waiting.append(record.from_frame(number, frame))
        except (CoreError, Invalid) as error:
            if isinstance(error, Invalid) or not all(begins_behind(later, END) for later in paths if later > path):
                raise unreadable(directory, Where(number, 0), error) from error
            return  # a spare, or what was cut short behind the last COMMIT


def begins_behind(path: Path, seq: int) -> bool:
    """Whether all in this file is of a later seq; of one that cannot be read nothing else is known."""
    try:
        with Segment(path) as segment:
            return segment.header.first_seq > seq
    except CoreError:
        return True
