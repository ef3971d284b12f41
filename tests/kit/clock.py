"""Virtual time: moves only when a test says so."""

from __future__ import annotations


class VirtualClock:
    """ports.Clock; the wall may step, the monotonic side refuses to go back."""

    def __init__(self, now_s: float = 1_800_000_000.0) -> None:
        """Both sides start at given values; the monotonic one at 0."""
        self._now_ns = int(now_s * 1_000_000_000)
        self._monotonic_ns = 0

    def now_ns(self) -> int:
        """Unix time."""
        return self._now_ns

    def monotonic_ns(self) -> int:
        """Time that passed."""
        return self._monotonic_ns

    def advance(self, seconds: float) -> None:
        """Time passes."""
        assert seconds >= 0
        self._now_ns += int(seconds * 1_000_000_000)
        self._monotonic_ns += int(seconds * 1_000_000_000)

    def step(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self._now_ns += int(seconds * 1_000_000_000)
