"""Which request ids of the window are known, and what became of each: the table behind idempotent retries.

What is recorded comes in with two calls, `request` and `outcome`, and leaves memory when it is over and stands,
outcomes and all, in segments that have an index: from then on it is looked up there (earlier.py) when somebody asks, as
what a former process recorded. One that an outcome may still change stays until then.

Guarantees: at most `entries_max` requests in memory, 104 bytes each (core/known.py): those of two segments or so, and
the oldest goes first if that is more; nothing older than the window is ever returned; a look-up costs the same however
many there are, and a few nanoseconds for each segment of the window. Does not: decide about a retry.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from sealpress.core.known import LOOKS_MAX, SAME_BYTES, KnownTable, Row, who_asked
from sealpress.tlog.entry import OutcomeEvent, OutcomeStatus, RequestEvent, Where
from sealpress.values import Mode

if TYPE_CHECKING:
    from sealpress.tlog.earlier import Earlier
    from sealpress.tlog.record import Record

NANOSECONDS = 1_000_000_000


# No outcome is to come of a request of this age that has one: only leaves younger than 300 s are signed. One that does
# come (it waited for room on the disk) counts when its segment has its index.
SETTLED_S = 600
LOOKS = 4  # at requests that may leave, for each that comes: memory is rid of a segment's while the next one fills


class State(enum.IntEnum):
    """What is known of a request's leaves."""

    PENDING = 1  # no outcome yet
    DONE = 2  # sealed, or every direct signature is recorded
    PARTIAL = 3  # direct: `done` of `count` are recorded, the others failed cleanly and may be tried again
    UNKNOWN = 4  # the token may have signed; ask again with a new id
    STOPPED = 5
    LAPSED = 6  # can never be signed; the same id may append new leaves


OVER = frozenset({State.DONE, State.STOPPED, State.LAPSED})  # no outcome changes them, as the core knows, too
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
        """Empty; bounds as in `[idempotency]`; `secret` as of KnownTable; `earlier` knows what has an index."""
        self._earlier = earlier
        self._window_ns = window_ns
        self._table = KnownTable(entries_max, secret)
        self._more: dict[int, tuple[Where, ...]] = {}  # seq → outcomes before the newest: retries of direct items

    def __len__(self) -> int:
        """How many requests are in memory."""
        return len(self._table)

    def get(self, identity: str, request_id: str, now_ns: int) -> KnownRequest | None:
        """The request with this id, if it is younger than the window. Damaged if its record cannot be read."""
        who, since_ns = who_asked(identity, request_id), now_ns - self._window_ns
        found = self._table.find(who)
        if found is not None:
            return self._told(found) if found.time_ns > since_ns else None
        if self._earlier is None:
            return None
        self._earlier.let_go(since_ns)
        request = self._earlier.find(who)
        if request is None or request.time_ns <= since_ns:
            return None
        self.take(request, self._earlier.outcomes(request))
        told = self._told(self._table.find(who))
        if told.state in OVER:  # else callers who ask again could fill the table
            self._forgotten(self._table.forget(who))
        return told

    def take(self, request: Record, outcomes: Iterable[Record]) -> None:
        """What the log holds of a request: from now on it is in memory like those recorded now."""
        self.request(
            request.head.event,
            request.where,
            seq=request.seq,
            first_leaf=request.head.first_leaf,
            count=request.head.count,
            time_ns=request.time_ns,
        )
        who = who_asked(request.head.event.identity, request.head.event.request_id)
        for record in outcomes:
            self.outcome(record.head.event, record.where, of=request.seq)
            found = self._table.find(who)
            if found is None or found.state in OVER:
                return  # what came later changes nothing, and is not looked for

    def request(
        self, event: RequestEvent, where: Where, *, seq: int, first_leaf: int, count: int, time_ns: int
    ) -> None:
        """A REQUEST is durable. A former one with the same id (it lapsed) is forgotten."""
        who, direct = who_asked(event.identity, event.request_id), event.mode is Mode.DIRECT
        self.requests([(who, event.same, seq, first_leaf, count, *where, direct)], time_ns)

    def requests(self, rows: Sequence[Row], time_ns: int) -> None:
        """As `request`, of all of a commit: the rows that core.known wants. Some that need not be here go."""
        self._forgotten(self._table.add(rows, time_ns))
        self.let_go(time_ns, LOOKS * (len(rows) + 1))

    def outcome(self, event: OutcomeEvent, where: Where, of: int | None = None) -> None:
        """An OUTCOME is durable; requests that are not known, or are over, do not change. `of`: only that seq."""
        state, signatures = _STATES.get(event.status, State.PARTIAL), event.signatures
        done = dict[int, int]()
        at = 0
        for ref in event.requests:  # one request may have several runs of leaves
            signed = sum(map(bool, signatures[at : at + ref.count])) if signatures else 0
            done[ref.seq] = done.get(ref.seq, 0) + signed
            at += ref.count
        for seq, signed in done.items():
            if of in (None, seq) and (former := self._table.settle(seq, state, signed, *where)) is not None:
                self._more[seq] = (*self._more.get(seq, ()), Where(*former))

    def let_go(self, now_ns: int, looks: int = LOOKS_MAX) -> None:
        """Look at that many, oldest first, and forget what is older than the window, or settled and in an index."""
        below = self._earlier.below if self._earlier is not None else 0
        since_ns, settled_ns = now_ns - self._window_ns + 1, now_ns - SETTLED_S * NANOSECONDS
        for done in range(0, looks, LOOKS_MAX):
            self._forgotten(self._table.leave(below, since_ns, settled_ns, min(looks - done, LOOKS_MAX)))

    def _forgotten(self, seqs: Iterable[int]) -> None:
        if self._more:
            for seq in seqs:
                self._more.pop(seq, None)

    def _told(self, found: Any) -> KnownRequest:
        outcomes: tuple[Where, ...] = ()
        if found.outcome_offset:  # no frame stands at 0
            newest = Where(found.outcome_segment, found.outcome_offset)
            outcomes = (*self._more.get(found.seq, ()), newest)
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
