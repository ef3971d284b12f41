"""How a node ends: what is under way comes to its end first; or the log has failed, and nothing more can.

Guarantees: after a failure nobody waits for an answer any more, and nobody is told that nothing was recorded. Does not:
stop the loops (flow does).
"""

from __future__ import annotations

import asyncio

from sealpress.errors import Damaged
from sealpress.steps import _grounds, _turn
from sealpress.steps._request import Phase
from sealpress.steps._shared import Shared
from sealpress.steps._ticket import LogState


async def quiet(shared: Shared, wait_ms_max: int) -> bool:
    """Wait until nothing is under way; False: it took too long."""
    try:
        async with asyncio.timeout(wait_ms_max / 1000):
            while _under_way(shared):
                for log in shared.logs.values():
                    log.hurry()
                await asyncio.sleep(0.005)
    except TimeoutError:
        return False
    return True


def _under_way(shared: Shared) -> bool:
    """Whether anything can still come to its end; not what waits under a stopped key."""
    if any(log.events or log.facts for log in shared.logs.values()):
        return True
    return any(not _turn.held(shared, ticket.line) for ticket in shared.live.values())


def fail(shared: Shared, log: LogState, error: Damaged) -> None:
    """Nothing more is signed by this process (DESIGN L10)."""
    shared.failed = error
    shared.telemetry.log_failed(log.id, error.message)
    for ticket in list(shared.live.values()):
        if ticket.phase is not Phase.DONE:
            ticket.fail(_grounds.outcome_unknown())
    for other in shared.logs.values():
        for pending in other.take_events():
            pending.on_failed(error)
        while other.facts:
            other.facts.popleft().on_failed(error)
