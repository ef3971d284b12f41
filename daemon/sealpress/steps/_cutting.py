"""When the next batch of a log is cut: there is something to commit, and nobody is worth waiting for any more.

Guarantees: facts of governance and urgent records wait for nobody; requests of a line that is too far behind wait for
its key, unless they would be refused. Does not: cut (batch.py), or know when a crowd is complete (_gather.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sealpress.ports import Clock
from sealpress.steps._shared import Shared
from sealpress.steps._ticket import LogState
from sealpress.steps.batch import Served
from sealpress.tlog.record import NANOSECONDS


def blocked(shared: Shared, line: Served) -> bool:
    """Whether a line's requests must wait; not where they would be refused."""
    if shared.snapshot.governed and line.name not in shared.snapshot.keys:
        return False
    return len(shared.lines.get(line.name, line).durable) >= shared.limits.seal_pending_max


async def work(log: LogState, blocked: Callable[[Served], bool]) -> None:
    """Until there is something to commit."""
    while not log.facts and not (log.events and log.urgent) and not log.queue.has_work(blocked):
        log.changed.clear()
        await log.changed.wait()


async def gathered(log: LogState, blocked: Callable[[Served], bool], clock: Clock) -> None:
    """Until it is time to cut (_gather.py). Facts of governance and urgent records wait for nobody."""
    gather, queue = log.gather, log.queue

    def wait_ns() -> int:
        if log.facts or (log.events and log.urgent):
            return 0
        paces = [line.pace for line in log.queue.lines() if not blocked(line)]
        free_ns, each_ns = min([(pace.due_ns, pace.each_ns) for pace in paces], default=(0, 0))
        return gather.wait_ns(clock.monotonic_ns(), queue.work, free_ns, each_ns, queue.items)

    gather.waiting = True
    try:
        while wait_ns() > 0:
            log.changed.clear()
            await _changed(log.changed, wait_ns)
    finally:
        gather.waiting = False


async def _changed(event: asyncio.Event, wait_ns: Callable[[], int]) -> None:
    """Until it is set, or nothing is left to wait for: which is asked again each time without a turn of the task."""
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None

    def look() -> None:
        nonlocal timer
        left_ns = wait_ns()
        if left_ns > 0:
            timer = loop.call_later(left_ns / NANOSECONDS, look)
        else:
            event.set()

    look()
    try:
        await event.wait()
    finally:
        if timer is not None:
            timer.cancel()
