"""A request on its way: its ticket, and the two places where it waits, its log until it is durable, then its line.

Guarantees: a ticket is in one phase at a time; whoever joins it is told once. Everything here is owned by the event
loop's thread. Does not: decide anything, or say when a place is left (flow does).
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

import msgspec

from sealpress.config import HELD, KeySection
from sealpress.errors import SealpressError
from sealpress.governance.snapshot import Snapshot
from sealpress.governance.usage import Decision
from sealpress.steps._gather import GATHER_NS_MAX, Gather
from sealpress.steps._head import Head, SignedHead
from sealpress.steps._left import Left
from sealpress.steps._pace import Pace
from sealpress.steps._pending import Pending
from sealpress.steps._request import Caller, Phase, Settled, Waiter
from sealpress.steps.batch import Queue
from sealpress.tlog.entry import RequestRef
from sealpress.tlog.known import Known
from sealpress.tlog.log import Log
from sealpress.tlog.record import Stored
from sealpress.values import LeafKind, Mode, SignAsk, tenant_of

MERGED_BYTES_MAX = 4 << 20  # of commits that wait for a token as one


class Ticket:
    """One admitted request on its way; whoever waits for it stands in `waiters`."""

    __slots__ = (
        "act", "ask", "caller", "cost", "decided", "decision", "expires_ns", "failure", "gather", "key", "line",
        "names", "ours", "pace", "phase", "same", "settled", "signatures", "snapshot", "started_ns", "streamed",
        "waiters",
    )  # fmt: skip

    def __init__(
        self,
        ask: SignAsk,
        caller: Caller,
        line: Line,
        decision: Decision,
        snapshot: Snapshot,
        same: bytes,
        names: bytes,
        started_ns: int,
        decided: int = 0,
    ) -> None:
        """`decision` under `snapshot` at `decided` (Unix seconds) allowed it; the commit decides again."""
        self.ask = ask
        self.caller = caller
        self.expires_ns = caller.expires_ns  # until when anybody waits, as far as is known; 0: for ever
        self.key = caller.identity.id, ask.request_id  # its place in `live`
        self.line = line
        self.decision = decision
        self.decided = decided
        self.snapshot = snapshot
        self.same = same
        self.names = names  # the record's names column
        self.started_ns = started_ns
        self.cost = 512 + len(ask.digests) + len(names)  # bytes in the journal, about
        self.streamed = False  # it is an item of a stream: whoever asks does not wait for it to ask again
        self.phase = Phase.QUEUED
        self.waiters: list[Waiter] = []
        self.act: Stored | None = None  # from DURABLE on
        self.signatures: dict[int, bytes] = {}  # direct: position → signature, as far as recorded
        self.ours = True  # direct: every try of its leaves, so that what failed cleanly is known not to be signed
        self.settled: Settled | None = None
        self.failure: SealpressError | None = None
        self.pace: Pace | None = None  # that it counts in; from `enter` to its end
        self.gather: Gather | None = None  # likewise; none where its line is too far behind for it to come again soon

    def enter(self, now_ns: int) -> None:
        """From now on its line has it to do, and its log."""
        self.pace = self.line.pace
        self.gather = self.line.log.gather if self.pace.wait_ns() <= GATHER_NS_MAX else None
        if self.gather is not None:
            self.gather.came(now_ns)
        self.pace.pending += self.ask.count

    def stay(self, expires_ns: int) -> None:
        """Somebody asks for the same, and waits until then."""
        self.expires_ns = max(self.expires_ns, expires_ns) if self.expires_ns and expires_ns else 0

    def join(self, waiter: Waiter) -> None:
        """One more who waits; he is told at once if there is something to tell."""
        if self.settled is not None:
            waiter.set_result(self.settled)
        elif self.failure is not None:
            waiter.set_exception(self.failure)
        else:
            self.waiters.append(waiter)

    def leave(self, waiter: Waiter) -> None:
        """He waits no more."""
        if waiter in self.waiters:
            self.waiters.remove(waiter)

    def wanted(self, now_ns: int) -> bool:
        """Whether anybody still waits for it."""
        return bool(self.waiters) and not 0 < self.expires_ns <= now_ns

    def resolve(self, settled: Settled) -> None:
        """The answer is there."""
        self._end()
        self.settled = settled
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(settled)

    def fail(self, error: SealpressError) -> None:
        """There will be no answer."""
        self._end()
        self.failure = error
        self.turn_away(error)

    def _end(self) -> None:
        self.phase = Phase.DONE
        if self.pace is not None:
            self.pace.pending -= self.ask.count
            self.pace = None
            if self.gather is not None:
                self.gather.ended()

    def turn_away(self, error: SealpressError) -> None:
        """Those who wait now get an error; the ticket goes on and may be joined again."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)

    @property
    def ref(self) -> RequestRef:
        """How an OUTCOME names its leaves."""
        assert self.act is not None
        return RequestRef(self.act.seq, self.act.first_leaf, self.act.count)


@dataclass(slots=True, eq=False)
class Durable:
    """Tickets of one line that are durable and not yet signed: those of one commit, or of several within a second."""

    tickets: list[Ticket]
    end: int  # one past their last leaf
    time: int  # Unix seconds in their leaves
    since_ns: int  # monotonic; from when its callers wait, or were last told that it takes longer
    cost: int = 0  # bytes in the journal, about


