"""What one log has to write besides requests: events that ride with a commit, facts of governance that have their own.

Guarantees: an event is offered to the next commit, and asks for one of its own when its delay is over; facts stay in
the order of their acts. Owned by the event loop's thread. Does not: write, or decide what is written.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sealpress.errors import SealpressError
from sealpress.tlog.draft import Committed, Placed
from sealpress.tlog.entry import Event, GovernanceEvent, Where
from sealpress.tlog.log import Log
from sealpress.values import RecordType


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


class Pending:
    """What waits for a commit of one log, and the commit under way."""

    def __init__(self, log: Log) -> None:
        """Nothing waits."""
        self.log = log
        self.facts: deque[FactGroup] = deque()
        self.events: deque[PendingEvent] = deque()
        self.urgent = False  # an event must not wait for company
        self.changed = asyncio.Event()
        self.taken: list[Use] = []  # of the commit under way
        self.told = (log.next_seq, log.reader.end)  # everything before it is accounted for
        self._flight: asyncio.Event | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._look_s = 0.0  # when it rings
        self._due_s = 0.0  # until when the oldest event may wait; counts while there is one

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
