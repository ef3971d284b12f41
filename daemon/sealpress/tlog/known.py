"""Which request ids of the window are known, and what became of each: the table behind idempotent retries.

What this process records comes in with two calls, `request` and `outcome`. What a former one recorded is looked up in
the journal (earlier.py) when somebody asks for it, comes in with the same two calls, and is in memory from then on.

Guarantees: at most `entries_max` requests in memory, about 250 bytes each; the oldest goes first; nothing older than
the window is ever returned. Does not: decide about a retry.
"""

from __future__ import annotations

import enum
import hashlib
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

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


_FINAL = {
    OutcomeStatus.UNKNOWN: State.UNKNOWN,
    OutcomeStatus.STOPPED: State.STOPPED,
    OutcomeStatus.LAPSED: State.LAPSED,
}
_MODES = (Mode.PROOF, Mode.DIRECT)
_PACKED = struct.Struct("<32sQIIQIQBBIII")  # the fields of KnownRequest in order, with its first outcome
_SEQ, _SEQ_AT = struct.Struct("<Q"), 32
_COUNT, _COUNT_AT = struct.Struct("<I"), 56
_FATE, _FATE_AT = struct.Struct("<BIII"), 69  # state, done, where its first outcome stands: what an OUTCOME changes


class KnownRequest(msgspec.Struct, frozen=True):
    """One request of the window."""

    same: bytes  # 32: equal if the fields were
    seq: int
    where: Where  # of the REQUEST; `Log.stored` reads the rest
    first_leaf: int
    count: int
    time_ns: int
    mode: Mode
    state: State
    done: int = 0  # direct: items whose signature is recorded
    outcomes: tuple[Where, ...] = ()  # oldest first


class Known:
    """The table. Owned by one thread (the event loop's)."""

    def __init__(self, entries_max: int, window_ns: int, earlier: Earlier | None = None) -> None:
        """Empty; bounds as in `[idempotency]`; `earlier` knows what was recorded before."""
        self._earlier = earlier
        self._entries_max = entries_max
        self._window_ns = window_ns
        self._packed: dict[bytes, bytes] = {}
        self._more: dict[bytes, tuple[Where, ...]] = {}  # outcomes beyond the first: retries of direct items
        self._open: dict[int, bytes] = {}  # seq → key, while outcomes may still come
        self._order: deque[bytes] = deque()  # keys, oldest first; a key that was asked again stands here twice
        self._stale: dict[bytes, int] = {}  # how many of a key's places in _order are old ones

    @staticmethod
    def key(identity: str, request_id: str) -> bytes:
        """16 bytes of a hash: the id is the caller's choice, so the table must not be."""
        return hashlib.sha256(f"{identity}\0{request_id}".encode()).digest()[:16]

    def __len__(self) -> int:
        """How many requests are in memory."""
        return len(self._packed)

    def get(self, identity: str, request_id: str, now_ns: int) -> KnownRequest | None:
        """The request with this id, if it is younger than the window. Damaged if its record cannot be read."""
        key = self.key(identity, request_id)
        if key not in self._packed and self._earlier is not None:
            found = self._earlier.find(identity, request_id)
            if found is None or found[0].time_ns <= now_ns - self._window_ns:
                return None
            self.take(*found)
        packed = self._packed.get(key)
        if packed is None:
            return None
        known = self._unpack(key, packed)
        return known if known.time_ns > now_ns - self._window_ns else None

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
    ) -> KnownRequest:
        """A REQUEST is durable. A former one with the same id (it lapsed) is forgotten."""
        key = self.key(event.identity, event.request_id)
        former = self._packed.get(key)
        if former is not None:
            self._open.pop(self._unpack(key, former).seq, None)
            self._more.pop(key, None)
            self._stale[key] = self._stale.get(key, 0) + 1
        known = KnownRequest(event.same, seq, where, first_leaf, count, time_ns, event.mode, State.PENDING)
        self._packed[key] = _pack(known)
        self._order.append(key)
        self._open[seq] = key
        while len(self._packed) > self._entries_max:
            self._drop_oldest()
        return known

    def outcome(self, event: OutcomeEvent, where: Where, of: int | None = None) -> None:
        """An OUTCOME is durable; requests that are not known, or are over, do not change. `of`: only that seq."""
        at = 0
        for ref in event.requests:
            signed = sum(map(bool, event.signatures[at : at + ref.count]))
            at += ref.count
            key = self._open.get(ref.seq) if of in (None, ref.seq) else None
            if key is not None:
                self._settle(key, event.status, signed, where)

    def pending(self) -> Iterator[KnownRequest]:
        """Requests without any outcome, oldest first."""
        for key in self._open.values():
            known = self._unpack(key, self._packed[key])
            if known.state is State.PENDING:
                yield known

    def expire(self, now_ns: int) -> None:
        """Forget what is older than the window; cheap, call it now and then."""
        while self._order and not self._young(self._order[0], now_ns):
            self._drop_oldest()

    def _settle(self, key: bytes, status: OutcomeStatus, signed: int, where: Where) -> None:
        packed = self._packed[key]
        before, done, segment, offset = _FATE.unpack_from(packed, _FATE_AT)
        done += signed
        if status is OutcomeStatus.SEALED or done >= _COUNT.unpack_from(packed, _COUNT_AT)[0]:
            state = State.DONE
        elif before == State.UNKNOWN:
            state = State.UNKNOWN  # one unknown item keeps the whole request unknown
        else:
            state = _FINAL.get(status, State.PARTIAL)
        if offset:
            self._more[key] = (*self._more.get(key, ()), where)
        else:
            segment, offset = where
        self._packed[key] = packed[:_FATE_AT] + _FATE.pack(state, done, segment, offset)
        if state in (State.DONE, State.STOPPED, State.LAPSED):
            del self._open[_SEQ.unpack_from(packed, _SEQ_AT)[0]]

    def _young(self, key: bytes, now_ns: int) -> bool:
        if key in self._stale:
            return False  # an old place of a key that was asked again: drop the place, not the key
        return self._unpack(key, self._packed[key]).time_ns > now_ns - self._window_ns

    def _drop_oldest(self) -> None:
        key = self._order.popleft()
        stale = self._stale.get(key, 0)
        if stale > 1:
            self._stale[key] = stale - 1
        elif stale == 1:
            del self._stale[key]
        else:
            known = self._unpack(key, self._packed.pop(key))
            self._more.pop(key, None)
            self._open.pop(known.seq, None)

    def _unpack(self, key: bytes, packed: bytes) -> KnownRequest:
        (same, seq, segment, offset, first_leaf, count, time_ns, mode, state, done, out_segment, out_offset) = (
            _PACKED.unpack(packed)
        )
        outcomes: tuple[Where, ...] = ()
        if out_offset:  # no frame stands at 0
            outcomes = (Where(out_segment, out_offset), *self._more.get(key, ()))
        return KnownRequest(
            same, seq, Where(segment, offset), first_leaf, count, time_ns, _MODES[mode], State(state), done, outcomes
        )


def _pack(known: KnownRequest) -> bytes:
    outcome = known.outcomes[0] if known.outcomes else Where(0, 0)
    return _PACKED.pack(
        known.same, known.seq, known.where.segment, known.where.offset, known.first_leaf, known.count, known.time_ns,
        _MODES.index(known.mode), known.state, known.done, outcome.segment, outcome.offset,
    )  # fmt: skip
