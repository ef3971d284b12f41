"""What stands in segments that have an index: requests looked up there when somebody asks, so memory holds few.

At the start these are the segments of the idempotency window, the active one's as it was then; each that is sealed
follows when its index is made. What is recorded later is in memory (known.py). An index is searched only if its filter
(core.filter), 3 bytes of memory a request, lets the id pass.

Guarantees: the newest REQUEST of an identity and id, with every OUTCOME that names it, oldest first; a lookup of an id
that is not there reads no record, and an index one time in 5,000. Does not: know an OUTCOME in a segment from `below`
on, or forget what is older than the window (known.py compares times) before a whole segment is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sealpress.core.filter import Filter, Filters
from sealpress.core.index import OPEN_KEY, Index, asked_key, outcome_key
from sealpress.core.known import who_asked
from sealpress.errors import CoreError
from sealpress.tlog.entry import Where
from sealpress.tlog.reader import LogReader, unreadable
from sealpress.tlog.record import Record


@dataclass(frozen=True, slots=True)
class Part:
    """One segment."""

    number: int
    began_ns: int  # no record is older
    filter: Filter
    index: Index | None = None  # of the one that was active at the start; others have theirs in a file


class Earlier:
    """Requests of segments that have an index. Owned by one thread."""

    def __init__(self, reader: LogReader, secret: int) -> None:
        """None yet. `secret`: 64 bits that no caller knows; the filters of all parts are made with it."""
        self._reader = reader
        self._secret = secret
        self._parts: list[Part] = []  # newest first, without a gap
        self._filters = Filters((), secret)

    @property
    def below(self) -> int:
        """All segments of the window below this one have their part, and every OUTCOME in them is known here."""
        newest = self._parts[0] if self._parts else None
        return 0 if newest is None else newest.number + (newest.index is None)

    def part(self, number: int, index: Index | None = None) -> Part:
        """Of a sealed segment, made and saved if it has no index; or of `index`. Any thread. CoreError: damage."""
        began_ns = self._reader.segment(number).header.created_ns
        if index is None:
            return Part(number, began_ns, self._reader.indexes.filter(number, self._secret))
        return Part(number, began_ns, Filter(index, self._secret), index)

    def add(self, part: Part) -> None:
        """The segment behind the newest, or that one itself, sealed by now."""
        if self._parts and self._parts[0].number == part.number:
            del self._parts[0]
        elif self._parts and self._parts[0].number + 1 != part.number:
            raise ValueError("a segment is missing")
        self._set([part, *self._parts])

    def let_go(self, until_ns: int) -> None:
        """Of segments in which all is of then or before."""
        if len(self._parts) > 1 and self._parts[-2].began_ns <= until_ns:
            kept = next(at for at, part in enumerate(self._parts) if part.began_ns <= until_ns)
            self._set(self._parts[: kept + 1])

    def find(self, who: bytes) -> Record | None:
        """The newest REQUEST of who asked so (core.known). Damaged if a record cannot be read."""
        at = self._filters.first(who)
        while at is not None:
            part = self._parts[at]
            for offset in reversed(self._places(part, asked_key(who))):
                record = self._reader.record(Where(part.number, offset))
                if who_asked(record.head.event.identity, record.head.event.request_id) == who:
                    return record
            at = self._filters.first(who, at + 1)
        return None

    def outcomes(self, request: Record) -> Iterator[Record]:
        """OUTCOMEs that name this REQUEST, oldest first; each is read as it is taken."""
        key = outcome_key(request.seq)
        for part in reversed(self._parts):
            if part.number >= request.where.segment:
                for offset in self._places(part, key):
                    record = self._reader.record(Where(part.number, offset))
                    if any(ref.seq == request.seq for ref in record.head.event.requests):
                        yield record

    def dangling(self) -> Iterator[Record]:
        """REQUESTs that no OUTCOME names, oldest first."""
        for record in self.records(OPEN_KEY):
            if next(self.outcomes(record), None) is None:
                yield record

    def records(self, key: int) -> Iterator[Record]:
        """Those that a key of core.index leads to, oldest first."""
        for part in reversed(self._parts):
            for offset in self._places(part, key):
                yield self._reader.record(Where(part.number, offset))

    def _set(self, parts: list[Part]) -> None:
        self._parts = parts
        self._filters = Filters([part.filter for part in parts], self._secret)

    def _places(self, part: Part, key: int) -> list[int]:
        try:
            if part.index is not None:
                return part.index.find(key)
            places = self._reader.indexes.places(part.number, key)
            return self._reader.indexes.make(part.number).find(key) if places is None else places
        except CoreError as error:
            raise unreadable(self._reader.directory, Where(part.number, 0), error) from error
