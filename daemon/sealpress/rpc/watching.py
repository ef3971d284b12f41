"""Streams that follow governance: they look whether it changed, and send a heartbeat all the while.

Guarantees: so many of a service at a time at most, each for an hour at most; a stream that ends before what it follows
ends with an error, in whatever language it is read; a watcher that reads slowly holds up itself alone; a busy log costs
a watcher no more than a quiet one. Does not: queue: whoever wakes looks at the state of that moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from sealpress.errors import Busy, Unavailable
from sealpress.flow import Flow
from sealpress.steps import _grounds

WATCHERS_MAX = 256
LOOK_S = 0.2
HEARTBEAT_S = 10.0
HEARTBEATS_MAX = 360
AGAIN_MS = 1_000


class Watchers:
    """Those of one service."""

    def __init__(self, flow: Flow, count_max: int = WATCHERS_MAX, look_s: float = LOOK_S) -> None:
        """None yet; each looks every `look_s`."""
        self._flow = flow
        self._count_max = count_max
        self._look_s = look_s
        self._count = 0

    @contextmanager
    def watching(self) -> Iterator[AsyncIterator[bool]]:
        """Wake-ups: True for a heartbeat. The first comes at once. Busy WATCHERS_MAX; Unavailable at their end."""
        if self._count >= self._count_max:
            raise Busy(
                "too many watch already", reason="WATCHERS_MAX", hint="ask with a Get call", retry_after_ms=10_000
            )
        self._count += 1
        try:
            yield self._wakes()
        finally:
            self._count -= 1

    async def _wakes(self) -> AsyncIterator[bool]:
        shared = self._flow.shared
        beat = round(HEARTBEAT_S / self._look_s)
        seen = None
        for look in range(1, HEARTBEATS_MAX * beat + 1):
            if shared.failed is not None:
                raise _grounds.unavailable_log()
            if shared.draining:
                raise _grounds.stopping()
            if shared.snapshot is not seen:
                seen = shared.snapshot
                yield False
            if look % beat == 0:
                yield True
            await asyncio.sleep(self._look_s)
        raise Unavailable(
            "this call has lasted an hour, and what it follows goes on",
            reason="STREAM_ENDED",
            hint="call again: it begins with the state of that moment",
            retry_after_ms=AGAIN_MS,
        )
