"""What the inner code needs from the outside, as small contracts. Doubles in tests/kit implement and police them."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Wall and monotonic time; tests give virtual time."""

    def now_ns(self) -> int:
        """Unix time in nanoseconds; may step."""
        ...

    def monotonic_ns(self) -> int:
        """Never goes back; unknown epoch."""
        ...


class Entropy(Protocol):
    """Unpredictable bytes; tests give a seed."""

    def bytes(self, size: int) -> bytes:
        """`size` fresh bytes."""
        ...


class Approver(Protocol):
    """A person whose approval was counted, and the groups he belongs to."""

    @property
    def person(self) -> str:
        """`person:alice`."""
        ...

    @property
    def groups(self) -> tuple[str, ...]:
        """Of the approval path."""
        ...
