"""Which event loop runs: the only mention of uvloop.

Guarantees: `run` returns what the coroutine returned. Does not: install a policy for anybody else.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")

GC_OBJECTS = 50_000  # allocations between young collections: the hot path makes few cycles


def settled() -> None:
    """What stands now stays: modules and tables of a started process are not looked through again and again."""
    gc.collect()
    gc.freeze()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to completion on uvloop."""
    gc.set_threshold(GC_OBJECTS, 20, 50)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
