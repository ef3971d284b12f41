"""Begin a coroutine at once, and wait for the rest of it later: what a task does, without its way through the loop.

Guarantees: what a coroutine does before it first waits is done when `begun` returns, and its error, if it has one by
then, is raised here. Does not: run it further by itself: whoever got the rest awaits it, or makes it a task; closing
the rest closes the coroutine. A coroutine that asks for the current task in its first step (asyncio.timeout) is not for
this.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def begun(call: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
    """What is left of the call."""
    try:
        waits_for = call.send(None)
    except StopIteration as done:
        return _done(done.value)
    return _rest(call, waits_for)


async def _done(value: T) -> T:
    return value


@coroutine
def _rest(call: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    """Hand on what it waits for, and what comes of that, as `await` does."""
    try:
        while True:
            try:
                came = yield waits_for
            except BaseException as error:
                waits_for = call.throw(error)
            else:
                waits_for = call.send(came)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
