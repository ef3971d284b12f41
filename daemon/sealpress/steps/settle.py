"""Step 5: what is signed reaches its callers, and the log learns of it.

A ticket is settled when a signed head of its line covers its leaves, whichever batch asked for that head. The outcome
goes into the log with the next commit; callers of a line with release = "outcome" wait for that, the others do not.

Guarantees: no answer whose leaf is older than its head by more than the age allowed (it is recorded `lapsed` instead);
an OUTCOME never outgrows a batch. Does not: talk to the signer, or make an answer (_answers.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from sealpress.errors import Busy, SealpressError
from sealpress.steps._grounds import lapsed, nobody_knows, unfinished
from sealpress.steps._head import SignedHead
from sealpress.steps._left import Rest
from sealpress.steps._pending import PendingEvent, Use
from sealpress.steps._request import Phase, Settled
from sealpress.steps._shared import Shared
from sealpress.steps._ticket import Durable, Line, LogState, Ticket
from sealpress.steps.seal import DirectPart
from sealpress.tlog.draft import Placed
from sealpress.tlog.entry import OutcomeEvent, OutcomeStatus, RequestEvent, RequestRef, Where
from sealpress.tlog.record import Stored
from sealpress.values import RecordType

EVENT_BYTES_MAX = 1 << 20  # of one OUTCOME; a sixteenth of a segment where that is less
REF_BYTES = 32
SIGNATURE_EXTRA_BYTES = 40
FULL_RETRY_MS = 1_000
# Of a direct leaf whose signature nobody here has: the token may have made it, or the guard gave it out on a connection
# that broke, or is about to, or failed over it (INTERNAL). No retry will get it: the signer signs once per leaf.
MAY_BE_SIGNED = frozenset({"OUTCOME_UNKNOWN", "ALREADY_SIGNED", "IN_FLIGHT", "INTERNAL"})


Answer = Settled | SealpressError


def settle_proof(shared: Shared, line: Line, head: SignedHead) -> None:
    """Everything durable of the line under this head; what is too old for it lapses."""
    log = line.log
    log.signed(head.size, head.log_note)
    line.sealed = head
    full = len(line.durable) >= shared.limits.seal_pending_max
    done: list[Ticket] = []
    while line.durable and line.durable[0].end <= head.size:
        durable = line.durable.popleft()
        if head.time - durable.time > shared.leaf_age_s_max:
            lapse(shared, line, durable)
        else:
            done += durable.tickets
    refs_max = max(1, (_event_bytes_max(line.log) - len(head.checkpoint)) // REF_BYTES)
    for at in range(0, len(done), refs_max):
        part = done[at : at + refs_max]
        event = OutcomeEvent(
            tuple([ticket.ref for ticket in part]),
            line.name,
            line.key_id,
            OutcomeStatus.SEALED,
            head.rv,
            head.latency_us,
            head.slot,
            head.size,
            head.checkpoint,
            (),
            b"",
            shared.snapshot.governance_seq,
        )
        answers = [Settled(log.log, _act(ticket), head.size, head.checkpoint) for ticket in part]
        _record(shared, log, event, _patient(shared, line), part, answers)
    shared.telemetry.settled(line.name, done, head.latency_us)
    if full or log.gather.waiting:
        log.changed.set()  # requests of this line may be cut again, or need not wait for the token any more


def settle_direct(shared: Shared, line: Line, ticket: Ticket, parts: Sequence[DirectPart]) -> None:
    """Record every signature; answer with all of them, or with PARTIAL or OUTCOME_UNKNOWN."""
    act = _act(ticket)
    unknown = False
    for part in parts:
        for position, result in zip(part.positions, part.results, strict=True):
            if result.signature:
                ticket.signatures[position] = result.signature
            unknown = unknown or result.reason in MAY_BE_SIGNED
    answer: Answer
    if len(ticket.signatures) == act.count:
        status = OutcomeStatus.SIGNED
        signatures = tuple([ticket.signatures[position] for position in range(act.count)])
        answer = Settled(line.log.log, act, line.log.head.size, b"", signatures)
    elif unknown:
        status = OutcomeStatus.UNKNOWN
        answer = nobody_knows()
    else:
        status = OutcomeStatus.PARTIAL
        answer = unfinished(act.count - len(ticket.signatures), act.count)
        if ticket.ours:
            line.left.put(Rest(act.event, _unsigned(ticket, act), act.spec.time))
    events = list(_direct_events(shared, line, ticket, parts, status))
    for event in events[:-1]:
        _record(shared, line.log, event, False, (), ())
    _record(shared, line.log, events[-1], _patient(shared, line), [ticket], [answer])
    shared.telemetry.settled(line.name, [ticket], max(r.latency_us for part in parts for r in part.results))
    line.log.changed.set()


def lapse(shared: Shared, line: Line, durable: Durable) -> None:
    """Too old to be signed, ever: recorded, and the callers may ask again with the same id for new leaves.

    What a former process may have had signed is recorded as unknown.
    """
    error = lapsed()
    for ticket in durable.tickets:
        ticket.fail(error if ticket.ours else nobody_knows())
    whole = [(one, one.act) for one in durable.tickets if one.act is not None and not one.signatures and one.ours]
    ended = [(ticket.ref, act.event) for ticket, act in whole]
    close(shared, line.log, line.name, line.key_id, ended, OutcomeStatus.LAPSED, [ticket for ticket, _ in whole])
    for ticket in durable.tickets:
        if (ticket.signatures or not ticket.ours) and ticket.act is not None:  # direct: some leaves may be signed
            act, status = ticket.act, OutcomeStatus.LAPSED if ticket.ours else OutcomeStatus.UNKNOWN
            ended = [(ref, act.event) for ref in _unsigned(ticket, act)]
            close(shared, line.log, line.name, line.key_id, ended, status, [ticket])
    shared.telemetry.lapsed(line.name, len(durable.tickets))


def lapse_left(shared: Shared, line: Line, oldest: int) -> None:
    """The same for leaves that failed cleanly, and for which nobody came again; their callers were told long ago."""
    rests = line.left.lapsed(oldest)
    ended = [(run, rest.event) for rest in rests for run in rest.runs]
    close(shared, line.log, line.name, line.key_id, ended, OutcomeStatus.LAPSED)
    if rests:
        shared.telemetry.lapsed(line.name, len(rests))


def close(
    shared: Shared,
    log: LogState,
    line: str,
    key_id: bytes,
    ended: Sequence[tuple[RequestRef, RequestEvent]],
    status: OutcomeStatus,
    tickets: Sequence[Ticket] = (),
) -> None:
    """Record that these leaves have no signature; `tickets` failed already and are forgotten when it is durable.

    Lapsed leaves give their uses back (DESIGN L2), at the moment when the record says so.
    """
    refs_max = max(1, _event_bytes_max(log) // REF_BYTES)
    for at in range(0, len(ended), refs_max):
        part = ended[at : at + refs_max]
        refs, seq = tuple([ref for ref, _ in part]), shared.snapshot.governance_seq
        event = OutcomeEvent(refs, line, key_id, status, 0, 0, "", 0, b"", (), b"", seq)
        back = [use_of(shared, made, ref.count) for ref, made in part] if status is OutcomeStatus.LAPSED else ()
        _record(shared, log, event, False, tickets[at : at + refs_max], (), back)


def use_of(shared: Shared, event: RequestEvent, count: int) -> Use:
    """What so many leaves of a recorded request spent."""
    key = shared.office.state.key_ids.get(event.key_id.hex(), "") if shared.office is not None else ""
    return Use(event.grant_id, key, count)


def _act(ticket: Ticket) -> Stored:
    assert ticket.act is not None
    return ticket.act


def _patient(shared: Shared, line: Line) -> bool:
    """Whether answers of this line wait until their outcome is durable."""
    rules = shared.snapshot.lines.get(line.name)
    return shared.release_outcome if rules is None or rules.release is None else rules.release == "outcome"


@dataclass(frozen=True, slots=True)
class _Recording:
    """An outcome on its way into the log, and who waits for that. No closures: they would know themselves, a cycle."""

    shared: Shared
    log: LogState
    event: OutcomeEvent
    tickets: Sequence[Ticket]
    answers: Sequence[Answer]
    back: Sequence[Use]

    def pending(self) -> PendingEvent:
        return PendingEvent(RecordType.OUTCOME, self.event, self.durable, self.failed)

    def durable(self, placed: Placed, where: Where) -> None:
        del placed
        self.log.known.outcome(self.event, where)
        for use in self.back:
            self.shared.ledger.give_back(use.grant, use.key, use.count)
        _answer(self.tickets, self.answers)
        for ticket in self.tickets:
            self.shared.forget(ticket)

    def failed(self, error: SealpressError) -> None:
        if isinstance(error, Busy):  # nothing was written: the disk may have room again
            self.log.record(self.pending(), FULL_RETRY_MS)
            return
        for ticket in self.tickets:
            self.shared.forget(ticket)
            if ticket.phase is not Phase.DONE:
                ticket.fail(error)


def _record(
    shared: Shared,
    log: LogState,
    event: OutcomeEvent,
    patient: bool,
    tickets: Sequence[Ticket],
    answers: Sequence[Answer],
    back: Sequence[Use] = (),
) -> None:
    """Have the outcome written; its tickets get their answers now, or, if `patient`, when it is durable."""
    if not patient:
        _answer(tickets, answers)
    pending = _Recording(shared, log, event, tickets, answers, back).pending()
    log.record(pending, 0 if patient else shared.outcome_delay_ms)


def _answer(tickets: Sequence[Ticket], answers: Sequence[Answer]) -> None:
    for ticket, answer in zip(tickets, answers, strict=False):
        if ticket.phase is Phase.DONE:
            continue
        if isinstance(answer, Settled):
            ticket.resolve(answer)
        else:
            ticket.fail(answer)


def _direct_events(
    shared: Shared, line: Line, ticket: Ticket, parts: Sequence[DirectPart], status: OutcomeStatus
) -> Iterator[OutcomeEvent]:
    """OUTCOMEs with every result of these parts, none larger than a batch takes."""
    act = _act(ticket)
    bytes_max = _event_bytes_max(line.log)
    results = [pair for part in parts for pair in zip(part.positions, part.results, strict=True)]
    size = max((part.size for part in parts), default=0)
    at = 0
    while at < len(results):
        end, used = at, 0
        while end < len(results) and (end == at or used < bytes_max):
            used += len(results[end][1].signature) + SIGNATURE_EXTRA_BYTES
            end += 1
        some = results[at:end]
        at = end
        yield OutcomeEvent(
            _runs(act.seq, act.first_leaf, [position for position, _ in some]),
            line.name,
            line.key_id,
            status,
            next((result.rv for _, result in some if result.rv), 0),
            max(result.latency_us for _, result in some),
            next((result.slot for _, result in some if result.slot), ""),
            size,
            b"",
            tuple([result.signature for _, result in some]),
            b"".join([sha256(result.signature).digest() if result.signature else bytes(32) for _, result in some]),
            shared.snapshot.governance_seq,
        )


def _runs(seq: int, first_leaf: int, positions: list[int]) -> tuple[RequestRef, ...]:
    """Positions as references to runs of neighbouring leaves."""
    refs: list[RequestRef] = []
    start = 0
    for at in range(1, len(positions) + 1):
        if at == len(positions) or positions[at] != positions[at - 1] + 1:
            refs.append(RequestRef(seq, first_leaf + positions[start], at - start))
            start = at
    return tuple(refs)


def _unsigned(ticket: Ticket, act: Stored) -> tuple[RequestRef, ...]:
    return _runs(act.seq, act.first_leaf, [at for at in range(act.count) if at not in ticket.signatures])


def _event_bytes_max(log: LogState) -> int:
    return min(EVENT_BYTES_MAX, log.log.settings.segment_bytes // 16)
