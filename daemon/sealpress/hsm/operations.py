"""How often each key was used, by our own count, and whether the token's own count agrees (GR-07).

An operation has its number before a worker has it, so we never know of fewer than a token did for us; what was answered
with a signature was done for certain. What a token counts must lie between the two. Where nothing is under way, the
next comparison begins there. Counts are kept in the signer's state; a signer that was killed does not know what it did
since it wrote them last, begins a new comparison, and says so.

Guarantees: the numbers of a key on a slot grow, across restarts too, unless the signer was killed. Does not: see who
else uses a token: that is what a difference shows.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

from msgspec import structs

from sealpress.hsm.state import Count, Counts, State
from sealpress.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class _Asked:
    """How a key stood when its token was asked."""

    begun: int
    done: int
    quiet: bool


class Operations:
    """Of all keys of one signer."""

    def __init__(self, state: State, telemetry: Telemetry) -> None:
        """As the state has them. Damaged if it cannot be written."""
        self._state = state
        self._telemetry = telemetry
        held = state.operations()
        self._counts = dict(held.keys)
        if not held.closed:
            self._counts = {name: structs.replace(one, token=None) for name, one in self._counts.items()}
            telemetry.operations_restarted(len(self._counts))
        self._under_way: Counter[str] = Counter()
        self._asked: dict[str, _Asked] = {}
        self._differs: dict[str, str] = {}
        self._kept = held
        self._keeping = threading.Lock()  # the last time they are kept a thread may still be at the time before
        self.keep(closed=False)

    def begin(self, slot: str, key: str, count: int) -> int:
        """So many are about to be handed to a worker of the slot; the number of the first of them."""
        name, held = self._held(slot, key)
        self._counts[name] = structs.replace(held, begun=held.begun + count)
        self._under_way[name] += count
        return held.begun + 1

    def end(self, slot: str, key: str, count: int, signed: int) -> None:
        """They are over, and so many of them are signatures."""
        name, held = self._held(slot, key)
        self._counts[name] = structs.replace(held, done=held.done + signed)
        self._under_way[name] -= count

    def number(self, slot: str, key: str) -> int:
        """Of the last operation."""
        return self._held(slot, key)[1].begun

    def ask(self, slot: str, key: str) -> None:
        """The token is asked for its count from now on."""
        name, held = self._held(slot, key)
        # Asked twice, it may answer the first time: what was done between the two is in doubt.
        self._asked.setdefault(name, _Asked(held.begun, held.done, not self._under_way[name]))

    def compare(self, slot: str, key: str, token: int) -> None:
        """It answered that it used the key so often."""
        name, held = self._held(slot, key)
        asked = self._asked.pop(name, None)
        if asked is None:
            return
        differs = ""
        if held.token is not None:
            least, most, told = asked.done - held.done_then, held.begun - held.begun_then, token - held.token
            if not least <= told <= most:
                differs = f"the token counts {told} operations since they last agreed, we know of {least} to {most}"
        if differs != self._differs.get(name, ""):
            self._telemetry.operations_compared(slot, key, differs)
        self._differs[name] = differs
        if held.token is None or (asked.quiet and asked.begun == held.begun and not differs):
            self._counts[name] = Count(held.begun, held.done, token, held.begun, held.done)

    def differs(self, slot: str, key: str) -> str:
        """What the token says otherwise; empty if nothing, or if it does not count."""
        return self._differs.get(_name(slot, key), "")

    def keep(self, *, closed: bool) -> None:
        """Write them down if they have changed; `closed`: this signer does nothing more. Damaged if that fails."""
        with self._keeping:
            counts = Counts(closed, dict(self._counts))
            if counts != self._kept:
                self._state.keep_operations(counts)
                self._kept = counts

    def _held(self, slot: str, key: str) -> tuple[str, Count]:
        name = _name(slot, key)
        return name, self._counts.get(name, Count())


def _name(slot: str, key: str) -> str:
    return f"{slot}\n{key}"
