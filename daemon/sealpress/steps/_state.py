"""What the steps hand to one another: callers, tickets, lines, logs, and what they share.

Guarantees: a ticket is in one state at a time and leaves `live` only when its outcome is durable or it never will have
one. Everything here is owned by the event loop's thread. Does not: decide anything.
"""

from __future__ import annotations

import asyncio
import enum
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from sealpress.config import HELD, KeySection, Limits
from sealpress.errors import Damaged, SealpressError
from sealpress.governance.snapshot import Snapshot
from sealpress.governance.usage import Decision, Ledger
from sealpress.ports import Clock, Entropy
from sealpress.steps._gather import GATHER_NS_MAX, Gather
from sealpress.steps._left import Left
from sealpress.steps._pace import Pace
from sealpress.telemetry import Telemetry
from sealpress.tlog.entry import Event, GovernanceEvent, RequestRef, Where
from sealpress.tlog.record import Stored
from sealpress.values import Identity, LeafKind, Mode, RecordType, SignAsk, tenant_of
from sealpress.verify.evidence import Evidence, no_evidence

if TYPE_CHECKING:
    from sealpress.steps._office import Office
    from sealpress.steps._witnesses import Witnesses
    from sealpress.steps.batch import Queue
    from sealpress.steps.seal import SignedHead
    from sealpress.tlog.known import Known
    from sealpress.tlog.log import Committed, Log, Placed

