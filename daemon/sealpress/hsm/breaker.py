"""When a slot gets work: the circuit breaker of one slot, and how long one waits before the next try.

    closed      ──ERRORS within the window──►  open         ──the wait is over──►  half open
    half open   ──one good answer──►           closed       ──one bad answer──►    open, for longer
    any         ──a wrong signature──►         quarantined  ──the longest wait──►  half open, CLEAN good answers
    any         ──a repeated nonce──►          quarantined  ──a person only──►     half open

Guarantees: rules only: no I/O, no clock, no task; half open, one operation at a time is let through. Does not: replace
workers or make probes (slot.py does).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

CLEAN = 3  # good answers in a row that end a quarantine


class Phase(StrEnum):
    """How a slot is."""

    CLOSED = "closed"  # as with a fuse: closed is when it works
    OPEN = "open"
    HALF_OPEN = "half_open"
    QUARANTINED = "quarantined"  # open, because the token lied


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """So many errors within so long a time open it; times in nanoseconds."""

    errors: int
    window_ns: int


class Backoff:
    """Waits that double up to a bound, with full jitter between the least one and that."""

    def __init__(self, least_ms: int, most_ms: int, random: Callable[[], float]) -> None:
        """`random`: a number in [0, 1)."""
        self._least_ms = least_ms
        self._most_ms = max(least_ms, most_ms)
        self._random = random
        self._bound_ms = least_ms

    @property
    def most_ms(self) -> int:
        """The longest wait."""
        return self._most_ms

    def next_ms(self) -> float:
        """How long to wait now; the next one may be twice as long."""
        wait_ms = self._least_ms + self._random() * (self._bound_ms - self._least_ms)
        self._bound_ms = min(2 * self._bound_ms, self._most_ms)
        return wait_ms

    def reset(self) -> None:
        """All is well again."""
        self._bound_ms = self._least_ms


class Breaker:
    """Of one slot. Times are of the monotonic clock, in nanoseconds."""

    def __init__(self, limits: BreakerLimits, on_turn: Callable[[Phase, str], None]) -> None:
        """Closed. `on_turn` hears of each new phase and its reason."""
        self._limits = limits
        self._on_turn = on_turn
        self._errors: deque[int] = deque(maxlen=limits.errors)
        self._demanded = self._missing = 1  # good answers in a row until it closes
        self.phase = Phase.CLOSED
        self.reason = ""
        self.opened = 0  # how often
        self.trips = 0  # the same, and what went wrong while it was open

    @property
    def passes(self) -> bool:
        """Whether work may go to the slot."""
        return self.phase in (Phase.CLOSED, Phase.HALF_OPEN)

    @property
    def trusts(self) -> bool:
        """Whether more than one operation may be under way."""
        return self.phase is Phase.CLOSED

    def worked(self) -> None:
        """The token answered well."""
        if self.phase is Phase.HALF_OPEN:
            self._missing -= 1
            if self._missing <= 0:
                self._errors.clear()
                self._turn(Phase.CLOSED, "")

    def failed(self, now_ns: int, reason: str) -> None:
        """An error of the token, a deadline that passed, a worker that is gone."""
        if self.phase is Phase.HALF_OPEN:
            self._open(Phase.OPEN, reason, self._demanded)
        elif self.phase is Phase.CLOSED:
            self._errors.append(now_ns)
            if len(self._errors) == self._limits.errors and now_ns - self._errors[0] <= self._limits.window_ns:
                self._open(Phase.OPEN, reason, 1)

    def quarantine(self, reason: str) -> None:
        """The token gave out something that it never should have."""
        self._open(Phase.QUARANTINED, reason, CLEAN)

    def half_open(self) -> None:
        """The wait is over: let one operation through."""
        if not self.passes:
            self._turn(Phase.HALF_OPEN, self.reason)

    def _open(self, phase: Phase, reason: str, demanded: int) -> None:
        self.trips += 1
        self.opened += self.passes
        self._demanded = self._missing = demanded
        if (phase, reason) != (self.phase, self.reason):
            self._turn(phase, reason)

    def _turn(self, phase: Phase, reason: str) -> None:
        self.phase, self.reason = phase, reason
        self._on_turn(phase, reason)
