"""The time of day for commands, which have no clock of their own."""

from __future__ import annotations

from sealpress.clock import SystemClock

NANOSECONDS = 1_000_000_000


def now_s() -> int:
    """Unix seconds."""
    return SystemClock().now_ns() // NANOSECONDS
