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
from dataclasses import dataclass
from typing import Any

from sealpress.config import SlotSection
from sealpress.errors import CannotStart, Damaged
from sealpress.hsm import work as w
from sealpress.hsm.accounts import Accounts
from sealpress.hsm.breaker import Backoff, Breaker, BreakerLimits, Phase
from sealpress.hsm.child import Child
from sealpress.hsm.probe import Probe
from sealpress.hsm.state import State
from sealpress.hsm.turns import Answer, Turn, Turns
from sealpress.ports import Clock
from sealpress.telemetry import Telemetry

QUEUE_DEADLINES = 2  # so many deadlines a turn may wait before it is sent
JOBS_WAITING_MAX = 65_536
JOBS_AT_WORK_MAX = 128
JOBS_PER_CALL_MAX = 32
_WINDOW_NS = 10_000_000  # of work in the worker's hands, for each session
_GUESS_NS = 1_000_000  # an operation, until one was seen
_LEAST_NS = 1_000  # for a slot that nobody knows yet: it is tried
_FORGET = 0.9  # of what an operation took, at each heartbeat without one: a slot that once was slow is tried again
_KEPT_LOOKS = 4  # at least, at how long each session was idle, in the time that none shall be idle for
_SWEEP_S = 0.05
_CLOSE_S = 5.0
CHILDREN_MAX = 4  # one at work, its successor, and those that even SIGKILL does not end
_MILLISECONDS = 1_000_000
# What is wrong with one operation or one key, not with the token: data, key or mechanism that do not go together; and
# CKR_FUNCTION_CANCELED, of what the worker did not get to in time.
_OF_ONE = frozenset({0x20, 0x21, 0x50, 0x60, 0x62, 0x63, 0x68, 0x70, 0x71})
LASTS = "REPEATED_NONCE"  # ended by a person only


@dataclass(frozen=True, slots=True)
class Around:
    """What a slot has from its guard."""

    state: State
    clock: Clock
    telemetry: Telemetry
    accounts: Accounts
    backoff_ms: tuple[int, int]
    on_change: Callable[[], None]
    on_failure: Callable[[Damaged], None]  # what must not be forgotten cannot be written: this signer ends
    on_homeless: Callable[[Sequence[Turn]], None]  # turns that wait for a slot that went down


