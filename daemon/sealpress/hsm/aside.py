"""Blocking work that the event loop waits for, one piece at a time, on a thread of its own.

The loop hears of its end by an eventfd: for work as short as the write of a mark, an executor's futures would cost as
much as the work.

Guarantees: what `begin` was given is worked on once, and `on_end` is called on the loop with None or what was raised.
Does not: queue: the next piece begins when the last has ended.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class Aside(Generic[T]):
    """One thread and what it does; `begin` and `close` on the loop."""

    def __init__(self, work: Callable[[T], None], on_end: Callable[[Exception | None], None], name: str) -> None:
        """Needs a running loop."""
        self._work = work
        self._on_end = on_end
        self._given: SimpleQueue[T | None] = SimpleQueue()
        self._failed: Exception | None = None  # of the last piece; the thread's until the loop hears of its end
        self._ended = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        asyncio.get_running_loop().add_reader(self._ended, self._heard)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def begin(self, piece: T) -> None:
        """Work on it; nothing else may be under way."""
        self._given.put(piece)

    def close(self) -> None:
        """Waits for what is under way, of which nobody hears any more."""
        self._given.put(None)
        self._thread.join()
        asyncio.get_running_loop().remove_reader(self._ended)
        os.close(self._ended)

    def _run(self) -> None:
        while (piece := self._given.get()) is not None:
            try:
                self._work(piece)
                self._failed = None
            except Exception as error:
                self._failed = error
            os.eventfd_write(self._ended, 1)

    def _heard(self) -> None:
        os.eventfd_read(self._ended)
        self._on_end(self._failed)
