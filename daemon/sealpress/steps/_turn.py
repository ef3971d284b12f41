"""When a line's key works next: it has leaves that can still be signed, and room; or its last try failed.

Guarantees: leaves too old to be signed are recorded as lapsed; those of a key that was stopped rest, and their callers
hear of it; a key that became ready again is tried at once. Does not: sign, or settle.
"""

from __future__ import annotations

import asyncio

from sealpress.errors import Refusal
from sealpress.steps import _grounds, seal, settle
from sealpress.steps._pace import MILLISECONDS
from sealpress.steps._shared import Shared
from sealpress.steps._ticket import Line
from sealpress.tlog.record import NANOSECONDS


async def durable(shared: Shared, line: Line) -> None:
    """Until the line has leaves that can still be signed; those that cannot are recorded as lapsed."""
    while True:
        _lapse(shared, line)
        spare_ns = line.pace.spare_ns(shared.clock.monotonic_ns())
        if line.unasked and not held(shared, line) and spare_ns == 0:
            return
        line.changed.clear()
        if not line.durable:
            await line.changed.wait()
            continue
        if held(shared, line):
            for ticket in [ticket for durable in line.durable for ticket in durable.tickets]:
                ticket.turn_away(_grounds.key_stopped())
        timer: asyncio.TimerHandle | None = None
        if spare_ns and line.unasked:
            timer = asyncio.get_running_loop().call_later(spare_ns / NANOSECONDS, line.changed.set)
        try:
            await line.changed.wait()  # at a tick (_upkeep.py), its leaves may be too old to be signed
        finally:
            if timer is not None:
                timer.cancel()


def held(shared: Shared, line: Line) -> bool:
    """Whether its key was stopped, so that its leaves are not to be sealed."""
    return shared.office is not None and shared.office.held(line.key)


def _lapse(shared: Shared, line: Line) -> None:
    oldest = shared.clock.now_ns() // NANOSECONDS - shared.leaf_age_s_max
    while line.durable and line.durable[0].time < oldest and line.durable[0].end > line.asked:
        settle.lapse(shared, line, line.durable.popleft())
        line.log.changed.set()
    settle.lapse_left(shared, line, oldest)


def failed(shared: Shared, line: Line, error: Refusal) -> None:
    """Tell those who have waited long; their leaves stay, and a retry with the same id joins them."""
    shared.telemetry.seal_failed(line.name, error.reason, error.message)
    if error.reason == "NOT_WITNESSED" and shared.witnesses is not None:
        shared.witnesses.forget(line.log)
    elif error.reason != "NOT_COSIGNED":
        now_ns = shared.clock.monotonic_ns()
        told = _grounds.slot_full() if error.reason == seal.SLOT_FULL else _grounds.slot_down()
        line.turn_away(now_ns, now_ns - shared.slot_deadline_ms * MILLISECONDS, told)


async def again(shared: Shared, line: Line, wait_ms: int) -> None:
    """Until the next try: the delay, or as soon as the signer says that the key is ready again."""
    if shared.ready(line.key):
        await asyncio.sleep(wait_ms / 1000)
        return
    line.changed.clear()
    try:
        async with asyncio.timeout(wait_ms / 1000):
            await line.changed.wait()
    except TimeoutError:
        return
