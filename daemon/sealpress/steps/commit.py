"""Step 3: decide again, append records and leaves, one fdatasync.

What was decided at admission may be stale: `recheck` looks at the newest snapshot and the uses of this moment, and
drops single requests; what a request spends is taken in the same breath. Seq and leaf index are assigned after it, so a
dropped request leaves no hole. Outcomes and refusals ride along; the facts of governance have a batch of their own, and
take effect before the next draft is made: journal order decides every race (DECISIONS/0009).

Guarantees: on return every ticket of the result is durable and every dropped one has its error; after Busy LOG_FULL
nothing was written and nothing is spent; after Damaged nothing will ever be; facts of one group are all in the log or
none. Does not: sign, or answer those whose request was appended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sealpress.core.known import Row, who_asked
from sealpress.core.leaf import LeafSpec
from sealpress.errors import Busy, Damaged, Refusal, SealpressError
from sealpress.governance.rules import Field
from sealpress.governance.snapshot import Snapshot
from sealpress.steps._grounds import bug, too_large
from sealpress.steps._head import Head
from sealpress.steps._ids import ID_BYTES, id_begin
from sealpress.steps._pending import FactGroup, PendingEvent, Use
from sealpress.steps._request import Phase
from sealpress.steps._shared import Shared
from sealpress.steps._ticket import Durable, Line, LogState, Ticket
from sealpress.tlog.draft import Committed, Draft, Form, Full, Placed
from sealpress.tlog.entry import NONCE_BYTES, ArtifactEvent, FieldEvent, RefusalEvent, RequestEvent
from sealpress.tlog.record import NANOSECONDS, Stored
from sealpress.values import Mode, RecordType

SEED_BYTES = 32
NONCE_END = SEED_BYTES + NONCE_BYTES
FRESH_BYTES = NONCE_END + ID_BYTES  # random bytes of a record
FIELDS_MEMO_MAX = 8_192
FORMS_MEMO_MAX = 1_024  # some 2 KiB each

Recheck = Callable[[Ticket, int], Refusal | None]  # the second is the time that its leaves will have, Unix seconds
Explain = Callable[[Refusal, Ticket], RefusalEvent | None]


@dataclass(slots=True)
class _Drafted:
    """What one draft holds."""

    requests: list[tuple[Ticket, Placed, Form, bytes]]
    events: list[tuple[PendingEvent, Placed]]
    dropped: list[tuple[Ticket, Refusal]]


async def commit(
    shared: Shared,
    log: LogState,
    tickets: list[Ticket],
    events: deque[PendingEvent],
    recheck: Recheck,
    explain: Explain,
) -> list[tuple[Line, Durable]]:
    """Make them durable; per line what is to be signed now. What does not fit stands first in its queue again."""
    draft = log.log.draft()
    drafted = _Drafted([], [], [])
    _draft_events(log, draft, events, drafted, shared)
    tickets = _with_room(log, tickets, drafted)
    _draft_requests(log, draft, tickets, drafted, shared, recheck, explain)
    if not draft.frames:
        _drop(shared, drafted)
        return []
    if not drafted.requests:
        draft.use_reserve()
    log.begin()
    try:
        committed = await log.log.commit(draft)
    except SealpressError as error:
        for use in log.taken:
            shared.ledger.give_back(use.grant, use.key, use.count)
        _give_up(shared, [pending for pending, _ in drafted.events], [ticket for ticket, *_ in drafted.requests], error)
        _drop(shared, drafted)
        raise
    finally:
        log.end()
    # From here on they count as signed: whatever happens, recovery finds these leaves.
    log.head = Head(committed.tree_size, committed.root, committed.time_ns // NANOSECONDS)
    for pending, placed in drafted.events:
        pending.on_durable(placed, committed.where(placed))
    lines = _stored(shared, log, drafted, committed)
    _drop(shared, drafted)
    shared.telemetry.committed(log.id, len(drafted.requests), committed.leaves, committed.sync_ns, committed.tree_size)
    return lines


async def commit_facts(shared: Shared, log: LogState, group: FactGroup) -> None:
    """One act of governance, alone in its batch; it is in force when this returns. Its owner hears of failures."""
    draft = log.log.draft()
    try:
        placed = [draft.event(RecordType.GOVERNANCE, event) for event in group.events]
    except Full:
        group.on_failed(too_large("act of governance", "say it in fewer words or parts"))
        return
    except Exception as error:  # its owner must not wait for ever, and holds the pen
        shared.telemetry.internal("commit", error)
        group.on_failed(bug("act of governance"))
        return
    if group.stop:
        draft.use_reserve()
    else:
        try:
            log.log.space.check(draft.bytes_used)
        except Busy as full:
            group.on_failed(full)
            return
    log.begin()
    try:
        committed = await log.log.commit(draft)
    except SealpressError as error:
        log.end()
        group.on_failed(error)
        if isinstance(error, Damaged):
            raise
        return
    log.head = Head(committed.tree_size, committed.root, committed.time_ns // NANOSECONDS)
    log.facts_size = committed.tree_size
    group.on_durable(placed, committed)
    log.end()
    shared.telemetry.committed(log.id, 0, committed.leaves, committed.sync_ns, committed.tree_size)


def _give_up(shared: Shared, events: Iterable[PendingEvent], tickets: Iterable[Ticket], error: SealpressError) -> None:
    for pending in events:
        pending.on_failed(error)
    for ticket in tickets:
        shared.forget(ticket)
        ticket.fail(error)


def _with_room(log: LogState, tickets: list[Ticket], drafted: _Drafted) -> list[Ticket]:
    """The requests, unless the log is full: then they are dropped, and what is left of it is for the events."""
    try:
        if tickets:
            log.log.space.check(sum(ticket.cost for ticket in tickets))
    except Busy as full:
        drafted.dropped += [(ticket, full) for ticket in tickets]
        return []
    return tickets


def _draft_events(log: LogState, draft: Draft, events: deque[PendingEvent], drafted: _Drafted, shared: Shared) -> None:
    while events:
        try:
            placed = draft.event(events[0].type, events[0].event)
        except Full as full:
            if full.alone:  # built too large: our bug, and it must not block the others
                events.popleft().on_failed(full)
                continue
            break
        except Exception as error:  # the others must not wait for ever because of this one
            shared.telemetry.internal("commit", error)
            events.popleft().on_failed(bug("record"))
            continue
        drafted.events.append((events.popleft(), placed))
    if events:
        log.events.extendleft(reversed(events))
        log.hurry()


def _draft_requests(
    log: LogState,
    draft: Draft,
    tickets: list[Ticket],
    drafted: _Drafted,
    shared: Shared,
    recheck: Recheck,
    explain: Explain,
) -> None:
    fresh, now = shared.entropy.bytes(FRESH_BYTES * len(tickets)) if tickets else b"", draft.time
    id_ = id_begin(draft.time_ns)
    for position, ticket in enumerate(tickets):
        try:
            refusal = recheck(ticket, now)
            if refusal is not None:
                record = explain(refusal, ticket)
                if record is not None:
                    draft.event(RecordType.REFUSAL, record)
                drafted.dropped.append((ticket, refusal))
                continue
            ask, form = ticket.ask, _form(ticket)
            at = FRESH_BYTES * position
            seed, nonce = fresh[at : at + SEED_BYTES], fresh[at + SEED_BYTES : at + NONCE_END]
            event_id = id_ + fresh[at + NONCE_END : at + FRESH_BYTES]
            placed = draft.another(
                form, nonce, event_id, ask.request_id, ticket.same, ask.security_version, ask.artifact, seed,
                ticket.names, ask.digests, ask.count,
            )  # fmt: skip
        except Full as full:
            if full.alone:
                drafted.dropped.append((ticket, too_large("request", "send fewer digests or shorter names at a time")))
                continue
            log.queue.put_back(tickets[position:])
            log.changed.set()
            return
        except Exception as error:  # the others must not wait for ever because of this one
            shared.telemetry.internal("commit", error)
            drafted.dropped.append((ticket, bug("request")))
            continue
        _take(shared, log, ticket, placed.count, now)
        drafted.requests.append((ticket, placed, form, seed))


def _take(shared: Shared, log: LogState, ticket: Ticket, count: int, now: int) -> None:
    """What it spends is spent from here on, before anything else is decided."""
    decision = ticket.decision
    if decision.grant or decision.key or decision.rate:
        shared.ledger.take(ticket.line.name, decision, count, now)
    if decision.grant or decision.key:
        log.taken.append(Use(decision.grant, decision.key, count))


def _form(ticket: Ticket) -> Form:
    """What its record has in common with others; remembered, for the same identity asks again and again."""
    caller, ask, line, decision = ticket.caller, ticket.ask, ticket.line, ticket.decision
    key = (caller.identity.id, line.name, decision.grant)
    rests_on = (caller.identity, caller.source, line, decision, ask.algorithm, ask.computed_by, ask.batch)
    known = _FORMS.get(key)
    if known is not None and known[0] is ticket.snapshot and known[1] == rests_on:
        return known[2]
    if len(_FORMS) >= FORMS_MEMO_MAX:
        _FORMS.clear()
    form = Form(_event(ticket), line.log.log.name)
    _FORMS[key] = (ticket.snapshot, rests_on, form)
    return form


_FORMS: dict[tuple[str, str, str], tuple[Snapshot, tuple[Any, ...], Form]] = {}


def _event(ticket: Ticket) -> RequestEvent:
    """All that a form needs; the event's id is not of it."""
    ask, caller, line, artifact = ticket.ask, ticket.caller, ticket.line, ticket.ask.artifact
    decision, identity = ticket.decision, ticket.caller.identity
    return RequestEvent(
        bytes(16),
        ask.request_id,
        identity.id,
        identity.certificate_sha256,
        line.name,
        line.key_id,
        line.mode,
        line.section.format,
        ask.algorithm,
        ticket.same,
        ask.security_version,
        ArtifactEvent(artifact.name, artifact.version, artifact.size, artifact.media_type),
        ask.computed_by,
        ticket.snapshot.sha256,
        decision.rule,
        "allow",
        ticket.snapshot.governance_seq,
        ask.batch,
        caller.source,
        decision.grant,
        decision.change,
        identity.issuer,
        identity.subject,
        identity.claims,
        identity.token_sha256,
        identity.jti,
        decision.verdict,
        fields_of(decision.fields),
        ticket.snapshot.profile,
    )


