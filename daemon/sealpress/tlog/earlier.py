"""What a former process recorded of requests, looked up in the indexes when somebody asks: so a start reads little.

The indexes are those of the segments of the idempotency window, the active one's as it was at the start. What is
recorded later is in memory (known.py), and so is what was found here once.

Guarantees: the newest REQUEST of an identity and id, with every OUTCOME that names it, oldest first; a lookup of an id
that is not there reads no record. Does not: forget what is older than the window (known.py compares times).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sealpress.core.index import OPEN_KEY, Index, Indexes, asked_key, outcome_key
from sealpress.tlog.entry import Where
from sealpress.tlog.reader import LogReader
from sealpress.tlog.record import Record


class Earlier:
    """Requests in the segments that stood there when the log was opened. Owned by one thread."""

    def __init__(self, reader: LogReader, indexes: Sequence[tuple[int, Index]]) -> None:
        """`indexes`, checked, with their segments' numbers, newest first."""
        self._reader = reader
        self._parts = indexes
        self._all = Indexes([index for _, index in indexes])

    def find(self, identity: str, request_id: str) -> tuple[Record, list[Record]] | None:
        """The REQUEST and its OUTCOMEs. Damaged if a record cannot be read."""
        if not self._parts:
            return None
        key = asked_key(identity, request_id)
        first = self._all.first(key)
        if first is None:
            return None
        for at in range(first, len(self._parts)):
            number, index = self._parts[at]
            for offset in reversed(index.find(key)):
                record = self._reader.record(Where(number, offset))
                if (record.head.event.identity, record.head.event.request_id) == (identity, request_id):
                    return record, list(self.outcomes(record))
        return None

    def outcomes(self, request: Record) -> Iterator[Record]:
        """OUTCOMEs that name this REQUEST, oldest first."""
        key = outcome_key(request.seq)
        for number, index in reversed(self._parts):
            if number >= request.where.segment:
                for offset in index.find(key):
                    record = self._reader.record(Where(number, offset))
                    if any(ref.seq == request.seq for ref in record.head.event.requests):
                        yield record

    def dangling(self) -> Iterator[Record]:
        """REQUESTs that no OUTCOME names, oldest first."""
        for number, index in reversed(self._parts):
            for offset in index.find(OPEN_KEY):
                record = self._reader.record(Where(number, offset))
                if next(self.outcomes(record), None) is None:
                    yield record
