"""The whole life of a request, on one screen: admit → batch → commit → seal → settle.

Three loops at their own pace: a request runs `sign`; each log runs `_commits`; each line runs `_seals`. After each step
a comment says what is true if the process stops right there.

Guarantees: DESIGN L1, L2, L6, L9, L10 as far as this process can: no signature before its leaf is durable, decisions
re-checked and grants spent immediately before the append, facts of governance in a batch of their own, every wait and
queue bounded, a failed sync ends everything.
Does not: speak gRPC, choose a clock, or open anything (wiring does).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from sealpress.errors import Busy, Damaged, NotPermitted, Precondition, Refusal, TimedOut
from sealpress.governance.snapshot import Snapshot
from sealpress.steps import _cutting, _ending, _grounds, _hold, _reopen, _turn, admit, commit, seal, settle
from sealpress.steps._cutting import blocked
from sealpress.steps._head import Witnessed
from sealpress.steps._refusals import Refusals
from sealpress.steps._request import Caller, Settled, Waiter
from sealpress.steps._shared import Shared
from sealpress.steps._signer import Heads, Signer
from sealpress.steps._ticket import Line, LogState, Ticket
from sealpress.steps._upkeep import Upkeep
from sealpress.tlog.entry import RefusalEvent
from sealpress.values import Mode, SignAsk
from sealpress.verify.evidence import Evidence

RETRY_MS = 100  # between tries of a line whose seal failed; doubles
RETRY_MS_MAX = 2_000
DIRECT_ROUNDS = 4  # of one line under way
JOB_GRANTS_MAX = 2  # asked for by one request
RECORDED = (NotPermitted, Precondition)  # lack of right, or of what must happen first


class Flow:
    """The node at work. Owned by one event loop."""

    def __init__(self, shared: Shared, signer: Signer, marks: dict[str, int]) -> None:
        """`marks`: by log id, the size that the signer's mark stands at."""
        self.shared = shared
        self.refusals = Refusals(shared)
        self._signer = signer
        self._heads = {
            log.id: Heads(log, signer, marks[log.id], self._evidence, shared.leaves_per_advance_max)
            for log in shared.logs.values()
        }
        self._upkeep = Upkeep(shared, self._heads, signer)
        self._marks = marks
        self._tasks: list[asyncio.Task[None]] = []
        self._replays = _reopen.Replays(shared)
        self.stopped: asyncio.Future[Damaged] | None = None  # done when the node may sign no more

    # ------------------------------------------------------------------ the life of a request

    def sign(self, ask: SignAsk, caller: Caller) -> Coroutine[Any, Any, Settled]:
        """One request from its arrival to its answer; Refusal if there is none, already here or when it is awaited."""
        begun = self.begin(ask, caller)
        return self._settled(begun) if isinstance(begun, Ticket) else begun

    def begin(self, ask: SignAsk, caller: Caller, *, streamed: bool = False) -> Ticket | Coroutine[Any, Any, Settled]:
        """The ticket to wait for, with `leave` at the end; or, where more must come first, the rest of `sign`.

        `streamed`: it is an item of a stream.
        """
        try:
            found = admit.admit(self.shared, ask, caller)
        except RECORDED as refusal:
            return self._refused(refusal, ask, caller)
            # Stop here: nothing is recorded, nobody was answered, nothing can be signed.
        if isinstance(found, Ticket):
            return self._enqueue(found, streamed)
            # Stop here: nothing is recorded; the caller's connection breaks and he asks again.
        return self._later(found, ask, caller)

    def leave(self, ticket: Ticket, waiter: Waiter) -> None:
        """He has his answer, or waits no more."""
        ticket.leave(waiter)
        if ticket.gather is not None:
            ticket.gather.went(self.shared.clock.monotonic_ns())

    async def _commits(self, log: LogState) -> None:
        """A log's own pace: while one fdatasync runs, the next batch fills."""
        turn, held_back = False, partial(blocked, self.shared)
        while True:
            await _cutting.work(log, held_back)
            await _cutting.gathered(log, held_back, self.shared.clock)
            turn = bool(log.facts) and (not turn or not log.queue.has_work(held_back))
            if turn:
                await commit.commit_facts(self.shared, log, log.facts.popleft())
                # Stop here: all facts of the act are durable or none; the next start folds what is there.
                await _notify(log)
                continue
            tickets, dropped = log.queue.cut(self.shared.clock.monotonic_ns(), held_back)
            for ticket in dropped:
                self.shared.forget(ticket)
                ticket.fail(TimedOut("the deadline passed before the request was recorded", hint="ask again"))
            # Stop here: as above; whoever went away meanwhile left no trace.
            log.gather.cut()
            begun_ns = self.shared.clock.monotonic_ns()
            try:
                durable = await commit.commit(
                    self.shared, log, tickets, log.take_events(), admit.recheck(self.shared), self._explain
                )
            except Busy as full:
                self.shared.telemetry.disk_full(log.id, full.message)
                continue  # requests are refused for a while (tlog/space.py); a stop need not wait for that
            # Stop here: the leaves are durable and count as signed, their grants as used (L2). At the next start the
            # young ones of proof lines are sealed, so that a retry gets a proof of the same leaf; direct ones become
            # `unknown`.
            for line, batch in durable:
                line.offer(batch)
            log.gather.committed(self.shared.clock.monotonic_ns() - begun_ns)
            await _notify(log)

    async def _seals(self, line: Line) -> None:
        """A line's own pace: while the token works, its next leaves become durable. Several of these pipeline seals."""
        heads, wait_ms = self._heads[line.log.id], RETRY_MS
        while True:
            if line.next.locked() and line.unasked:
                line.changed.set()  # the one that waits need not wait for the token any more
            async with line.next:
                await _turn.durable(self.shared, line)
            try:
                held = await _hold.wait(self.shared, heads, self._signer, line) if line.held else None
                # Stop here: witnesses may have cosigned a head of the log; the line key has signed nothing.
                await heads.known()
                if _turn.held(self.shared, line):
                    continue  # the key was stopped while they looked, or the signer was asked how far it is
                if line.mode is Mode.PROOF:
                    await self._seal_proof(heads, line, held)
                else:
                    await self._sign_direct(heads, line, held)
                # Stop here: callers may have their answers; an outcome not yet in the log is derived again from the
                # leaf (proof) or recorded as unknown (direct).
                wait_ms = RETRY_MS
            except Exception as error:
                line.ask_again()
                if not isinstance(error, Refusal):
                    raise
                _turn.failed(self.shared, line, error)
                await _turn.again(self.shared, line, wait_ms)
                wait_ms = min(2 * wait_ms, RETRY_MS_MAX)

    async def _seal_proof(self, heads: Heads, line: Line, held: Witnessed | None) -> None:
        """One token operation for everything durable; answers are settled in the order in which they were asked for."""
        before, mine = line.turn()
        try:
            with line.pace.working(self.shared.clock):
                head = await seal.seal_proof(heads, self._signer, line, held)
            # Stop here: a signature exists, under a mark that covers it, and nobody has it. The next start seals a
            # later head for the same leaves.
            if before is not None:
                await before.wait()
            settle.settle_proof(self.shared, line, head)
        finally:
            mine.set()

    async def _sign_direct(self, heads: Heads, line: Line, held: Witnessed | None) -> None:
        """One token operation per leaf, in rounds; while one is signed, another is sent, verified or settled."""
        # Leaves that came while the witnesses looked are in none of the heads that they cosigned.
        batches = [batch for batch in line.durable if held is None or batch.end <= held.size]
        if not batches:
            return
        line.asked = max(batch.end for batch in batches)
        tickets_now = [ticket for batch in batches for ticket in batch.tickets]
        done: set[Ticket] = set()
        rounds = seal.rounds(tickets_now, line.pace.round_leaves())
        stopped = partial(_turn.held, self.shared, line)

        async def work() -> None:
            for tickets in rounds:
                await heads.known()
                if stopped():
                    return
                signed = await seal.sign_round(heads, self._signer, line, tickets, held, stopped)
                # Stop here: signatures may exist that nobody has and no record names: the next start says `unknown`.
                for ticket, parts in zip(tickets, signed, strict=True):
                    settle.settle_direct(self.shared, line, ticket, parts)
                done.update(tickets)

        with line.pace.working(self.shared.clock, sum(ticket.ask.count for ticket in tickets_now)):
            ended = await asyncio.gather(*(work() for _ in range(DIRECT_ROUNDS)), return_exceptions=True)
            for batch in batches:
                batch.tickets = [ticket for ticket in batch.tickets if ticket not in done]
                if not batch.tickets:
                    line.durable.remove(batch)  # older leaves may have come before it meanwhile
            for error in ended:
                if error is not None:
                    raise error
        line.asked = 0

    # ------------------------------------------------------------------ around it

    async def permit(self, caller: Caller, line: str) -> None:
        """Whether he may request this line; the refusal is recorded."""
        try:
            admit.permit(self.shared, caller, line)
        except RECORDED as refusal:
            raise await self.refusals.refused(refusal, caller, line) from None

    async def permit_audit(self, caller: Caller, method: str) -> None:
        """Whether he has the role of [audit]; the refusal is recorded."""
        if caller.flaw:
            raise await self.refusals.refused(_grounds.identity_refusal(caller.flaw), caller, f"[audit] {method}")
        if not self.shared.may_audit(caller):
            refusal = NotPermitted(
                "this identity may not audit", hint="it takes the role auditor, or [audit] of the policy"
            )
            raise await self.refusals.refused(refusal, caller, f"[audit] {method}")

    async def adopt(self, snapshot: Snapshot) -> Snapshot:
        """Append the policy of an ungoverned node as a GOVERNANCE record; from then on it decides."""
        return await _reopen.record_policy(self.shared, snapshot)

    def start(self) -> None:
        """Begin: what the last run left over first."""
        loop = asyncio.get_running_loop()
        self.stopped = loop.create_future()
        if self.shared.witnesses is not None:
            self.shared.witnesses.on_damaged = lambda id_, error: self._fail(self.shared.logs[id_], error)
        for log in self.shared.logs.values():
            _reopen.reopen(self.shared, log)
            self._spawn(f"space {log.id}", log, partial(self._upkeep.watch, log))
            self._spawn(f"commits {log.id}", log, partial(self._commits, log))
            for line in log.lines:
                alone = line.held or line.mode is Mode.DIRECT or self._heads[log.id].opens
                for _ in range(1 if alone else self.shared.limits.seals_per_line_max):
                    self._spawn(f"seals {line.name} {line.key}", log, partial(self._seals, line))
            if log.witnessed:
                self._spawn(f"witnesses {log.id}", log, partial(_hold.show, self.shared, log))
        if self.shared.office is not None:
            self._spawn("ticks", self.shared.governance, self._upkeep.ticks)

    async def show(self) -> None:
        """At start: a head for readers, where the signer has signed newer ones than the published file holds."""
        await _reopen.show(self.shared, self._heads, self._signer, self._marks)

    def signer_changed(self) -> None:
        """Keys became ready or not: queues may go on."""
        for log in self.shared.logs.values():
            log.changed.set()
        for line in self.shared.keys:
            line.changed.set()

    async def drain(self, wait_ms_max: int) -> bool:
        """Admit no more, finish what is under way; whether all of it was."""
        self.shared.draining = True
        self.refusals.flush()
        done = await _ending.quiet(self.shared, wait_ms_max)
        await self._upkeep.keep(wait_ms_max)
        for log in self.shared.logs.values():
            for ticket in log.queue.drain():
                self.shared.forget(ticket)
                ticket.fail(_grounds.stopping())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return done

    # ------------------------------------------------------------------ helpers, in call order

    async def _settled(self, ticket: Ticket) -> Settled:
        waiter: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
        ticket.join(waiter)
        try:
            return await waiter
        finally:
            self.leave(ticket, waiter)

    async def _refused(self, refusal: Refusal, ask: SignAsk, caller: Caller) -> Settled:
        """Raises it when it is in the log."""
        raise await self.refusals.refused(refusal, caller, ask.line, ask) from None

    async def _later(self, found: admit.Replay | admit.JobWanted, ask: SignAsk, caller: Caller) -> Settled:
        """The answer of a request that is known stands in the log; the first one of a job needs a grant."""
        try:
            admitted = await self._granted(found, ask, caller) if isinstance(found, admit.JobWanted) else found
            # Stop here: a job of class low may have its grant in the log, and no use of it.
            if isinstance(admitted, Ticket):
                answer: Settled | Ticket = self._enqueue(admitted)
            else:
                # A ticket: its leaf still wants its signature.
                answer = await self._replays.answer(admitted, ask, caller)
        except RECORDED as refusal:
            raise await self.refusals.refused(refusal, caller, ask.line, ask) from None
        return await self._settled(answer) if isinstance(answer, Ticket) else answer

    async def _granted(self, wanted: admit.JobWanted, ask: SignAsk, caller: Caller) -> Ticket | admit.Replay:
        """Admitted with a grant for its job, which is issued first."""
        assert self.shared.office is not None
        for _ in range(JOB_GRANTS_MAX):
            await self.shared.office.jobs.grant(caller.identity, ask.line, wanted.rule)
            found = admit.admit(self.shared, ask, caller)
            if not isinstance(found, admit.JobWanted):
                return found
            wanted = found
        raise Busy("the grant of this job has just ended", reason="GRANT_ENDED", retry_after_ms=RETRY_MS)

    def _evidence(self, change_id: str) -> Evidence | None:
        return self.shared.evidence(change_id)

    def _spawn(self, name: str, log: LogState, work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.get_running_loop().create_task(self._guarded(name, log, work), name=name)
        self._tasks.append(task)

    def _enqueue(self, ticket: Ticket, streamed: bool = False) -> Ticket:
        """At the end of the queue; one that is under way already stays where it is."""
        shared, key = self.shared, ticket.key
        live = shared.live
        if live.get(key) is ticket:
            return ticket
        line, log, now_ns = ticket.line, ticket.line.log, ticket.started_ns
        ticket.streamed = streamed
        log.queue.put(ticket, blocked=blocked(shared, line))
        ticket.enter(now_ns)
        live[key] = ticket
        gather, pace, queue = log.gather, line.pace, log.queue
        if not gather.waiting or gather.wait_ns(now_ns, queue.work, pace.due_ns, pace.each_ns, queue.items) == 0:
            log.changed.set()
        return ticket

    def _explain(self, refusal: Refusal, ticket: Ticket) -> RefusalEvent | None:
        if not isinstance(refusal, RECORDED):
            return None
        return self.refusals.event_of(refusal, ticket.caller, ticket.ask)

    async def _guarded(self, name: str, log: LogState, work: Callable[[], Awaitable[None]]) -> None:
        """Run a loop; Damaged ends the node, any other error is a bug of ours: told, and the loop goes on."""
        while True:
            try:
                return await work()
            except Damaged as error:
                self._fail(log, error)
                return None
            except Exception as error:  # a loop must not die unseen
                self.shared.telemetry.internal(name, error)
                await asyncio.sleep(RETRY_MS_MAX / 1000)

    def _fail(self, log: LogState, error: Damaged) -> None:
        if self.shared.failed is not None:
            return
        _ending.fail(self.shared, log, error)
        assert self.stopped is not None
        if not self.stopped.done():
            self.stopped.set_result(error)


async def _notify(log: LogState) -> None:
    async with log.grown:
        log.grown.notify_all()
