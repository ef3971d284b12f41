"""Work that reads much of a log, in threads: so much of it at a time.

Guarantees: a piece of work counts until its thread has ended, also when nobody waits for it any more, so that callers
who ask and go away do not take the threads of all others. Does not: end what has begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Scans:
    """Those of one service."""

    def __init__(self, count_max: int) -> None:
        """None under way."""
        self._room = asyncio.Semaphore(count_max)

    async def run(self, work: Callable[[Unpack[Ts]], T], *arguments: *Ts) -> T:
        """What the work returns, when it has had its turn."""
        await self._room.acquire()
        running = asyncio.get_running_loop().run_in_executor(None, work, *arguments)
        running.add_done_callback(lambda _: self._room.release())
        return await asyncio.shield(running)


def threaded(work: Callable[[Unpack[Ts]], T], *arguments: *Ts) -> asyncio.Future[T]:
    """It begins at once, whatever else runs: for pieces of a bounded size."""
    return asyncio.get_running_loop().run_in_executor(None, work, *arguments)
