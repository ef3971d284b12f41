"""The workers of a slot, one after the other: when the next one is started, and what the last one said before it ended.

Guarantees: a slot that a person has to look at gets no worker; no more processes than `CHILDREN_MAX` at a time, however
many do not end. Does not: give a worker anything to do (slot.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sealpress.errors import CannotStart, Damaged
from sealpress.hsm import work as w
from sealpress.hsm.accounts import Accounts
from sealpress.hsm.breaker import Backoff, Breaker, Phase
from sealpress.hsm.child import Child
from sealpress.hsm.state import State
from sealpress.hsm.turns import Turn
from sealpress.ports import Clock
from sealpress.telemetry import Telemetry

_CLOSE_S = 5.0
CHILDREN_MAX = 4  # one at work, its successor, and those that even SIGKILL does not end
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


class Seat(Protocol):
    """The slot that they work for."""

    name: str
    breaker: Breaker
    answered_well: bool  # since the last wait

    def install(self, child: Child) -> None:
        """From now on calls go to it."""
        ...

    def make_room(self) -> None:
        """Its successor did not come up: the one at work ends."""
        ...

    def changed(self) -> None:
        """A worker is up, late, gone, or has or uses another number of sessions."""
        ...

    def stocked(self, stock: w.Stock) -> None:
        """What a worker found on the token."""
        ...

    def remember(self, write: Callable[[], None]) -> None:
        """Write what must not be forgotten, or this signer ends."""
        ...


class Succession:
    """Of one slot."""

    def __init__(self, seat: Seat, open_ask: Callable[[], w.WorkerOpen], deadline_s: float, around: Around) -> None:
        """`open_ask` makes the first message anew for each worker, so that it carries the newest rejected PINs."""
        self._seat = seat
        self._open_ask = open_ask
        self._deadline_s = deadline_s
        self._around = around
        self.backoff = Backoff(*around.backoff_ms, lambda: int.from_bytes(around.state.entropy.bytes(4)) / (1 << 32))
        self.children: dict[Child, asyncio.Task[None]] = {}  # also those that come and go
        self.unfit = asyncio.Event()  # the one at work must be replaced
        self._first: asyncio.Future[None] | None = None
        self.reason = "STARTING"
        self.restarts = -1

    def begin(self) -> asyncio.Future[None]:
        """Done when the first worker is up, or failed in a way that passes."""
        self._first = asyncio.get_running_loop().create_future()
        return self._first

    async def end(self) -> None:
        """Kill them all."""
        self.unfit.set()  # so that the end of the worker is not taken for a loss
        children = dict(self.children)
        for child in children:
            child.kill()
        if children:
            await asyncio.wait(children.values(), timeout=_CLOSE_S)

    async def keep(self) -> None:
        """One worker at work at all times, as far as that can be."""
        await self._released()
        while True:
            self.restarts += 1
            trips = self._seat.breaker.trips
            child = Child(self._open_ask(), self._deadline_s, self._seat.changed, self._seat.stocked)
            task = self.children[child] = asyncio.create_task(child.run(), name=f"worker-{self._seat.name}")
            task.add_done_callback(lambda task, child=child: self.gone(child, task))  # type: ignore[misc]
            if not await child.opened:
                self._not_opened(child)
            elif trips != self._seat.breaker.trips:
                child.leave()  # what its predecessor still answered opened the breaker
            else:
                self._seat.install(child)
                await self.unfit.wait()
            await self.wait()

    def _not_opened(self, child: Child) -> None:
        failure = child.failure
        self._seat.make_room()
        if failure is None:
            self.reason = "WORKER_LOST"
            self.settle(None)
        else:
            self.heed(failure)
            error = CannotStart(f"slot {self._seat.name}: {failure.message}", reason=failure.reason, hint=failure.hint)
            self.settle(error if failure.lasting else None)
        self._seat.changed()

    def heed(self, failure: w.WorkerFailed) -> None:
        """What a worker said before it ended."""
        self.reason = failure.reason
        self._seat.remember(lambda: self._around.state.reject(self._seat.name, failure.tag))
        if self._started or not failure.lasting:  # else whoever starts us says so
            self._around.telemetry.slot_failed(self._seat.name, failure.reason, failure.message, failure.hint)

    async def wait(self) -> None:
        """Before the next worker is started."""
        while len(self.children) >= CHILDREN_MAX:  # first: a lie that is heard meanwhile has all of what follows
            await asyncio.wait(self.children.values(), return_when=asyncio.FIRST_COMPLETED)
        if self._seat.answered_well:
            self.backoff.reset()
            self._seat.answered_well = False
        if self._seat.breaker.phase is not Phase.QUARANTINED:
            await asyncio.sleep(self.backoff.next_ms() / 1000)
        if self._seat.breaker.phase is Phase.QUARANTINED:  # perhaps since then: the last worker may still answer
            await asyncio.sleep(self.backoff.most_ms / 1000)
        await self._released()

    async def _released(self) -> None:
        """Until no person is needed any more."""
        while self._around.state.quarantined(self._seat.name):
            self._seat.breaker.quarantine(LASTS)
            self.settle(None)
            await asyncio.sleep(1)

    def gone(self, child: Child, task: asyncio.Task[None]) -> None:
        """Its process has ended."""
        del self.children[child]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._around.telemetry.internal(f"worker of slot {self._seat.name}", error)

    @property
    def _started(self) -> bool:
        return self._first is not None and self._first.done()

    def settle(self, failure: CannotStart | None) -> None:
        """The first worker is up (None), or failed."""
        if self._first is not None and not self._started:
            if failure is None:
                self._first.set_result(None)
            else:
                self._first.set_exception(failure)