NANOSECONDS = 1_000_000_000
MILLISECONDS = 1_000_000
FORMER_KEYS_MAX = 16  # of a line, told to who asks for its key
MERGED_BYTES_MAX = 4 << 20  # of commits that wait for a token as one


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Who asks, from where, and until when he waits."""

    identity: Identity
    source: str  # address of the peer; recorded
    expires_ns: int = 0  # monotonic; 0: he waits for ever
    flaw: str = ""  # IDENTITY_AMBIGUOUS, CREDENTIAL_EXPIRED: why this identity counts for nothing


class Phase(enum.IntEnum):
    """How far a ticket came."""

    QUEUED = 1  # nothing is recorded
    COMMITTING = 2  # may or may not be in the log
    DURABLE = 3  # its leaves are in the log
    DONE = 4  # settled or failed; the outcome may still be on its way into the log


class Settled(msgspec.Struct, frozen=True, gc=False):
    """A signed act: all that any answer about it is made of."""

    log: Log
    act: Stored
    tree_size: int
    checkpoint: bytes = b""  # proof: signed note with the lines of the log and the line key
    signatures: tuple[bytes, ...] = ()  # direct: one for each leaf


class Waiter(Protocol):
    """Who waits for a ticket: a future, or what does without a turn of the loop for each answer."""

    def done(self) -> bool:
        """Whether he was told already, or waits no more."""
        ...

    def set_result(self, settled: Settled, /) -> None:
        """The answer."""
        ...

    def set_exception(self, error: SealpressError, /) -> None:
        """There is none."""
        ...


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


class OnDurable(Protocol):
    """Called when a pending event is in the log."""

    def __call__(self, placed: Placed, where: Where) -> None:
        """`where` it stands."""
        ...


@dataclass(slots=True)
class PendingEvent:
    """An event that waits for the next commit."""

    type: RecordType
    event: Event
    on_durable: OnDurable
    on_failed: Callable[[SealpressError], None]


@dataclass(frozen=True, slots=True)
class FactGroup:
    """The facts of one act of governance: a batch of their own, all or none."""

    events: Sequence[GovernanceEvent]
    stop: bool  # it may use the room that is kept for stops
    on_durable: Callable[[Sequence[Placed], Committed], None]
    on_failed: Callable[[SealpressError], None]


@dataclass(frozen=True, slots=True)
class Use:
    """What a request spends."""

    grant: str
    key: str
    count: int


class Head(msgspec.Struct, frozen=True):
    """A committed head."""

    size: int
    root: bytes
    time: int  # of the newest leaf, Unix seconds


class LogState:
    """One log: its queue, the events that wait for a commit, and its newest heads."""

    def __init__(self, id_: str, log: Log, known: Known, queue: Queue, head: Head, log_vkey: str) -> None:
        """`known` is fed by commit and settle alone."""
        self.id = id_
        self.log = log
        self.origin = log.origin.encode()
        self.known = known
        self.queue = queue
        self.head = head
        self.log_vkey = log_vkey
        self.lines: list[Line] = []
        self.facts: deque[FactGroup] = deque()
        self.events: deque[PendingEvent] = deque()
        self.urgent = False  # an event must not wait for company
        self.changed = asyncio.Event()
        self.gather = Gather()
        self.grown = asyncio.Condition()  # notified after each commit, for Tail
        self.signed_size = 0  # newest head with the log's signature ...
        self.signed_note = b""  # ... and that note, without any other signature
        self.sealed_size = 0  # newest head that readers are shown: that one, or the last that witnesses were ...
        self.sealed_note = b""  # ... and that note, with their cosignatures, without any line's signature
        self.quorum = False  # whether enough of them cosigned it
        self.witnessed = False  # whether there are any
        self.facts_size = 0  # of the tree with the newest fact of governance
        self.taken: list[Use] = []  # of the commit under way
        self.told = (log.next_seq, log.reader.end)  # everything before it is accounted for
        self._flight: asyncio.Event | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._look_s = 0.0  # when it rings
        self._due_s = 0.0  # until when the oldest event may wait; counts while there is one

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

    def record(self, pending: PendingEvent, delay_ms: int = 0) -> None:
        """Have an event written: with the next commit, at the latest after `delay_ms`."""
        first = not self.events
        self.events.append(pending)
        if delay_ms == 0:
            self.hurry()
        elif first:
            loop = asyncio.get_running_loop()
            self._due_s = loop.time() + delay_ms / 1000
            if self._timer is not None and self._look_s > self._due_s:
                self._timer.cancel()
                self._timer = None
            if self._timer is None:
                self._wake(loop)

    def hurry(self) -> None:
        """Write what waits, alone if need be."""
        self.urgent = True
        self.changed.set()

    def _look(self) -> None:
        """Whether the oldest event has waited for long enough: one timer serves many, for most ride with a commit."""
        self._timer, loop = None, asyncio.get_running_loop()
        if self.events and loop.time() >= self._due_s:
            self.hurry()
        elif self.events:
            self._wake(loop)

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        self._look_s = self._due_s
        self._timer = loop.call_at(self._look_s, self._look)

    def propose(self, group: FactGroup) -> None:
        """Have an act of governance written."""
        self.facts.append(group)
        self.changed.set()

    def begin(self) -> None:
        """A commit is under way."""
        self._flight = asyncio.Event()

    def end(self) -> None:
        """It is durable and accounted for, or it failed."""
        self.taken.clear()
        self.told = (self.log.next_seq, self.log.reader.end)
        if self._flight is not None:
            self._flight.set()
            self._flight = None

    async def landed(self) -> None:
        """Until what is being committed now, if anything, has come to its end."""
        if self._flight is not None:
            await self._flight.wait()

    def take_events(self) -> deque[PendingEvent]:
        """All that wait; the caller puts back what did not fit."""
        events, self.events = self.events, deque()
        self.urgent = False
        return events


@dataclass(slots=True)
class Shared:
    """What every step sees of the node."""

    clock: Clock
    entropy: Entropy
    limits: Limits
    telemetry: Telemetry
    snapshot: Snapshot
    logs: dict[str, LogState]
    governance: LogState
    lines: dict[str, Line]
    ready: Callable[[str], bool]  # whether a key can sign now
    why: Callable[[str], str]  # ... and by what reason of the signer's it cannot
    leaf_age_s_max: int
    outcome_delay_ms: int
    release_outcome: bool
    slot_deadline_ms: int = 10_000
    leaves_per_advance_max: int = 2_048
    evidence: Callable[[str], Evidence | None] = no_evidence  # approvals of a change, for the signer's own check
    keys: list[Line] = field(default_factory=list)  # every key; `lines` has the one that counts now
    ledger: Ledger = field(default_factory=Ledger)
    office: Office | None = None  # of a governed node
    witnesses: Witnesses | None = None
    witness_interval_ms: int = 1_000
    hold_ms_max: int = 240_000  # a caller waits so long for witnesses
    veto: Callable[[Mapping[str, Any]], str] | None = None  # [governance] veto
    live: dict[tuple[str, str], Ticket] = field(default_factory=dict)  # (identity, request id): see `forget`
    failed: Damaged | None = None
    draining: bool = False
    turned_away: int = 0  # calls and items that came meanwhile
    _by_key_id: dict[bytes, Line] = field(init=False)
    _by_name: defaultdict[str, list[Line]] = field(init=False)

    def __post_init__(self) -> None:
        """A public key stands once in an installation, so its id says whose it is."""
        self._by_key_id = {line.key_id: line for line in self.keys}
        self._by_name = defaultdict(list)
        for line in self.keys:
            self._by_name[line.name].append(line)

    def line_of(self, name: str, key_id: bytes) -> Line | None:
        """The line with that very key, whichever counts now."""
        line = self._by_key_id.get(key_id)
        return line if line is not None and line.name == name else None

    def former(self, line: Line) -> list[Line]:
        """The same line with keys that it had and whose signatures still hold; the last of the configuration first."""
        office = self.office
        if office is None:
            return []
        keys = office.state.keys
        mine = (one for one in reversed(self._by_name[line.name]) if one is not line and office.usable(one))
        return list(islice((one for one in mine if keys[one.key].public_state == "verify_only"), FORMER_KEYS_MAX))

    def key_state(self, line: Line) -> str:
        """The state of a line's key; without governance every key is active."""
        found = self.office.state.keys.get(line.key) if self.office is not None else None
        if self.office is None:
            return "active"
        return found.state if found is not None else "unknown"

    def may_audit(self, caller: Caller) -> bool:
        """Whether he may read the logs now."""
        return self.snapshot.may_audit(caller.identity.id, self.second())

    def second(self) -> int:
        """Unix seconds; never behind the records of governance, whose grants begin at them."""
        return max(self.clock.now_ns() // NANOSECONDS, self.governance.head.time)

    def forget(self, ticket: Ticket) -> None:
        """From now on the log answers for it."""
        if self.live.get(ticket.key) is ticket:
            del self.live[ticket.key]
