"""Where admitted requests wait: bounded, and fair among tenants.

Round robin by deficit: each turn a tenant may take QUANTUM_BYTES of journal, and among its lines each in turn; so a
hundred thousand digests of one tenant do not stand before the single digest of another. When a batch is cut is decided
elsewhere (_gather.py); there is no fixed linger.

Guarantees: at most `requests_pending_max` requests, and, besides one of each tenant, `requests_pending_bytes_max` times
1 + 1/2 + ... + 1/n of n tenants, who came one after the other and each took his share of that moment; a full queue
refuses with a delay, but for bytes nobody who has less than his share of them; a request that nobody waits for is never
cut; requests of a blocked line stay where they are, and come in only while half of the queue is free: nobody knows for
how long they stay. Does not: decide, record or time out.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sized
from typing import Generic, Protocol, TypeVar

from sealpress.config import Limits
from sealpress.errors import Busy
from sealpress.steps._pace import Pace
from sealpress.steps._request import Phase
from sealpress.values import SignAsk

QUANTUM_BYTES = 64 << 10
RETRY_MS_MIN = 50
REQUESTS_PER_MS = 8  # what a full queue gets through, for the delay of those that it refuses
BYTES_PER_MS = 128 << 10
DIGESTS_AS_ONE = 128  # a commit takes some 20 us for as many, and as long for one request more


class Served(Protocol):
    """A line, as a queue sees it, and those who ask whether it may be cut."""

    @property
    def name(self) -> str:
        """Of the line."""
        ...

    @property
    def tenant(self) -> str:
        """Whose requests are served in turn with those of others."""
        ...

    @property
    def pace(self) -> Pace:
        """How fast its key works."""
        ...

    @property
    def durable(self) -> Sized:
        """What waits for that key already."""
        ...


class Queued(Protocol):
    """A request, as a queue sees it (_ticket.py `Ticket`)."""

    phase: Phase

    @property
    def ask(self) -> SignAsk:
        """What is asked for: `count` digests."""
        ...

    @property
    def line(self) -> Served:
        """Where it goes from here."""
        ...

    @property
    def cost(self) -> int:
        """Bytes that it will take of the journal, about."""
        ...

    @property
    def streamed(self) -> bool:
        """Whether it is an item of a stream."""
        ...

    def wanted(self, now_ns: int) -> bool:
        """Whether anybody still waits for it."""
        ...


T = TypeVar("T", bound=Queued)


class _Tenant(Generic[T]):
    """One tenant's lines, each with its requests in order."""

    __slots__ = ("bytes", "credit", "lines")

    def __init__(self) -> None:
        self.bytes = 0  # that its requests will take of the journal
        self.credit = 0
        self.lines: OrderedDict[str, deque[T]] = OrderedDict()


