"""Step 3: decide again, append records and leaves, one fdatasync.

What was decided at admission may be stale: `recheck` looks at the newest snapshot immediately before the append, and
drops single requests. Seq and leaf index are assigned after it, so a dropped request leaves no hole. Events (outcomes,
refusals, governance) ride along.

Guarantees: on return every ticket of the result is durable and every dropped one has its error; after Busy LOG_FULL
nothing was written; after Damaged nothing will ever be. Does not: sign, or answer those whose request was appended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from sealpress.errors import Malformed, Refusal, SealpressError
from sealpress.steps._state import NANOSECONDS, Durable, Head, Line, LogState, PendingEvent, Phase, Shared, Ticket
from sealpress.tlog.entry import ArtifactEvent, RefusalEvent, RequestEvent
from sealpress.tlog.log import Committed, Draft, Full, Placed
from sealpress.tlog.record import Stored, request_spec
from sealpress.values import RecordType

SEED_BYTES = 32

Recheck = Callable[[Ticket], Refusal | None]
Explain = Callable[[Refusal, Ticket], RefusalEvent | None]


@dataclass(slots=True)
class _Drafted:
    """What one draft holds."""

    requests: list[tuple[Ticket, Placed, RequestEvent, bytes]]
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
    _draft_events(log, draft, events, drafted)
    _draft_requests(log, draft, tickets, drafted, shared, recheck, explain)
    if not draft.frames:
        _drop(shared, drafted)
        return []
    try:
        committed = await log.log.commit(draft)
    except SealpressError as error:
        for pending, _ in drafted.events:
            pending.on_failed(error)
        for ticket, _, _, _ in drafted.requests:
            shared.forget(ticket)
            ticket.fail(error)
        _drop(shared, drafted)
        raise
    # From here on they count as signed: whatever happens, recovery finds these leaves.
    log.head = Head(committed.tree_size, committed.root, committed.time_ns // NANOSECONDS)
    for pending, placed in drafted.events:
        pending.on_durable(placed, committed.where(placed))
    lines = _stored(shared, log, drafted, committed)
    _drop(shared, drafted)
    shared.telemetry.committed(log.id, len(drafted.requests), committed.leaves, committed.sync_ns, committed.tree_size)
    return lines


def _draft_events(log: LogState, draft: Draft, events: deque[PendingEvent], drafted: _Drafted) -> None:
    while events:
        try:
            placed = draft.event(events[0].type, events[0].event)
        except Full as full:
            if full.alone:  # built too large: our bug, and it must not block the others
                events.popleft().on_failed(full)
                continue
            break
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
    seeds = shared.entropy.bytes(SEED_BYTES * len(tickets)) if tickets else b""
    for position, ticket in enumerate(tickets):
        refusal = recheck(ticket)
        try:
            if refusal is not None:
                record = explain(refusal, ticket)
                if record is not None:
                    draft.event(RecordType.REFUSAL, record)
                drafted.dropped.append((ticket, refusal))
                continue
            event = _event(ticket)
            seed = seeds[SEED_BYTES * position : SEED_BYTES * (position + 1)]
            placed = draft.request(event, None, seed, ticket.names, ticket.ask.digests, ticket.ask.count)
        except Full as full:
            if full.alone:
                drafted.dropped.append((ticket, _too_large()))
                continue
            log.queue.put_back(tickets[position:])
            log.changed.set()
            return
        drafted.requests.append((ticket, placed, event, seed))


def _event(ticket: Ticket) -> RequestEvent:
    ask, caller, line, artifact = ticket.ask, ticket.caller, ticket.line, ticket.ask.artifact
    return RequestEvent(
        ticket.event_id,
        ask.request_id,
        caller.identity.id,
        caller.identity.certificate_sha256,
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
        ticket.rule,
        "allow",
        ticket.snapshot.governance_seq,
        ask.batch,
        caller.source,
        ask.grant_id,
    )


def _stored(shared: Shared, log: LogState, drafted: _Drafted, committed: Committed) -> list[tuple[Line, Durable]]:
    """Tell the index of request ids, and sort the tickets by line."""
    time = committed.time_ns // NANOSECONDS
    since_ns = shared.clock.monotonic_ns()
    lines: dict[str, tuple[Line, Durable]] = {}
    for ticket, placed, event, seed in drafted.requests:
        where = committed.where(placed)
        seq, first, count = placed.seq, placed.first_leaf, placed.count
        log.known.request(event, where, seq=seq, first_leaf=first, count=count, time_ns=committed.time_ns)
        spec = request_spec(event, log.log.name, time, placed.record)
        ticket.act = Stored(
            where, seq, committed.time_ns, first, count, event, spec, seed, ticket.names, ticket.ask.digests
        )
        ticket.phase = Phase.DURABLE
        found = lines.get(ticket.line.name)
        if found is None:
            found = lines[ticket.line.name] = (ticket.line, Durable([], 0, time, since_ns))
        found[1].tickets.append(ticket)
        found[1].end = first + count
    return list(lines.values())


def _drop(shared: Shared, drafted: _Drafted) -> None:
    for ticket, refusal in drafted.dropped:
        shared.forget(ticket)
        ticket.fail(refusal)


def _too_large() -> Malformed:
    return Malformed(
        "the request does not fit into one batch of this log",
        reason="TOO_LARGE",
        hint="send fewer digests or shorter names at a time; [journal] segment_bytes / 4 is the largest batch",
    )
