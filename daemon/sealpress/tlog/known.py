"""Which request ids of the window are known, and what became of each: the table behind idempotent retries.

What this process records comes in with two calls, `request` and `outcome`. What a former one recorded is looked up in
the journal (earlier.py) when somebody asks for it, comes in with the same two calls, and is in memory from then on.

Guarantees: at most `entries_max` requests in memory, 104 bytes each (core/known.py); the oldest goes first; nothing
older than the window is ever returned; a look-up costs the same however many there are. Does not: decide about a retry.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from sealpress.core.known import SAME_BYTES, KnownTable, Row
from sealpress.tlog.entry import OutcomeEvent, OutcomeStatus, RequestEvent, Where
from sealpress.values import Mode

if TYPE_CHECKING:
    from sealpress.tlog.earlier import Earlier
    from sealpress.tlog.record import Record


class State(enum.IntEnum):
    """What is known of a request's leaves."""

    PENDING = 1  # no outcome yet
    DONE = 2  # sealed, or every direct signature is recorded
    PARTIAL = 3  # direct: `done` of `count` are recorded, the others failed cleanly and may be tried again
    UNKNOWN = 4  # the token may have signed; ask again with a new id
    STOPPED = 5
    LAPSED = 6  # can never be signed; the same id may append new leaves


_STATES = {
    OutcomeStatus.SEALED: State.DONE,
    OutcomeStatus.UNKNOWN: State.UNKNOWN,
    OutcomeStatus.STOPPED: State.STOPPED,
    OutcomeStatus.LAPSED: State.LAPSED,
}  # of the others it is DONE when all is signed, PARTIAL until then


class KnownRequest(msgspec.Struct, frozen=True):
    """One request of the window."""

    same: bytes  # the first 16 of its record's `same`
    seq: int
    where: Where  # of the REQUEST; `Log.stored` reads the rest
    first_leaf: int
    count: int
    time_ns: int
    mode: Mode
    state: State
    done: int = 0  # direct: items whose signature is recorded
    outcomes: tuple[Where, ...] = ()  # oldest first

    def is_same(self, same: bytes) -> bool:
        """Whether a request with this `same` (32 bytes) has the same fields."""
        return self.same == same[:SAME_BYTES]


class Known:
    """The table. Owned by one thread (the event loop's)."""

    def __init__(self, entries_max: int, window_ns: int, secret: bytes, earlier: Earlier | None = None) -> None:
        """Empty; bounds as in `[idempotency]`; `secret` as of KnownTable; `earlier` knows what was recorded before."""
        self._earlier = earlier
        self._window_ns = window_ns
        self._table = KnownTable(entries_max, secret)
        self._more: dict[int, tuple[Where, ...]] = {}  # seq → outcomes beyond the first: retries of direct items

    def __len__(self) -> int:
        """How many requests are in memory."""
        return len(self._table)

    def get(self, identity: str, request_id: str, now_ns: int) -> KnownRequest | None:
        """The request with this id, if it is younger than the window. Damaged if its record cannot be read."""
        who = who_asked(identity, request_id)
        found = self._table.find(who)
        if found is None:
            earlier = self._earlier.find(identity, request_id) if self._earlier is not None else None
            if earlier is None or earlier[0].time_ns <= now_ns - self._window_ns:
                return None
            self.take(*earlier)
            found = self._table.find(who)
        return self._told(found) if found is not None and found.time_ns > now_ns - self._window_ns else None

    def take(self, request: Record, outcomes: Iterable[Record]) -> None:
        """What a former process recorded of a request: from now on it is in memory like those of this one."""
        self.request(
            request.head.event,
            request.where,
            seq=request.seq,
            first_leaf=request.head.first_leaf,
            count=request.head.count,
            time_ns=request.time_ns,
        )
        for record in outcomes:
            self.outcome(record.head.event, record.where, of=request.seq)

    def request(
        self, event: RequestEvent, where: Where, *, seq: int, first_leaf: int, count: int, time_ns: int
    ) -> None:
        """A REQUEST is durable. A former one with the same id (it lapsed) is forgotten."""
        who, direct = who_asked(event.identity, event.request_id), event.mode is Mode.DIRECT
        self.requests([(who, event.same, seq, first_leaf, count, *where, direct)], time_ns)

    def requests(self, rows: Iterable[Row], time_ns: int) -> None:
        """As `request`, of all of a commit: the rows that core.known wants, made with `who_asked`."""
        for each in self._table.add(rows, time_ns):
            self._more.pop(each, None)

    def outcome(self, event: OutcomeEvent, where: Where, of: int | None = None) -> None:
        """An OUTCOME is durable; requests that are not known, or are over, do not change. `of`: only that seq."""
        segment, offset = where
        state, signatures = _STATES.get(event.status, State.PARTIAL), event.signatures
        at = 0
        for ref in event.requests:
            signed = sum(map(bool, signatures[at : at + ref.count])) if signatures else 0
            at += ref.count
            if of in (None, ref.seq) and self._table.settle(ref.seq, state, signed, segment, offset):
                self._more[ref.seq] = (*self._more.get(ref.seq, ()), where)

    def expire(self, now_ns: int) -> None:
        """Forget what is older than the window; cheap, call it now and then."""
        while (seq := self._table.drop(now_ns - self._window_ns)) is not None:
            self._more.pop(seq, None)

    def _told(self, found: Any) -> KnownRequest:
        outcomes: tuple[Where, ...] = ()
        if found.outcome_offset:  # no frame stands at 0
            first = Where(found.outcome_segment, found.outcome_offset)
            outcomes = (first, *self._more.get(found.seq, ()))
        return KnownRequest(
            bytes(found.same),
            found.seq,
            Where(found.segment, found.offset),
            found.first_leaf,
            found.count,
            found.time_ns,
            Mode.DIRECT if found.direct else Mode.PROOF,
            State(found.state),
            found.done,
            outcomes,
        )


def who_asked(identity: str, request_id: str) -> bytes:
    """What a request is found by."""
    return f"{identity}\0{request_id}".encode()