class Queue(Generic[T]):
    """The requests of one log that are admitted and not yet committed."""

    def __init__(self, limits: Limits) -> None:
        """Empty; bounded by `requests_pending_…`, and each cut by `batch_…`."""
        self._limits = limits
        self._tenants: OrderedDict[str, _Tenant[T]] = OrderedDict()
        self._size = 0
        self._bytes = 0
        self.work = 0  # requests, where one of many digests counts as one more for each DIGESTS_AS_ONE
        self.items = 0  # of them, those of streams

    def __len__(self) -> int:
        """How many requests stand here."""
        return self._size

    def check_room(self) -> None:
        """Busy QUEUE_FULL if not even one more fits."""
        if self._size >= self._limits.requests_pending_max:
            raise self._full()

    def put(self, ticket: T, *, blocked: bool = False) -> None:
        """At the end of its tenant's and line's row. Busy QUEUE_FULL; `blocked`: already where half of it is taken."""
        self.check_room()
        tenant, bytes_max = self._tenants.get(ticket.line.tenant), self._limits.requests_pending_bytes_max
        if blocked:
            bytes_max //= 2
            if 2 * self._size >= self._limits.requests_pending_max:
                raise self._full()
        if tenant is not None and self._bytes + ticket.cost > bytes_max:  # full; has he his share already?
            share = bytes_max // len(self._tenants)
            if tenant.bytes + ticket.cost > share:
                raise self._full()
        tenant = tenant or self._tenant(ticket)
        self._row(tenant, ticket).append(ticket)
        self._count(tenant, ticket, 1)

    def put_back(self, tickets: list[T]) -> None:
        """Cut too many: they stand first again, in their order."""
        for ticket in reversed(tickets):
            ticket.phase = Phase.QUEUED
            tenant = self._tenant(ticket)
            self._row(tenant, ticket).appendleft(ticket)
            self._count(tenant, ticket, 1)

    def has_work(self, blocked: Callable[[Served], bool]) -> bool:
        """Whether a cut now could take anything."""
        return self._size > 0 and any(not blocked(line) for line in self.lines())

    def lines(self) -> Iterator[Served]:
        """Those that requests wait for."""
        return (row[0].line for tenant in self._tenants.values() for row in tenant.lines.values() if row)

    def cut(self, now_ns: int, blocked: Callable[[Served], bool]) -> tuple[list[T], list[T]]:
        """Take the next batch: (tickets, dropped because nobody waits for them any more)."""
        taken: list[T] = []
        dropped: list[T] = []
        items_max, bytes_max = self._limits.batch_items_max, self._limits.batch_bytes_max
        items = size = 0
        idle = 0  # tenants in a row that had nothing to give
        open_: dict[str, bool] = {}  # whether a line's requests may be taken, asked once for this cut
        while idle < len(self._tenants):
            name, tenant = next(iter(self._tenants.items()))
            self._tenants.move_to_end(name)
            tenant.credit += QUANTUM_BYTES
            gave = False
            row = self._next(tenant, now_ns, blocked, open_, dropped)
            while row is not None:
                ticket = row[0]
                count, cost = ticket.ask.count, ticket.cost
                if taken and (items + count > items_max or size + cost > bytes_max):
                    self._tenants.move_to_end(name, last=False)  # it goes on with the next cut
                    return taken, dropped
                gave = True
                if cost > tenant.credit and len(self._tenants) > 1:
                    break  # the others first; its credit grows with each turn
                row.popleft()
                self._count(tenant, ticket, -1)
                if not row:
                    del tenant.lines[ticket.line.name]
                elif len(tenant.lines) > 1:
                    tenant.lines.move_to_end(ticket.line.name)
                tenant.credit = max(0, tenant.credit - cost)
                ticket.phase = Phase.COMMITTING
                taken.append(ticket)
                items += count
                size += cost
                if not (row and len(tenant.lines) == 1 and row[0].wanted(now_ns)):  # else the same row goes on
                    row = self._next(tenant, now_ns, blocked, open_, dropped)
            if not gave:
                tenant.credit = 0
            idle = 0 if gave else idle + 1
            if not tenant.lines:
                del self._tenants[name]
        return taken, dropped

    def drain(self) -> list[T]:
        """Take out everything, when the node stops."""
        tickets = [ticket for tenant in self._tenants.values() for row in tenant.lines.values() for ticket in row]
        self._tenants.clear()
        self._size = self._bytes = self.work = self.items = 0
        return tickets

    def _full(self) -> Busy:
        return Busy(
            "too many requests are waiting",
            hint="come back after the delay, with the same request_id",
            retry_after_ms=RETRY_MS_MIN + self._size // REQUESTS_PER_MS + self._bytes // BYTES_PER_MS,
        )

    def _count(self, tenant: _Tenant[T], ticket: T, sign: int) -> None:
        cost = sign * ticket.cost
        self._size += sign
        self._bytes += cost
        tenant.bytes += cost
        self.work += sign * (1 + ticket.ask.count // DIGESTS_AS_ONE)
        self.items += sign * ticket.streamed

    def _tenant(self, ticket: T) -> _Tenant[T]:
        tenant = self._tenants.get(ticket.line.tenant)
        if tenant is None:
            tenant = self._tenants[ticket.line.tenant] = _Tenant()
        return tenant

    def _row(self, tenant: _Tenant[T], ticket: T) -> deque[T]:
        row = tenant.lines.get(ticket.line.name)
        if row is None:
            row = tenant.lines[ticket.line.name] = deque()
        return row

    def _next(
        self,
        tenant: _Tenant[T],
        now_ns: int,
        blocked: Callable[[Served], bool],
        open_: dict[str, bool],
        dropped: list[T],
    ) -> deque[T] | None:
        """The row whose first request is next; those that nobody waits for are thrown away on the way."""
        found: deque[T] | None = None
        emptied: list[str] = []
        for name, row in tenant.lines.items():
            while row and not row[0].wanted(now_ns):
                dropped.append(row.popleft())
                self._count(tenant, dropped[-1], -1)
            if not row:
                emptied.append(name)
                continue
            if name not in open_:
                open_[name] = not blocked(row[0].line)
            if open_[name]:
                found = row
                break
        for name in emptied:
            del tenant.lines[name]
        return found
