"""Slots as the signer tells of them: metrics, and a record in the governance log of each whose token lied.

Guarantees: a quarantine that began while this process heard the signer is recorded once (`alert.slot`), on a governed
node as a fact of governance. Does not: end one, or keep requests waiting for the record.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence

from sealpress.errors import SealpressError
from sealpress.governance import facts as f
from sealpress.steps._state import FactGroup, Shared
from sealpress.telemetry import SlotSeen
from sealpress.tlog.entry import GovernanceEvent

QUARANTINED = "quarantined"
ALERT = "alert.slot"


class Slots:
    """Of one node."""

    def __init__(self, shared: Shared, known: Mapping[str, SlotSeen]) -> None:
        """`known`: as they are now; what is quarantined already has its record."""
        self._shared = shared
        self._known = dict(known)
        self._alerts: set[asyncio.Task[None]] = set()
        shared.telemetry.slots(known)

    def heard(self, slots: Mapping[str, SlotSeen]) -> None:
        """The signer's newest word; of a slot that it does not name (it is not connected) the last word stays."""
        self._shared.telemetry.slots(slots)
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
            if self._shared.office is not None:
                await self._shared.office.alert(ALERT, slot, text)
            else:
                await _record(self._shared, f.AlertRaised(name=ALERT, subject=slot, text=text))
        except SealpressError as error:
            self._shared.telemetry.tick_failed(error.reason, error.message)


async def _record(shared: Shared, fact: f.AlertRaised) -> None:
    """The same record in the log of a node that nobody governs."""
    recorded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    body = f.body_of(fact)
    event = GovernanceEvent(f.kind_of(fact), body, hashlib.sha256(body).digest())

    def durable(placed: Sequence[object], committed: object) -> None:
        del placed, committed
        recorded.set_result(None)

    shared.governance.propose(FactGroup([event], False, durable, recorded.set_exception))
    await recorded
