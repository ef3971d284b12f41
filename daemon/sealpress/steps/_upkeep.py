"""What time does by itself, beside the life of requests: terms end, a disk fills up, a state is kept for a start.

Guarantees: never raises but Damaged; a log that fills up is told once each time. Does not: end anything (flow does).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from sealpress.errors import Damaged, Refusal
from sealpress.steps import seal
from sealpress.steps._shared import Governing, Shared
from sealpress.steps._signer import Heads, Signer
from sealpress.steps._ticket import LogState
from sealpress.tlog.record import NANOSECONDS
from sealpress.tlog.space import Level

TICK_S = 1.0
STEP_NS = NANOSECONDS  # a clock that stands so far behind its log was set back


class Upkeep:
    """Of one node. Owned by the event loop."""

    def __init__(self, shared: Shared, heads: Mapping[str, Heads], signer: Signer) -> None:
        """`heads`: by log id."""
        self._shared = shared
        self._heads = heads
        self._signer = signer

    async def ticks(self) -> None:
        """The clockwork of governance, once a second, and a signed head for the facts that it made."""
        office, log = self._shared.office, self._shared.governance
        assert office is not None
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await office.tick()
                if log.facts_size > log.signed_size and not self._heads[log.id].opens:
                    await seal.seal_log(self._heads[log.id], self._signer, log)
            except (Refusal, OSError) as error:  # the second: no room for the snapshot file
                self._shared.telemetry.tick_failed(getattr(error, "reason", "SNAPSHOT"), str(error))

    async def watch(self, log: LogState) -> None:
        """Tell of a log that fills up, and of a clock set back, once each time; have lines look at their leaves."""
        shared, told, back = self._shared, Level.ROOM, False
        while True:
            log.log.reader.let_go()
            behind_ns = log.log.behind_ns
            if behind_ns >= STEP_NS and not back:
                shared.telemetry.clock_stepped_back(log.id, behind_ns)
            back = behind_ns >= STEP_NS
            room, level = log.log.space.room(), log.log.space.level()
            shared.telemetry.space(log.id, room.share(), room.left)
            if level is not told:
                shared.telemetry.space_turned(log.id, level.name.lower(), room.share(), room.left)
                if level is Level.ALERT and told is Level.ROOM and shared.office is not None:
                    await self._alert(shared.office, log, room.share())
                told = level
            for line in log.lines:
                if line.durable or line.left:  # they may have grown too old
                    line.changed.set()
            await asyncio.sleep(TICK_S)

    async def keep(self, wait_ms_max: int) -> None:
        """The state of governance in a file, so that the next start is quick; without it that one takes longer."""
        office = self._shared.office
        if office is None or self._shared.failed is not None:
            return
        try:
            async with asyncio.timeout(wait_ms_max / 1000):
                await office.keep()
        except (TimeoutError, OSError, Refusal, Damaged) as error:
            self._shared.telemetry.tick_failed("SNAPSHOT", str(error))

    async def _alert(self, office: Governing, log: LogState, share: float) -> None:
        try:
            await office.alert("alert.log.space", log.id, f"{share:.0%} of the log's space are used")
        except Refusal as error:
            self._shared.telemetry.tick_failed(error.reason, error.message)
