"""What waits for witnesses: a held line until its leaves are in a head that they cosigned; readers, once per interval.

Guarantees: nobody waits for witnesses longer than `hold_ms_max` without a word; an answer of a line that holds nothing
never waits. Does not: ask a witness (_witnesses.py does).
"""

from __future__ import annotations

import asyncio

from sealpress.steps._grounds import hold_timeout
from sealpress.steps._head import Witnessed
from sealpress.steps._pace import MILLISECONDS
from sealpress.steps._shared import Shared
from sealpress.steps._signer import Heads, Signer
from sealpress.steps._ticket import Line, LogState

TICK_S = 0.5  # how late HOLD_TIMEOUT may be


async def wait(shared: Shared, heads: Heads, signer: Signer, line: Line) -> Witnessed:
    """A head with the oldest leaves of a held line that the quorum has cosigned; until then its key rests.

    Callers who wait too long are told HOLD_TIMEOUT; their leaves stay, and a retry with the same id joins them.
    """
    assert shared.witnesses is not None
    hold = shared.witnesses.hold(heads, signer, line.log, line.durable[0].end)
    work = asyncio.get_running_loop().create_task(hold, name=f"holds {line.name}")
    try:
        while True:
            await asyncio.wait({work}, timeout=TICK_S)
            if work.done() and not work.exception():
                return work.result()
            now_ns = shared.clock.monotonic_ns()
            line.turn_away(now_ns, now_ns - shared.hold_ms_max * MILLISECONDS, hold_timeout())
            if work.done():
                return work.result()
    finally:
        work.cancel()


async def show(shared: Shared, log: LogState) -> None:
    """Have the log's newest head cosigned, once per interval; no answer waits for it."""
    assert shared.witnesses is not None
    while True:
        await asyncio.sleep(shared.witness_interval_ms / 1000)
        await shared.witnesses.show(log)
