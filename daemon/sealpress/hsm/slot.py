"""A slot: its workers, one after the other, and the operations that wait for them.

The next worker comes before the last one goes. One that lets a call pass its deadline stays at work with the sessions
that do not hang, until its successor is up; then it gets no more calls, and ends with those in its hands, at the latest
at twice the deadline, by SIGKILL. If a successor does not come up its predecessor makes room: the token may have none
for two.

Guarantees: a turn waits no longer than it may and is worked on no longer than the deadline, then it has results or
SlotLost, which says whether the token may have signed; as many operations are in the worker's hands as keep its
sessions at work, not more, so that whose turn it is is decided late; work flows only while the breaker lets it. Does
not: verify signatures (tokens.py does, and tells `quarantine`), or log in twice with a PIN that was rejected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from sealpress.config import SlotSection
from sealpress.errors import Damaged
from sealpress.hsm import work as w
from sealpress.hsm.breaker import Breaker, BreakerLimits, Phase
from sealpress.hsm.child import Child
from sealpress.hsm.probe import Probe
from sealpress.hsm.pulse import Pulse
from sealpress.hsm.succession import LASTS, Around, Succession
from sealpress.hsm.turns import Answer, Turn, Turns

QUEUE_DEADLINES = 2  # so many deadlines a turn may wait before it is sent
JOBS_WAITING_MAX = 65_536
JOBS_AT_WORK_MAX = 128
JOBS_PER_CALL_MAX = 32
_WINDOW_NS = 10_000_000  # of work in the worker's hands, for each session
_GUESS_NS = 1_000_000  # an operation, until one was seen
_LEAST_NS = 1_000  # for a slot that nobody knows yet: it is tried
_FORGET = 0.9  # of what an operation took, at each heartbeat without one: a slot that once was slow is tried again
_SWEEP_S = 0.05
_MILLISECONDS = 1_000_000
# What is wrong with one operation or one key, not with the token: data, key or mechanism that do not go together; and
# CKR_FUNCTION_CANCELED, of what the worker did not get to in time.
_OF_ONE = frozenset({0x20, 0x21, 0x50, 0x60, 0x62, 0x63, 0x68, 0x70, 0x71})


class Slot:
    """The guard's end of one slot."""

    def __init__(
        self, name: str, settings: SlotSection, open_ask: Callable[[], w.WorkerOpen], probe: Probe, around: Around
    ) -> None:
        """`open_ask` makes the first message anew for each worker, so that it carries the newest rejected PINs."""
        self.name = name
        self._probe = probe
        self._around = around
        limits = BreakerLimits(settings.breaker_errors, settings.breaker_window_ms * _MILLISECONDS)
        self.breaker = Breaker(limits, self._turned)
        self._turns = Turns(JOBS_WAITING_MAX)
        self._child: Child | None = None  # the one that gets the calls
        self.answered_well = False  # since the last wait
        self._tasks: list[asyncio.Task[None]] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._each_ns = 0.0  # one operation, smoothed
        self.operations = 0
        self._workers = Succession(self, open_ask, settings.deadline_ms / 1000, around)
        self._pulse = Pulse(self, settings, probe, around.clock)

    # ---- life ----

    async def start(self) -> None:
        """The first worker is up, or failed in a way that passes. CannotStart: a person has to do something."""
        first = self._workers.begin()
        for work in (self._workers.keep, self._pulse.watch):
            self._tasks.append(asyncio.create_task(self._always(work), name=f"slot-{self.name}"))
        await first

    async def close(self) -> None:
        """Kill the workers and stay down."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._workers.end()

    async def _always(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A bug of ours is told, and costs the slot a pause: nobody else would start its workers again."""
        while True:
            try:
                await work()
            except Exception as error:
                self._around.telemetry.internal(f"slot {self.name}", error)
                await asyncio.sleep(self._workers.backoff.most_ms / 1000)

    @property
    def up(self) -> bool:
        """Whether it can sign."""
        child = self._child
        if child is None or not child.up:
            return False
        return self.breaker.trusts or (self.breaker.phase is Phase.HALF_OPEN and not self._probe.signs)

    @property
    def child(self) -> Child | None:
        """The worker that gets the calls."""
        return self._child

    @property
    def restarts(self) -> int:
        """How many workers came after the first."""
        return self._workers.restarts

    @property
    def sessions(self) -> int:
        """How many its worker may use."""
        return self._child.sessions if self._child is not None else 0

    @property
    def limit(self) -> int:
        """How many of them work at a time; 0: nobody knows."""
        return self._child.limit if self._child is not None else 0

    @property
    def reason(self) -> str:
        """Why it is down, or not trusted."""
        return self.breaker.reason or ("" if self.up else self._workers.reason)

    @property
    def waiting(self) -> int:
        """Operations that wait or are in the worker's hands."""
        return self._turns.jobs + (self._child.jobs if self._child is not None else 0)

    @property
    def each_ns(self) -> int:
        """One operation takes about so long; 0: none was seen."""
        return int(self._each_ns)

    @property
    def load_ns(self) -> float:
        """When one more operation would be done, about: the slot with the least of it gets the next turn."""
        if not self.breaker.trusts:
            return float("inf") if self.waiting else 0.0  # it wants one, to show whether it works again
        return (self.waiting + 1) * max(self._each_ns, _LEAST_NS) / max(1, self.sessions)

    # ---- turns ----

    def turn_jobs(self) -> int:
        """How many operations one turn should have, so that others need not wait long for theirs."""
        return min(JOBS_PER_CALL_MAX, max(1, self._window() // 4))

    def put(self, turn: Turn) -> None:
        """Its answer comes from here, unless the slot goes down before its turn has come."""
        child = self._child
        if child is None or not self.up:
            turn.fail(unknown=False)
            return
        if not self._turns.jobs and child.jobs < self._window() and turn.wanted():
            self._send(child, [turn])  # nobody is before it
            return
        if not self._turns.put(turn):
            turn.fail(unknown=False, full=True)
            return
        self._pump()
        if self._turns.jobs and self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_SWEEP_S, self._swept)

    def proved(self) -> None:
        """Signatures of its token verified, and all that came with them."""
        self.answered_well = True
        self.breaker.worked()

    def quarantine(self, reason: str) -> None:
        """The token lied: no more work for it, and another worker, before it is tried again."""
        self.breaker.quarantine(reason)  # first: whatever the disk says, nothing more is signed there
        if reason == LASTS:
            self.remember(lambda: self._around.state.quarantine(self.name, reason))

    def remember(self, write: Callable[[], None]) -> None:
        """Write what must not be forgotten, or this signer ends."""
        try:
            write()
        except Damaged as failure:
            self._around.on_failure(failure)

    def _window(self) -> int:
        """Operations that the worker should have in its hands."""
        if not self.breaker.trusts:
            return 1
        each = int(self.sessions * _WINDOW_NS / (self._each_ns or _GUESS_NS))
        return min(JOBS_AT_WORK_MAX, max(2 * self.sessions, each))

    def _pump(self) -> None:
        child = self._child
        while self._turns.jobs and child is not None and self.up and (room := self._window() - child.jobs) > 0:
            now = asyncio.get_running_loop().time()
            turns = []
            for turn in self._turns.take(min(room, self.turn_jobs())):
                if turn.expires > now and turn.wanted() and not turn.answer.done():
                    turns.append(turn)
                else:
                    turn.fail(unknown=False)
            if turns:
                self._send(child, turns)

    def _send(self, child: Child, turns: list[Turn]) -> None:
        begin = self._around.accounts.begin
        numbers = [begin(self.name, turn.key, len(turn.jobs)) for turn in turns]
        jobs = tuple([job for turn in turns for job in turn.jobs])
        child.sign(jobs, lambda answer: self._signed(child, turns, numbers, answer))

    def _swept(self) -> None:
        """Those that nobody could take in time; the worker may hang."""
        loop = asyncio.get_running_loop()
        for turn in self._turns.expired(loop.time()):
            turn.fail(unknown=False)
        self._sweep = loop.call_later(_SWEEP_S, self._swept) if self._turns.jobs else None

    def _signed(
        self, child: Child, turns: list[Turn], numbers: list[int], answer: w.WorkerSigned | w.WorkerPong | None
    ) -> None:
        jobs = sum(len(turn.jobs) for turn in turns)
        end = self._around.accounts.end
        if not isinstance(answer, w.WorkerSigned) or len(answer.results) != jobs:
            if answer is not None:
                child.kill()
            # Its token may be at work on them as long as there is a process.
            self._workers.children[child].add_done_callback(
                lambda _: [end(self.name, one.key, len(one.jobs), 0) for one in turns]
            )
            for turn in turns:
                turn.fail(unknown=True)
            return
        self._learn(answer.results)
        at = 0
        for turn, number in zip(turns, numbers, strict=True):
            results = answer.results[at : at + len(turn.jobs)]
            at += len(turn.jobs)
            end(self.name, turn.key, len(results), sum(not result.rv for result in results))
            if not turn.answer.done():
                turn.answer.set_result(Answer(results, self.name, number))
        self._pump()

    def _learn(self, results: Sequence[w.WorkerResult]) -> None:
        good = 0
        took_ns = 0
        wrong = 0
        for result in results:
            self.operations += result.tried
            if result.rv in _OF_ONE:
                continue  # says nothing of the token
            if result.rv:
                wrong = result.rv
            else:
                good += 1
                took_ns += result.elapsed_ns
        if good:
            each_ns = took_ns / good
            self._each_ns += (each_ns - self._each_ns) / (8 if self._each_ns else 1)
        if wrong:
            self.breaker.failed(self._around.clock.monotonic_ns(), f"CKR_{wrong:#x}")

    # ---- workers ----

    def look(self) -> None:
        """The worker looks at the token's keys again, if there is one."""
        child = self._child
        if child is not None and child.up:
            self._around.accounts.ask(self.name)
            child.look()

    def stocked(self, stock: w.Stock) -> None:
        """What a worker found on the token."""
        self._around.accounts.take(self.name, stock)
        self._around.on_change()

    def install(self, child: Child) -> None:
        """From now on calls go to it; its predecessor ends with those that it has."""
        before, self._child = self._child, child
        self._workers.unfit.clear()
        if before is not None:
            before.leave()
        self.breaker.half_open()
        self._workers.reason = ""
        if self._workers.restarts:
            self._around.telemetry.slot_up(self.name, child.sessions, self._workers.restarts)
        self._workers.settle(None)
        self.changed()
        if not self.breaker.trusts:
            self._pulse.attempt(child)

    def make_room(self) -> None:
        """Its successor did not come up: the one at work ends."""
        if self._child is not None:
            self._child.kill()

    def changed(self) -> None:
        """A worker is up, late, gone, or has or uses another number of sessions."""
        child = self._child
        if child is not None and (child.late or child.ended.is_set()) and not self._workers.unfit.is_set():
            self._workers.unfit.set()
            self._workers.reason = "WORKER_HUNG" if child.late else "WORKER_LOST"
            if child.failure is not None:
                self._workers.heed(child.failure)
            self._around.telemetry.slot_lost(self.name, self._workers.reason)
            self.breaker.failed(self._around.clock.monotonic_ns(), self._workers.reason)
        if child is not None and child.ended.is_set():
            self._child = None
        self._move_on()

    def _turned(self, phase: Phase, reason: str) -> None:
        """The breaker's new phase."""
        self._around.telemetry.slot_turned(self.name, phase, reason)
        if not self.breaker.passes:
            self._workers.unfit.set()
            child, self._child = self._child, None
            if child is not None:
                child.leave()
        self._move_on()

    def _move_on(self) -> None:
        """Whatever has changed: turns go to the worker, or elsewhere."""
        if not self.up and self._turns.jobs:
            self._around.on_homeless(self._turns.drain())
        self._pump()
        self._around.on_change()

    # ---- signs of life ----

    async def ping(self) -> bool:
        """Whether its worker answers within the deadline."""
        child = self._child
        if child is None or not child.up:
            return False
        answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def told(answer: w.WorkerSigned | w.WorkerPong | None) -> None:
            if not answered.done():
                answered.set_result(answer is not None)

        child.ping(told)
        return await answered

    def rested(self) -> None:
        """A heartbeat passed without an operation."""
        self._each_ns = faded(self._each_ns)


def faded(each_ns: float) -> float:
    """What one operation is thought to take after a heartbeat without any: less, but after years, too, something."""
    return max(_FORGET * each_ns, min(each_ns, _LEAST_NS))