def fields_of(fields: tuple[Field, ...]) -> tuple[FieldEvent, ...]:
    """A rule's expectations as a record says them; remembered, for the same identity asks again and again."""
    known = _FIELDS.get(id(fields))
    if known is not None and known[0] is fields:
        return known[1]
    told = tuple([FieldEvent(one.name, one.expected, one.presented, one.ok) for one in fields])
    if len(_FIELDS) >= FIELDS_MEMO_MAX:
        _FIELDS.clear()
    _FIELDS[id(fields)] = (fields, told)
    return told


_FIELDS: dict[int, tuple[tuple[Field, ...], tuple[FieldEvent, ...]]] = {}


def _stored(shared: Shared, log: LogState, drafted: _Drafted, committed: Committed) -> list[tuple[Line, Durable]]:
    """Tell the index of request ids, and sort the tickets by line."""
    time = committed.time_ns // NANOSECONDS
    since_ns = shared.clock.monotonic_ns()
    lines: dict[str, tuple[Line, Durable]] = {}
    known: list[Row] = []
    for ticket, placed, form, seed in drafted.requests:
        ask, line, kept, (where, record) = ticket.ask, ticket.line, form.spec, committed.place(placed)
        seq, first, count = placed.seq, placed.first_leaf, placed.count
        who = who_asked(ticket.caller.identity.id, ask.request_id)
        known.append((who, ticket.same, seq, first, count, *where, line.mode is Mode.DIRECT))
        spec = LeafSpec(kept.kind, kept.algorithm, kept.key_id, kept.scope, ask.security_version, time, record)
        ticket.act = Stored(
            where, seq, committed.time_ns, first, count, placed.head, spec, seed, ticket.names, ask.digests
        )
        ticket.phase = Phase.DURABLE
        found = lines.get(line.key)
        if found is None:
            found = lines[line.key] = (line, Durable([], 0, time, since_ns))
        durable = found[1]
        durable.tickets.append(ticket)
        durable.end = first + count
        durable.cost += ticket.cost
    log.known.requests(known, committed.time_ns)
    return list(lines.values())


def _drop(shared: Shared, drafted: _Drafted) -> None:
    for ticket, refusal in drafted.dropped:
        shared.forget(ticket)
        ticket.fail(refusal)
