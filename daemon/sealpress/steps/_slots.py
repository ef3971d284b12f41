"""Slots as the signer tells of them: metrics, and a record in the governance log of each whose token lied.

Guarantees: a quarantine that began while this process heard the signer is recorded once (`alert.slot`), on a governed
node as a fact of governance. Does not: end one, or keep requests waiting for the record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from sealpress.errors import SealpressError
from sealpress.steps import _alerts
from sealpress.steps._state import Shared
from sealpress.steps._strangers import Strangers
from sealpress.telemetry import SlotSeen

QUARANTINED = "quarantined"
ALERT = "alert.slot"


class Slots:
    """Of one node."""

    def __init__(self, shared: Shared, known: Mapping[str, SlotSeen], file: Path) -> None:
        """`known`: as they are now; what is quarantined already has its record. `file`: of `_strangers`."""
        self._shared = shared
        self._known = dict(known)
        self._alerts: set[asyncio.Task[None]] = set()
        self._strangers = Strangers(shared, file)
        self._strangers.heard(known)
        shared.telemetry.slots(known)

    def begin(self) -> None:
        """Facts can be written from now on."""
        self._strangers.begin()

    def close(self) -> None:
        """The node ends."""
        self._strangers.close()

    def heard(self, slots: Mapping[str, SlotSeen]) -> None:
        """The signer's newest word; of a slot that it does not name (it is not connected) the last word stays."""
        self._shared.telemetry.slots(slots)
        self._strangers.heard(slots)
        for name, slot in slots.items():
            before = self._known.get(name)
            self._known[name] = slot
            if slot.state == QUARANTINED and (before is None or before.state != QUARANTINED):
                task = asyncio.get_running_loop().create_task(self._alert(name, slot.reason))
                self._alerts.add(task)
                task.add_done_callback(self._alerts.discard)

    async def _alert(self, slot: str, reason: str) -> None:
        text = f"its token gave out what it never should have ({reason}): it gets no work until it is seen to be well"
        try:
            await _alerts.record(self._shared, ALERT, slot, text)
        except SealpressError as error:
            self._shared.telemetry.tick_failed(error.reason, error.message)
