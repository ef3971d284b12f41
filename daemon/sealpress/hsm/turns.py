"""Where token operations wait for a slot: bounded, and fair among tenants.

Deficit round robin: each turn a tenant may have QUANTUM operations more than it had so far, and what it does not use
up it loses when it has nothing left to wait for. So one who asks for ten times its share waits behind itself.

Guarantees: at most `jobs_max` operations wait; those of one tenant keep their order. Does not: know slots, time out by
itself (`expired` says who has waited too long), or sign.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sealpress.hsm import work as w

QUANTUM = 2


class SlotLost(Exception):
    """No result. `unknown`: the jobs were sent, and the token may have signed. `full`: there was no room to wait."""

    def __init__(self, *, unknown: bool, full: bool = False) -> None:
        """Raised within the guard only."""
        super().__init__("as many as may wait for the slot" if full else "the slot's worker is lost")
        self.unknown = unknown
        self.full = full


@dataclass(frozen=True, slots=True)
class Answer:
    """Results in the order of the jobs, the slot that they are of, and the number of the first operation there."""

    results: tuple[w.WorkerResult, ...]
    slot: str
    number: int


@dataclass(slots=True, eq=False)
class Turn:
    """A few operations of one tenant and key, which go to one worker together."""

    tenant: str
    key: str
    jobs: Sequence[w.WorkerJob]
    slots: tuple[str, ...]  # that have the key
    wanted: Callable[[], bool]  # whether they may still be signed; asked when they are sent
    expires: float  # of the loop's clock: so long it may wait
    answer: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def fail(self, *, unknown: bool, full: bool = False) -> None:
        """No results."""
        if not self.answer.done():
            self.answer.set_exception(SlotLost(unknown=unknown, full=full))
            self.answer.exception()  # seen, even if its caller has gone


class _Tenant:
    __slots__ = ("begun", "credit", "row")

    def __init__(self) -> None:
        self.row: deque[Turn] = deque()
        self.credit = 0
        self.begun = False  # it has had its quantum of this round


class Turns:
    """What waits for one slot."""

    def __init__(self, jobs_max: int) -> None:
        """Bounded by operations."""
        self._jobs_max = jobs_max
        self._tenants: OrderedDict[str, _Tenant] = OrderedDict()
        self.jobs = 0

    def put(self, turn: Turn) -> bool:
        """At the end of its tenant's row; False if there is no room."""
        if self.jobs + len(turn.jobs) > self._jobs_max:
            return False
        tenant = self._tenants.get(turn.tenant)
        if tenant is None:
            tenant = self._tenants[turn.tenant] = _Tenant()
        tenant.row.append(turn)
        self.jobs += len(turn.jobs)
        return True

    def take(self, room: int) -> list[Turn]:
        """Whose turn it is, for about `room` operations; a turn is never cut, so the last one may be larger."""
        taken: list[Turn] = []
        while room > 0 and self._tenants:
            name, tenant = next(iter(self._tenants.items()))
            if not tenant.begun:
                tenant.begun = True
                tenant.credit += QUANTUM
            cost = len(tenant.row[0].jobs)
            if cost > tenant.credit and len(self._tenants) > 1:
                tenant.begun = False
                self._tenants.move_to_end(name)
                continue
            turn = tenant.row.popleft()
            tenant.credit = max(0, tenant.credit - cost)
            self.jobs -= cost
            room -= cost
            taken.append(turn)
            if not tenant.row:
                del self._tenants[name]
        return taken

    def expired(self, now: float) -> list[Turn]:
        """Take out those that have waited too long."""
        return self._remove(lambda turn: turn.expires <= now or turn.answer.done())

    def drain(self) -> list[Turn]:
        """Take out everything."""
        return self._remove(lambda _: True)

    def _remove(self, gone: Callable[[Turn], bool]) -> list[Turn]:
        removed: list[Turn] = []
        for name, tenant in list(self._tenants.items()):
            removed += [turn for turn in tenant.row if gone(turn)]
            tenant.row = deque(turn for turn in tenant.row if not gone(turn))
            if not tenant.row:
                del self._tenants[name]
        self.jobs -= sum(len(turn.jobs) for turn in removed)
        return removed
