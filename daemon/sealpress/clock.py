"""The only caller of time.*: everyone else is handed a Clock."""

from __future__ import annotations

import time


class SystemClock:
    """The machine's clock (ports.Clock)."""

    # Unix time, and CLOCK_MONOTONIC. The functions themselves: every request asks several times.
    now_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)
