"""The guard's account of the keys on its tokens: what may be used where, and how often it was.

Each worker looks at its token when it has opened it, and once a day after that (GR-01, GR-07); what it found goes to
the inventory, and the token's counts are compared with ours.

Guarantees: counts are on the disk a minute later, and when the signer ends, or it is said that they are not. Does not:
talk to workers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from sealpress.config import SlotSection
from sealpress.errors import Damaged
from sealpress.hsm import work as w
from sealpress.hsm.inventory import Inventory
from sealpress.hsm.keytable import GuardKey, KeyTable
from sealpress.hsm.operations import Operations
from sealpress.hsm.state import State
from sealpress.telemetry import Telemetry

KEEP_S = 60.0
LOOK_S = 86_400.0


class Accounts:
    """Of one guard."""

    def __init__(self, table: KeyTable, slots: Mapping[str, SlotSection], state: State, telemetry: Telemetry) -> None:
        """Nothing is known of any token yet; counts as the state has them. Damaged if it cannot be written."""
        self._table = table
        self._telemetry = telemetry
        self._inventory = Inventory(table, slots, telemetry)
        self._operations = Operations(state, telemetry)

    async def run(self, look: Callable[[], None]) -> None:
        """Until cancelled: keep the counts, and have `look` ask every slot's worker for its stock once a day."""
        loop = asyncio.get_running_loop()
        due = loop.time() + LOOK_S
        while True:
            await asyncio.sleep(KEEP_S)
            await asyncio.to_thread(self._keep, closed=False)
            if loop.time() >= due:
                due = loop.time() + LOOK_S
                look()

    def close(self) -> None:
        """No worker is at work any more."""
        self._keep(closed=True)

    def _keep(self, *, closed: bool) -> None:
        """What cannot be kept is told; a start without it says that it was not counted, so nobody need end for that."""
        try:
            self._operations.keep(closed=closed)
        except Damaged as failure:
            self._telemetry.operations_not_kept(failure.message, failure.hint)

    # ---- stock ----

    def ask(self, slot: str) -> None:
        """A worker is about to look at the slot's token."""
        for key in self._table.of_slot(slot):
            self._operations.ask(slot, key.name)

    def take(self, slot: str, stock: w.Stock) -> None:
        """What it found."""
        self._inventory.take(slot, stock)
        for name, key in stock.keys.items():
            if key.operations is not None:
                self._operations.compare(slot, name, key.operations)

    def usable(self, key: GuardKey) -> tuple[str, ...]:
        """The slots where the key is as its class demands."""
        return tuple(slot for slot in key.slots if not self._inventory.wrong(key.name, slot))

    def barred(self, key: GuardKey) -> bool:
        """Whether every one of its slots was looked at, and it is as its class demands on none."""
        return all(self._inventory.looked(slot) for slot in key.slots) and not self.usable(key)

    def strangers(self, slot: str) -> int:
        """Keys on the slot's token that may sign and that nobody configured."""
        return self._inventory.strangers(slot)

    def unmanaged(self, slot: str) -> tuple[str, ...] | None:
        """The first of them by name; None while nobody has looked at the token."""
        return self._inventory.named(slot)

    def counts(self, slot: str) -> dict[str, str] | None:
        """Keys of which the slot's token counts other operations than we do, and what it says; None as above."""
        if not self._inventory.looked(slot):
            return None
        told = {key.name: self._operations.differs(slot, key.name) for key in self._table.of_slot(slot)}
        return {name: differs for name, differs in told.items() if differs}

    def mechanism(self, key: GuardKey, slot: str) -> str:
        """What the slot's token is asked for; empty while nobody has looked at it."""
        return self._inventory.mechanism(key, slot)

    # ---- operations ----

    def begin(self, slot: str, key: str, count: int) -> int:
        """So many operations are about to be handed to the slot's worker; the number of the first of them."""
        return self._operations.begin(slot, key, count)

    def end(self, slot: str, key: str, count: int, signed: int) -> None:
        """They are over, and so many of them are signatures."""
        self._operations.end(slot, key, count, signed)

    def number(self, slot: str, key: str) -> int:
        """Of the last operation."""
        return self._operations.number(slot, key)