class Slot:
    """The guard's end of one slot."""

    def __init__(
        self, name: str, settings: SlotSection, open_ask: Callable[[], w.WorkerOpen], probe: Probe, around: Around
    ) -> None:
        """`open_ask` makes the first message anew for each worker, so that it carries the newest rejected PINs."""
        self.name = name
        self._settings = settings
        self._deadline_s = settings.deadline_ms / 1000
        self._open_ask = open_ask
        self._probe = probe
        self._around = around
        self._backoff = Backoff(*around.backoff_ms, lambda: int.from_bytes(around.state.entropy.bytes(4)) / (1 << 32))
        limits = BreakerLimits(settings.breaker_errors, settings.breaker_window_ms * _MILLISECONDS)
        self.breaker = Breaker(limits, self._turned)
        self._turns = Turns(JOBS_WAITING_MAX)
        self._child: Child | None = None  # the one that gets the calls
        self._children: dict[Child, asyncio.Task[None]] = {}  # also those that come and go
        self._unfit = asyncio.Event()  # it must be replaced
        self._answered_well = False  # since the last wait
        self._probing: Child | None = None
        self._keeping: Child | None = None
        self._pinged: Child | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._first: asyncio.Future[None] | None = None
        self._each_ns = 0.0  # one operation, smoothed
        self._reason = "STARTING"
        self.operations = 0
        self.restarts = -1

    # ---- life ----

    async def start(self) -> None:
        """The first worker is up, or failed in a way that passes. CannotStart: a person has to do something."""
        self._first = asyncio.get_running_loop().create_future()
        for work in (self._keep, self._watch):
            self._tasks.append(asyncio.create_task(self._always(work), name=f"slot-{self.name}"))
        await self._first

    async def close(self) -> None:
        """Kill the workers and stay down."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._unfit.set()  # so that the end of the worker is not taken for a loss
        children = dict(self._children)
        for child in children:
            child.kill()
        if children:
            await asyncio.wait(children.values(), timeout=_CLOSE_S)

    async def _always(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A bug of ours is told, and costs the slot a pause: nobody else would start its workers again."""
        while True:
            try:
                await work()
            except Exception as error:
                self._around.telemetry.internal(f"slot {self.name}", error)
                await asyncio.sleep(self._backoff.most_ms / 1000)

    @property
    def up(self) -> bool:
        """Whether it can sign."""
        child = self._child
        if child is None or not child.up:
            return False
        return self.breaker.trusts or (self.breaker.phase is Phase.HALF_OPEN and not self._probe.signs)

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
        return self.breaker.reason or ("" if self.up else self._reason)

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
        self._answered_well = True
        self.breaker.worked()

    def quarantine(self, reason: str) -> None:
        """The token lied: no more work for it, and another worker, before it is tried again."""
        self.breaker.quarantine(reason)  # first: whatever the disk says, nothing more is signed there
        if reason == LASTS:
            self._remember(lambda: self._around.state.quarantine(self.name, reason))

    def _remember(self, write: Callable[[], None]) -> None:
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
            self._children[child].add_done_callback(
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

    async def _keep(self) -> None:
        """One worker at work at all times, as far as that can be."""
        await self._released()
        while True:
            self.restarts += 1
            trips = self.breaker.trips
            child = Child(self._open_ask(), self._deadline_s, self._changed, self._stocked)
            task = self._children[child] = asyncio.create_task(child.run(), name=f"worker-{self.name}")
            task.add_done_callback(lambda task, child=child: self._gone(child, task))  # type: ignore[misc]
            if not await child.opened:
                self._not_opened(child)
            elif trips != self.breaker.trips:
                child.leave()  # what its predecessor still answered opened the breaker
            else:
                self._install(child)
                await self._unfit.wait()
            await self._wait()

    def look(self) -> None:
        """The worker looks at the token's keys again, if there is one."""
        child = self._child
        if child is not None and child.up:
            self._around.accounts.ask(self.name)
            child.look()

    def _stocked(self, stock: w.Stock) -> None:
        self._around.accounts.take(self.name, stock)
        self._around.on_change()

    def _install(self, child: Child) -> None:
        """From now on calls go to it; its predecessor ends with those that it has."""
        before, self._child = self._child, child
        self._unfit.clear()
        if before is not None:
            before.leave()
        self.breaker.half_open()
        self._reason = ""
        if self.restarts:
            self._around.telemetry.slot_up(self.name, child.sessions, self.restarts)
        self._settle(None)
        self._changed()
        if not self.breaker.trusts:
            self._try(child)

    def _not_opened(self, child: Child) -> None:
        failure = child.failure
        if self._child is not None:
            self._child.kill()
        if failure is None:
            self._reason = "WORKER_LOST"
            self._settle(None)
        else:
            self._heed(failure)
            error = CannotStart(f"slot {self.name}: {failure.message}", reason=failure.reason, hint=failure.hint)
            self._settle(error if failure.lasting else None)
        self._changed()

    def _heed(self, failure: w.WorkerFailed) -> None:
        """What a worker said before it ended."""
        self._reason = failure.reason
        self._remember(lambda: self._around.state.reject(self.name, failure.tag))
        if self._started or not failure.lasting:  # else whoever starts us says so
            self._around.telemetry.slot_failed(self.name, failure.reason, failure.message, failure.hint)

    async def _wait(self) -> None:
        """Before the next worker is started."""
        while len(self._children) >= CHILDREN_MAX:  # first: a lie that is heard meanwhile has all of what follows
            await asyncio.wait(self._children.values(), return_when=asyncio.FIRST_COMPLETED)
        if self._answered_well:
            self._backoff.reset()
            self._answered_well = False
        if self.breaker.phase is not Phase.QUARANTINED:
            await asyncio.sleep(self._backoff.next_ms() / 1000)
        if self.breaker.phase is Phase.QUARANTINED:  # perhaps since then: the last worker may still answer
            await asyncio.sleep(self._backoff.most_ms / 1000)
        await self._released()

    async def _released(self) -> None:
        """Until no person is needed any more."""
        while self._around.state.quarantined(self.name):
            self.breaker.quarantine(LASTS)
            self._settle(None)
            await asyncio.sleep(1)

    def _gone(self, child: Child, task: asyncio.Task[None]) -> None:
        del self._children[child]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._around.telemetry.internal(f"worker of slot {self.name}", error)

    def _changed(self) -> None:
        """A worker is up, late, gone, or has or uses another number of sessions."""
        child = self._child
        if child is not None and (child.late or child.ended.is_set()) and not self._unfit.is_set():
            self._unfit.set()
            self._reason = "WORKER_HUNG" if child.late else "WORKER_LOST"
            if child.failure is not None:
                self._heed(child.failure)
            self._around.telemetry.slot_lost(self.name, self._reason)
            self.breaker.failed(self._around.clock.monotonic_ns(), self._reason)
        if child is not None and child.ended.is_set():
            self._child = None
        self._move_on()

    def _turned(self, phase: Phase, reason: str) -> None:
        """The breaker's new phase."""
        self._around.telemetry.slot_turned(self.name, phase, reason)
        if not self.breaker.passes:
            self._unfit.set()
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

    @property
    def _started(self) -> bool:
        return self._first is not None and self._first.done()

    def _settle(self, failure: CannotStart | None) -> None:
        if self._first is not None and not self._started:
            if failure is None:
                self._first.set_result(None)
            else:
                self._first.set_exception(failure)

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

    async def _watch(self) -> None:
        """A heartbeat of the worker; and one of the token, where nothing else was asked of it for some time.

        Where a firewall ends idle connections each session is used now and then, for it may have one of its own.
        """
        probe_s, keep_s = self._settings.probe_ms / 1000, self._settings.keepalive_ms / 1000
        silence_s = min(probe_s, keep_s or probe_s)
        step_s = min(self._settings.heartbeat_ms / 1000, silence_s, keep_s / _KEPT_LOOKS or silence_s)
        while True:
            await asyncio.sleep(step_s)
            child = self._child
            if child is None or not child.up:
                continue
            if self._pinged is not child:
                self._pinged = child
                child.ping(self._ponged)
            silent_s = asyncio.get_running_loop().time() - child.touched
            if silent_s >= self._settings.heartbeat_ms / 1000:
                self._each_ns = faded(self._each_ns)
            if keep_s and self._probe.signs and self.breaker.trusts:
                self._keep_alive(child, keep_s / 2)  # those left out are looked at twice more before it is all of it
            if silent_s >= silence_s:
                self._try(child)

    def _ponged(self, answer: w.WorkerSigned | w.WorkerPong | None) -> None:
        if answer is not None:
            self._pinged = None

    def _try(self, child: Child) -> None:
        """Have the token do something that costs nothing: sign with the probe key, or tell of itself."""
        if self._probing is child:
            return
        self._probing = child
        if self._probe.signs:
            jobs, messages = self._probe.jobs(1)
            child.sign(jobs, lambda answer: self._tried(child, messages, answer))
        else:
            child.ping(lambda answer: self._tried(child, (), answer), token=True)

    def _keep_alive(self, child: Child, idle_s: float) -> None:
        """A signature of the probe key on each session that was idle for so long; those at work need none."""
        if self._keeping is child:
            return
        self._keeping = child
        jobs, messages = self._probe.jobs(child.sessions)
        child.keep(jobs, idle_s, lambda answer: self._kept(child, messages, answer))

    def _kept(self, child: Child, messages: Sequence[bytes], answer: w.WorkerSigned | w.WorkerPong | None) -> None:
        if answer is not None and self._keeping is child:
            self._keeping = None
        if isinstance(answer, w.WorkerSigned) and answer.results:
            self._heard(child, messages[: len(answer.results)], answer)

    def _tried(self, child: Child, messages: Sequence[bytes], answer: w.WorkerSigned | w.WorkerPong | None) -> None:
        if answer is None:
            return  # it is late, and replaced
        if self._probing is child:
            self._probing = None
        self._heard(child, messages, answer)

    def _heard(self, child: Child, messages: Sequence[bytes], answer: w.WorkerSigned | w.WorkerPong) -> None:
        child.touched = asyncio.get_running_loop().time()
        wrong = self._wrong(messages, answer)
        if wrong and not wrong.startswith("CKR_"):
            self.quarantine(wrong)
        elif self._child is not child:
            return  # its successor is judged by answers of its own
        elif wrong:
            self.breaker.failed(self._around.clock.monotonic_ns(), wrong)
        elif isinstance(answer, w.WorkerSigned):  # half open, and without a probe key, an operation of a line decides
            self.proved()
            if not self.breaker.trusts:
                self._try(child)

    def _wrong(self, messages: Sequence[bytes], answer: w.WorkerSigned | w.WorkerPong) -> str:
        if isinstance(answer, w.WorkerPong):
            return f"CKR_{answer.rv:#x}" if answer.rv else ""
        self.operations += sum(result.tried for result in answer.results)
        return self._probe.wrong(messages, answer.results)


def faded(each_ns: float) -> float:
    """What one operation is thought to take after a heartbeat without any: less, but after years, too, something."""
    return max(_FORGET * each_ns, min(each_ns, _LEAST_NS))