class Line:
    """A line of this node with one of its keys, and what waits for that key's signature.

    A line whose key has a successor is two of these: what is durable under the old key is still sealed by it.
    """

    def __init__(
        self, name: str, key: str, section: KeySection, spki: bytes, key_id: bytes, vkey: str, log: LogState
    ) -> None:
        """`key` is the id of `[key.<id>]`; `vkey` is empty for direct lines."""
        self.name = name
        self.signer = f"{log.log.name}/{name}".encode()  # its name as a cosigner
        self.tenant = section.tenant or tenant_of(name)
        self.key = key
        self.section = section
        self.mode = section.mode
        self.kind = LeafKind.PROOF if section.mode is Mode.PROOF else LeafKind.DIRECT
        self.spki = spki
        self.key_id = key_id
        self.vkey = vkey
        self.log = log
        self.held = section.hold == HELD  # the key signs only heads that witnesses have cosigned
        self.durable: deque[Durable] = deque()
        self.left = Left()  # direct
        self.pace = Pace()
        self.asked = 0  # leaves below it are in the token's hands, or signed
        self.asking: list[int] = []  # sizes of the heads in its hands
        self.sealed: SignedHead | None = None  # its newest head
        self.cosigned: SignedHead | None = None  # its newest head that witnesses cosigned
        self.changed = asyncio.Event()
        self.next = asyncio.Lock()  # held by the one that waits for more to sign: the others need not be woken
        self._last: asyncio.Event | None = None  # set when the seal that was asked for last is settled

    def turn(self) -> tuple[asyncio.Event | None, asyncio.Event]:
        """For the next seal: what to wait for before it is settled, and what to set then."""
        before, self._last = self._last, asyncio.Event()
        return before, self._last

    def offer(self, durable: Durable) -> None:
        """More to sign: one with what waits already, so that commits do not pile up before a slow token."""
        last = self.durable[-1] if self.durable else None
        if last is not None and self._merges(last, durable):
            last.tickets += durable.tickets
            last.end, last.cost = durable.end, last.cost + durable.cost
        else:
            self.durable.append(durable)
        self.changed.set()

    def _merges(self, last: Durable, durable: Durable) -> bool:
        waits = last.end > self.asked and not self.held
        return waits and last.time == durable.time and last.cost + durable.cost <= MERGED_BYTES_MAX

    def turn_away(self, now_ns: int, before_ns: int, error: SealpressError) -> None:
        """Those who have waited since before then get an error; on a held line whoever comes back may wait again."""
        for durable in self.durable:
            if durable.since_ns < before_ns:
                for ticket in durable.tickets:
                    ticket.turn_away(error)
                if self.held:
                    durable.since_ns = now_ns

    @property
    def unasked(self) -> bool:
        """Whether there is more to sign than the token has in hand."""
        return bool(self.durable) and self.durable[-1].end > self.asked

    def offer_again(self, durable: Durable) -> None:
        """Older leaves that still have no signature."""
        self.durable.appendleft(durable)
        self.ask_again()
        self.changed.set()

    def ask_again(self) -> None:
        """What no head in the token's hands covers has to be asked for, be it once more."""
        self.asked = max(self.asking, default=0)


class LogState(Pending):
    """One log: its queue, the events that wait for a commit, and its newest heads."""

    def __init__(self, id_: str, log: Log, known: Known, queue: Queue[Ticket], head: Head, log_vkey: str) -> None:
        """`known` is fed by commit and settle alone."""
        super().__init__(log)
        self.id = id_
        self.origin = log.origin.encode()
        self.known = known
        self.queue = queue
        self.head = head
        self.log_vkey = log_vkey
        self.lines: list[Line] = []
        self.gather = Gather()
        self.grown = asyncio.Condition()  # notified after each commit, for Tail
        self.signed_size = 0  # newest head with the log's signature ...
        self.signed_note = b""  # ... and that note, without any other signature
        self.sealed_size = 0  # newest head that readers are shown: that one, or the last that witnesses were ...
        self.sealed_note = b""  # ... and that note, with their cosignatures, without any line's signature
        self.quorum = False  # whether enough of them cosigned it
        self.witnessed = False  # whether there are any
        self.facts_size = 0  # of the tree with the newest fact of governance

    def signed(self, size: int, note: bytes) -> None:
        """A head has the log's signature: readers are shown it now, or after its witnesses were asked."""
        if size > self.signed_size:
            self.signed_size, self.signed_note = size, note
            if not self.witnessed:
                self.sealed_size, self.sealed_note = size, note

    def show(self, size: int, note: bytes, cosignatures: bytes, *, quorum: bool) -> None:
        """Readers are shown this head; requesters of a line that signed it get its cosignatures when they ask again."""
        if size < self.sealed_size:
            return
        self.sealed_size, self.sealed_note, self.quorum = size, note + cosignatures, quorum
        for line in self.lines:
            if line.sealed is not None and line.sealed.size == size:
                checkpoint = line.sealed.own_checkpoint + cosignatures
                line.cosigned = msgspec.structs.replace(line.sealed, checkpoint=checkpoint)
