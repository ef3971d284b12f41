"""Begin a coroutine at once, and wait for the rest of it later: what a task does, without its way through the loop.

Guarantees: what a coroutine does before it first waits is done when `begun` returns, and its error, if it has one by
then, is raised here. Does not: run it further by itself: whoever got the rest awaits it, or makes it a task; closing
the rest closes the coroutine. A coroutine that asks for the current task in its first step (asyncio.timeout) is not for
this.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

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


async def _rest(call: Coroutine[Any, Any, T], waits_for: Any) -> T:
    """A coroutine of its own: since Python 3.12 a task is made of nothing else."""
    return await _HandedOn(call, waits_for)


class _HandedOn(Generic[T]):
    """Hands on what the call waits for, and what comes of that, as `await` does."""

    __slots__ = ("_call", "_waits_for")

    def __init__(self, call: Coroutine[Any, Any, T], waits_for: Any) -> None:
        self._call = call
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, T]:
        call, waits_for = self._call, self._waits_for
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
