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

# When to look for cycles, by generation. Ours make none, but each gRPC call has one of its own. A young collection
# looks at what was made since the last, calls under way included: often, so that each is a pause of milliseconds; the
# older generations, where hardly anything is found, seldom.
GC_OBJECTS = (2_000, 200, 10)


def settled() -> None:
    """What stands now stays: modules and tables of a started process are not looked through again and again."""
    gc.collect()
    gc.freeze()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to completion on uvloop."""
    gc.set_threshold(*GC_OBJECTS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
