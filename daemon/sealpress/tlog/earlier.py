"""What stands in segments that have an index: requests looked up there when somebody asks, so memory holds few.

At the start these are the segments of the idempotency window, the active one's as it was then; each that is sealed
follows when its index is made. What is recorded later is in memory (known.py). Indexes are searched only if their
filter (core.filter), 3 bytes of memory a request, lets the id pass.

Guarantees: the newest REQUEST of an identity and id, with every OUTCOME that names it, oldest first; a lookup of an id
that is not there reads no record, and the indexes of one filter in 5,000. Does not: know an OUTCOME in a segment from
`below` on, or forget what is older than the window (known.py compares times) before a whole segment is.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from sealpress.core.filter import Filter, Filters
from sealpress.core.index import OPEN_KEY, Index, asked_key, outcome_key
from sealpress.core.known import who_asked
from sealpress.errors import CoreError
from sealpress.tlog.entry import Where
from sealpress.tlog.reader import LogReader, unreadable
from sealpress.tlog.record import Record

GROUP_SEGMENTS = 16  # at most, that share a filter: large batches fill a segment with few ids
GROUP_BYTES = 192 << 10  # of a filter to which no further segment is added: 64 k ids


@dataclass(frozen=True, slots=True)
class Part:
    """Neighbouring segments that share a filter."""

    first: int
    last: int
    began_ns: int  # nothing in the last is older
    filter: Filter
    index: Index | None = None  # of the one that was active at the start, alone; others have theirs in a file


class Earlier:
    """Requests of segments that have an index. Owned by one thread."""

    def __init__(self, reader: LogReader, secret: int) -> None:
        """None yet. `secret`: 64 bits that no caller knows; the filters of all parts are made with it."""
        self._reader = reader
        self._secret = secret
        self._parts: list[Part] = []  # newest first, without a gap
        self._oldest = 0  # segments below are older than the window, and need not be there any more
        self._began_ns: deque[int] = deque()  # of each from that one on
        self._filters = Filters((), secret)

    def __len__(self) -> int:
        """How many filters a new id passes."""
        return len(self._parts)

    @property
    def below(self) -> int:
        """All segments of the window below this one have their part, and every OUTCOME in them is known here."""
        newest = self._parts[0] if self._parts else None
        return 0 if newest is None else newest.last + (newest.index is None)

    def part(self, number: int, after: Part | None = None) -> Part:
        """With this sealed segment, in place of `after`, the one before it, if they may share a filter. Any thread.

        Indexes that are missing are made and saved. CoreError: damage.
        """
        began_ns = self._reader.segment(number).header.created_ns
        if after is not None and after.filter.bytes < GROUP_BYTES and number < after.first + GROUP_SEGMENTS:
            with contextlib.suppress(CoreError):  # some may be archived by now
                return Part(after.first, number, began_ns, self._filter(after.first, number))
        return Part(number, number, began_ns, self._filter(number, number))

    def unsealed(self, number: int, index: Index) -> Part:
        """Of the active segment, as far as this index knows it."""
        began_ns = self._reader.segment(number).header.created_ns
        return Part(number, number, began_ns, Filter([index], self._secret), index)

    def add(self, part: Part) -> None:
        """The segment behind the newest, or that one itself, sealed by now; with others that share its filter."""
        older = [each for each in self._parts if each.first < part.first]
        if older and older[0].last + 1 != part.first:
            raise ValueError("a segment is missing")
        if not self._began_ns:
            self._oldest = part.first
        if part.last == self._oldest + len(self._began_ns):
            self._began_ns.append(part.began_ns)
        self._set([part, *older])

    def let_go(self, until_ns: int) -> None:
        """Of segments in which all is of then or before."""
        while len(self._began_ns) > 1 and self._began_ns[1] <= until_ns:
            self._began_ns.popleft()
            self._oldest += 1
        if self._parts and self._parts[-1].last < self._oldest:
            self._set([part for part in self._parts if part.last >= self._oldest])

    def find(self, who: bytes) -> Record | None:
        """The newest REQUEST of who asked so (core.known). Damaged if a record cannot be read."""
        at = self._filters.first(who)
        while at is not None:
            part, key = self._parts[at], asked_key(who)
            for number in reversed(self._numbers(part)):
                for offset in reversed(self._places(part, number, key)):
                    record = self._reader.record(Where(number, offset))
                    if who_asked(record.head.event.identity, record.head.event.request_id) == who:
                        return record
            at = self._filters.first(who, at + 1)
        return None

    def outcomes(self, request: Record) -> Iterator[Record]:
        """OUTCOMEs that name this REQUEST, oldest first; each is read as it is taken."""
        for record in self.records(outcome_key(request.seq), request.where.segment):
            if any(ref.seq == request.seq for ref in record.head.event.requests):
                yield record

    def dangling(self) -> Iterator[Record]:
        """REQUESTs that no OUTCOME names, oldest first."""
        for record in self.records(OPEN_KEY):
            if next(self.outcomes(record), None) is None:
                yield record

    def records(self, key: int, since: int = 0) -> Iterator[Record]:
        """Those that a key of core.index leads to, oldest first, in segments from `since` on."""
        for part in reversed(self._parts):
            for number in self._numbers(part, since):
                for offset in self._places(part, number, key):
                    yield self._reader.record(Where(number, offset))

    def _set(self, parts: list[Part]) -> None:
        self._parts = parts
        self._filters = Filters([part.filter for part in parts], self._secret)

    def _filter(self, first: int, last: int) -> Filter:
        return self._reader.indexes.filter(range(first, last + 1), self._secret)

    def _numbers(self, part: Part, since: int = 0) -> range:
        return range(max(since, part.first, self._oldest), part.last + 1)

    def _places(self, part: Part, number: int, key: int) -> list[int]:
        try:
            if part.index is not None:
                return part.index.find(key)
            places = self._reader.indexes.places(number, key)
            return self._reader.indexes.make(number).find(key) if places is None else places
        except CoreError as error:
            raise unreadable(self._reader.directory, Where(number, 0), error) from error
