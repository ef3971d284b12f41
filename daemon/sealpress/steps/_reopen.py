"""What the log already holds: requests that a stopped process left over, known ids asked again, the policy in force.

Guarantees: a left-over leaf of a proof line is signed while it is young, else recorded as lapsed; one of a direct line
is recorded as unknown, for the token may have signed it; a known id never gets a second leaf while the first can
count. Does not: wait for a signature.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from sealpress.errors import Refusal, SealpressError
from sealpress.governance.snapshot import Snapshot
from sealpress.governance.usage import Decision
from sealpress.steps import _answers, _grounds, seal, settle
from sealpress.steps._grounds import slot_down
from sealpress.steps._pending import FactGroup
from sealpress.steps._request import Caller, Phase, Settled
from sealpress.steps._shared import Shared
from sealpress.steps._signer import Heads, Signer
from sealpress.steps._ticket import Durable, Line, LogState, Ticket
from sealpress.steps.admit import Replay
from sealpress.tlog.draft import Committed, Placed
from sealpress.tlog.entry import GovernanceEvent, OutcomeStatus
from sealpress.tlog.known import State
from sealpress.tlog.record import NANOSECONDS, Stored, ref_of
from sealpress.values import Identity, Mode, SignAsk


def reopen(shared: Shared, log: LogState) -> None:
    """Close or take up every REQUEST without an outcome. Recovery runs the code of the happy path from here on."""
    oldest = shared.clock.now_ns() // NANOSECONDS - shared.leaf_age_s_max
    for act in log.log.recovered.dangling:
        line = shared.line_of(act.event.line, act.event.key_id)
        if act.event.mode is Mode.DIRECT:
            _close(shared, log, act, OutcomeStatus.UNKNOWN)
        elif line is None or act.spec.time < oldest:
            _close(shared, log, act, OutcomeStatus.LAPSED)
        else:
            _take_up(shared, line, act, {})
    log.log.recovered.dangling.clear()


async def replay(shared: Shared, found: Replay, ask: SignAsk, caller: Caller) -> Settled | Ticket:
    """The recorded answer, or the ticket that will have it; Refusal if its grant or key was stopped since."""
    log = found.log.log
    loop = asyncio.get_running_loop()
    act = await loop.run_in_executor(None, log.stored, found.known.where)
    if shared.office is not None:
        shared.office.check_again(act.event.grant_id, shared.office.state.key_ids.get(act.event.key_id.hex(), ""))
    if found.known.state is State.DONE:
        settled = await loop.run_in_executor(None, _answers.stored_answer, log, found.known)
        if settled.signatures:
            return settled
        return _answers.with_cosignatures(shared, shared.line_of(act.event.line, act.event.key_id), settled)
    signatures = await loop.run_in_executor(None, _answers.stored_signatures, log, found.known)
    live = shared.live.get((caller.identity.id, ask.request_id))
    if live is not None:
        return live
    line = shared.line_of(act.event.line, act.event.key_id)
    if line is None:
        raise slot_down()  # its key is no longer here
    rest, oldest = line.left.take(act.seq), shared.clock.now_ns() // NANOSECONDS - shared.leaf_age_s_max
    if rest is None and line.mode is Mode.DIRECT and act.spec.time < oldest:
        raise _grounds.lapsed()  # while it was read, perhaps: it is recorded so once, and gives its uses back once
    ticket = _take_up(shared, line, act, signatures)
    ticket.ours = rest is not None
    return ticket


class Replays:
    """Answers of known requests that are being read back."""

    def __init__(self, shared: Shared) -> None:
        """None is yet."""
        self._shared = shared
        self._replays: dict[tuple[str, str], asyncio.Task[Settled | Ticket]] = {}

    async def answer(self, found: Replay, ask: SignAsk, caller: Caller) -> Settled | Ticket:
        """The answer of a known request, read back once for all who ask at the same time."""
        key = (caller.identity.id, ask.request_id)
        task = self._replays.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(replay(self._shared, found, ask, caller))
            self._replays[key] = task
            task.add_done_callback(lambda _: self._replays.pop(key, None))
        return await asyncio.shield(task)


async def show(shared: Shared, heads: Mapping[str, Heads], signer: Signer, marks: Mapping[str, int]) -> None:
    """At start: a head for readers, where the signer has signed newer ones than the published file holds.

    A process killed before it wrote the file leaves proofs with heads that nobody else could be shown. And a log
    that is new here shows its first head to witnesses before it signs for anybody: they may know it.
    """
    for log in shared.logs.values():
        new = log.witnessed and not marks[log.id]
        if (new or marks[log.id] > log.signed_size) and not heads[log.id].opens:
            try:
                await seal.seal_log(heads[log.id], signer, log)
                if new and shared.witnesses is not None:
                    await shared.witnesses.show(log)
            except Refusal as error:
                shared.telemetry.seal_failed(log.id, error.reason, error.message)


async def record_policy(shared: Shared, snapshot: Snapshot) -> Snapshot:
    """Append the bytes of an ungoverned node's policy; it decides from the moment when it is durable."""
    recorded: asyncio.Future[Snapshot] = asyncio.get_running_loop().create_future()

    def durable(placed: Sequence[Placed], committed: Committed) -> None:
        shared.snapshot = snapshot.at(placed[0].seq)
        if not recorded.done():  # whoever wanted it may have gone
            recorded.set_result(shared.snapshot)

    def failed(error: SealpressError) -> None:
        if not recorded.done():
            recorded.set_exception(error)

    event = GovernanceEvent("policy", snapshot.body, snapshot.sha256)
    shared.governance.propose(FactGroup([event], False, durable, failed))
    return await recorded


def _take_up(shared: Shared, line: Line, act: Stored, signatures: dict[int, bytes]) -> Ticket:
    event = act.event
    ask = SignAsk(event.request_id, line.name, event.algorithm, act.digests, batch=event.batch)
    caller = Caller(Identity(event.identity, event.cert_sha256, 0), event.source)
    started_ns = shared.clock.monotonic_ns()
    decision = Decision(event.rule, grant=event.grant_id, change=event.change_id, key=line.key)
    ticket = Ticket(ask, caller, line, decision, shared.snapshot, event.same, b"", started_ns)
    ticket.phase = Phase.DURABLE
    ticket.act = act
    ticket.signatures = signatures
    shared.live[ticket.key] = ticket
    line.offer_again(Durable([ticket], act.first_leaf + act.count, act.spec.time, started_ns))
    return ticket


def _close(shared: Shared, log: LogState, act: Stored, status: OutcomeStatus) -> None:
    settle.close(shared, log, act.event.line, act.event.key_id, [(ref_of(act), act.event)], status)
