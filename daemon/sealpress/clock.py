"""The only caller of time.*: everyone else is handed a Clock."""

from __future__ import annotations

import time


class SystemClock:
    """The machine's clock (ports.Clock)."""

    def now_ns(self) -> int:
        """Unix time in nanoseconds."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC in nanoseconds."""
        return time.monotonic_ns()
