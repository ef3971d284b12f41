"""Is a coroutine that was begun at once the same call as one that is awaited?"""

from __future__ import annotations

import asyncio
import inspect

import pytest

from sealpress.hsm.begun import begun


async def test_begun_runs_to_the_first_wait_and_no_further() -> None:
    """What stands before the first wait is done when `begun` returns; the rest is done when it is awaited."""
    loop, seen = asyncio.get_running_loop(), []

    async def call() -> int:
        seen.append("begun")
        one = loop.create_future()
        loop.call_soon(one.set_result, 20)
        first = await one
        await asyncio.sleep(0)
        return first + 1

    rest = begun(call())
    assert seen == ["begun"]
    assert inspect.iscoroutine(rest)  # what a task is made of, in every version of Python
    assert await rest == 21


async def test_what_is_raised_while_it_waits_reaches_the_call() -> None:
    """A cancelled task, and a future that fails, are heard inside the call as with `await`."""
    loop, heard = asyncio.get_running_loop(), []
    failing = loop.create_future()

    async def call() -> None:
        try:
            await failing
        except ValueError:
            heard.append("error")
        try:
            await loop.create_future()
        finally:
            heard.append("cancelled")

    task = asyncio.create_task(begun(call()))
    failing.set_exception(ValueError())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert heard == ["error", "cancelled"]


async def test_a_call_that_never_waits_has_its_result_or_its_error_at_once() -> None:
    """An error before the first wait is raised by `begun`; a result is what awaiting the rest gives."""

    async def call(error: Exception | None) -> int:
        if error is not None:
            raise error
        return 1

    with pytest.raises(ValueError, match="no"):
        begun(call(ValueError("no")))
    assert await begun(call(None)) == 1
