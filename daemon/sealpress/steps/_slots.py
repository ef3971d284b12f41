"""Slots as the signer tells of them: metrics, and a record in the governance log of each whose token lied.

Guarantees: a quarantine that began while this process heard the signer is recorded once (`alert.slot`), on a governed
node as a fact of governance, as soon as the log takes it. Does not: end one, keep requests waiting for the record, or
record one after a restart that its log had no room for before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from sealpress.errors import Damaged, SealpressError
from sealpress.steps import _alerts
from sealpress.steps._shared import Shared
from sealpress.steps._strangers import Strangers
from sealpress.telemetry.slots import SlotSeen

QUARANTINED = "quarantined"
ALERT = "alert.slot"
RETRY_S = 1.0  # a log that is full, or a governed node that has no trust anchors yet


class Slots:
    """Of one node."""

    def __init__(self, shared: Shared, known: Mapping[str, SlotSeen], file: Path) -> None:
        """`known`: as they are now; what is quarantined already has its record. `file`: of `_strangers`."""
        self._shared = shared
        self._known = dict(known)
        self._alerts: dict[tuple[str, str], asyncio.Task[None]] = {}  # by slot and reason: not yet in the log
        self._strangers = Strangers(shared, file)
        self._strangers.heard(known)
        shared.telemetry.slots(known)

    def begin(self) -> None:
        """Facts can be written from now on."""
        self._strangers.begin()

    def close(self) -> None:
        """The node ends."""
        self._strangers.close()
        for task in self._alerts.values():
            task.cancel()

    def heard(self, slots: Mapping[str, SlotSeen]) -> None:
        """The signer's newest word; of a slot that it does not name (it is not connected) the last word stays."""
        self._shared.telemetry.slots(slots)
        self._strangers.heard(slots)
        for name, slot in slots.items():
            before = self._known.get(name)
            self._known[name] = slot
            if slot.state == QUARANTINED and (before is None or before.state != QUARANTINED):
                self._alarm(name, slot.reason)

    def _alarm(self, slot: str, reason: str) -> None:
        known = self._alerts.get((slot, reason))
        if known is None or known.done():
            self._alerts[slot, reason] = asyncio.get_running_loop().create_task(self._alert(slot, reason))

    async def _alert(self, slot: str, reason: str) -> None:
        text = f"its token gave out what it never should have ({reason}): it gets no work until it is seen to be well"
        while True:
            try:
                if await _alerts.record(self._shared, ALERT, slot, text):
                    return
            except Damaged:
                return  # nothing is recorded any more
            except SealpressError as error:
                self._shared.telemetry.tick_failed(error.reason, error.message)
            await asyncio.sleep(RETRY_S)
