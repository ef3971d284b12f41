"""What stands in a log's queue, as the decision when to cut sees it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kit.acme import ask, digest
from kit.governed import Governed, until
from sealpress.clock import SystemClock
from sealpress.config import Limits
from sealpress.errors import Busy
from sealpress.steps._gather import ENOUGH
from sealpress.steps._ticket import Ticket
from sealpress.steps.batch import Queue, Served
from sealpress.values import KeyClass


class _Ticket(Ticket):
    """A ticket with nothing but its place and size; somebody waits for it unless said otherwise."""

    __slots__ = ("_wanted",)

    def __init__(
        self, count: int, wanted: bool = True, tenant: str = "a", streamed: bool = False, line: str = "a/b/c/d/e"
    ) -> None:
        self.line: Any = SimpleNamespace(name=line, tenant=tenant)
        self.ask: Any = SimpleNamespace(count=count)
        self.cost = 512 + 32 * count
        self.streamed = streamed
        self._wanted = wanted

    def wanted(self, now_ns: int) -> bool:
        return self._wanted


def _free(_line: Served) -> bool:
    return False


def test_a_request_of_many_digests_is_enough_for_a_commit() -> None:
    """Ten thousand digests wait for nobody, one does; the sum follows every way into and out of the queue."""
    queue = Queue(Limits(batch_items_max=20_000, batch_bytes_max=1 << 20))
    for count in (1, 10_000, 10_000, 10_000):
        queue.put(_Ticket(count))
        assert (queue.work >= ENOUGH) == (len(queue) > 1)
    queue.put(_Ticket(1, wanted=False))
    full = queue.work
    taken, _ = queue.cut(0, _free)
    assert 0 < queue.work < full
    queue.put_back(taken)
    assert queue.work == full
    while taken:
        taken, _ = queue.cut(0, _free)
    assert (len(queue), queue.work) == (0, 0)
    queue.put(_Ticket(10_000))
    queue.drain()
    assert (len(queue), queue.work) == (0, 0)


def test_items_of_streams_are_counted_on_every_way() -> None:
    """What is put, cut, put back and thrown away: the items among them are known at any time."""
    queue = Queue(Limits(batch_items_max=3))
    for position in range(4):
        queue.put(_Ticket(1, streamed=position % 2 == 0))
    queue.put(_Ticket(1, wanted=False, streamed=True))
    assert (queue.work, queue.items) == (5, 3)
    taken, _ = queue.cut(0, _free)
    assert (queue.work, queue.items) == (2, 1)
    queue.put_back(taken)
    assert (queue.work, queue.items) == (5, 3)
    queue.cut(0, _free)
    queue.cut(0, _free)
    assert (queue.work, queue.items) == (0, 0)
    queue.put(_Ticket(1, streamed=True))
    queue.drain()
    assert (queue.work, queue.items) == (0, 0)


def test_requests_that_wait_take_no_more_than_their_bytes() -> None:
    """Who has his share of a full queue hears when to come back; a tenant with less of it, or nothing, is let in."""
    queue = Queue(Limits(requests_pending_max=4, requests_pending_bytes_max=10_000))
    queue.put(_Ticket(1_000))
    with pytest.raises(Busy, match="too many requests") as refused:
        queue.put(_Ticket(1))
    assert refused.value.reason == "QUEUE_FULL"
    assert refused.value.retry_after_ms > 0
    queue.put(_Ticket(1, tenant="b"))
    queue.put(_Ticket(1, tenant="b"))
    with pytest.raises(Busy, match="too many requests"):
        queue.put(_Ticket(150, tenant="b"))
    assert len(queue.cut(0, _free)[0]) == 3
    for _ in range(4):
        queue.put(_Ticket(1))
    with pytest.raises(Busy, match="too many requests"):
        queue.put(_Ticket(1, tenant="c"))


def test_tenants_one_after_the_other_have_their_shares_and_no_more() -> None:
    """Who fills a queue that others filled before him has a share of it: together 1 + 1/2 + ... of its bytes."""
    bytes_max, tenants = 100_000, 20
    queue = Queue(Limits(requests_pending_bytes_max=bytes_max))
    held = 0
    for tenant in range(tenants):
        with pytest.raises(Busy):
            while True:
                ticket = _Ticket(1, tenant=str(tenant))
                queue.put(ticket)
                held += ticket.cost
    assert bytes_max < held <= bytes_max * sum(1 / n for n in range(1, tenants + 1))


@pytest.mark.timing
def test_a_request_of_many_lines_costs_as_much_as_one_of_few() -> None:
    """A tenant may have any number of lines: each request is taken without a look at all of them."""

    def took_s(lines: int) -> float:
        queue = Queue(Limits())
        for number in range(4_000):
            queue.put(_Ticket(1, line=str(number % lines)))
        began = time.process_time()
        assert len(queue.cut(0, _free)[0]) == 4_000
        return time.process_time() - began

    few, many = (min(took_s(lines) for _ in range(3)) for lines in (1, 1_000))
    assert many < 5 * few


def test_lines_are_taken_in_turn_past_those_that_wait() -> None:
    """Of a tenant's lines each gives one; a blocked one keeps its place, one that nobody waits for is gone."""
    queue = Queue(Limits())
    for line in ("w", "x", "y", "z") * 2:
        queue.put(_Ticket(1, wanted=line != "y", line=line))
    taken, dropped = queue.cut(0, lambda line: line.name == "x")

    assert [ticket.line.name for ticket in taken] == ["w", "z", "w", "z"]
    assert [ticket.line.name for ticket in dropped] == ["y", "y"]
    assert [line.name for line in queue.lines()] == ["x"]
    assert [ticket.line.name for ticket in queue.cut(0, _free)[0]] == ["x", "x"]
    assert len(queue) == 0


async def _behind(place: Path) -> tuple[Any, int, Any]:
    """A token that does not come back: what ends the row for it, how many stand there, and what another line gets."""
    slow, quick = (f"acme/router/eu/test/{name}" for name in ("slow", "quick"))
    lines, limits = {slow: KeyClass.TEST, quick: KeyClass.TEST}, Limits(requests_pending_max=64, seal_pending_max=2)
    async with Governed(place, lines=lines, governed=False, limits=limits, clock=SystemClock()) as node:
        seal, back = node.signer.seal, asyncio.Event()

        async def hanging(origin: str, size: int, keys: list[str], *, hold: bool = False) -> Any:
            sealed = await seal(origin, size, keys, hold=hold)
            if keys == ["k-slow"]:
                await back.wait()
            return sealed

        node.signer.seal = hanging  # type: ignore[method-assign]
        line, asked, full = node.shared.lines[slow], list[Any](), None
        while full is None:
            task = asyncio.create_task(node.sign(ask(slow, digest(len(asked)))))
            await asyncio.sleep(0)
            if task.done():
                full = task.exception()
                continue
            asked.append(task)
            if len(asked) <= limits.seal_pending_max:
                await until(lambda: len(line.durable) == len(asked))
        waiting = len(line.log.queue)
        try:
            return full, waiting, await node.sign(ask(quick, digest("other")))
        finally:
            back.set()
            await asyncio.gather(*asked)


def test_a_line_that_is_behind_leaves_room_for_the_others(tmp_path: Path) -> None:
    """However many ask for a key whose token hangs, half of the queue is there for lines that can sign."""
    full, waiting, served = asyncio.run(_behind(tmp_path))

    assert isinstance(full, Busy)
    assert (full.reason, waiting) == ("QUEUE_FULL", 32)
    assert served.checkpoint
