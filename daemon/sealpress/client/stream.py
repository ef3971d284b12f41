"""What a streaming call carries: items in, answers out, and those that a call left behind for the next one.

Guarantees: each of the caller's items is taken once, and sent again by what comes after a call that broke; what goes
wrong on the caller's own side is kept for him; who waits for an answer is told when none comes. Does not: connect, or
judge answers.
"""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sealpress.client.answers import Signed, sign_request
from sealpress.errors import Malformed, SealpressError, TimedOut
from sealpress.v1 import signing_pb2
from sealpress.values import Artifact, DigestAlgorithm

UNNAMED = Artifact()
LOOKS = 8  # in the time that a call may be silent


@dataclass(frozen=True, slots=True)
class StreamItem:
    """One item of `sign_stream`."""

    digest: bytes
    algorithm: DigestAlgorithm = DigestAlgorithm.SHA256
    request_id: str = ""
    artifact: Artifact = UNNAMED


@dataclass(frozen=True, slots=True)
class StreamAnswer:
    """What became of one item: `signed`, or `error` and the stream goes on."""

    item: StreamItem
    signed: Signed | None
    error: SealpressError | None


class Sent:
    """The messages of a call; when they cannot be made, gRPC says no more than that the call was cancelled."""

    def __init__(self, messages: AsyncIterator[Any]) -> None:
        """Of the caller."""
        self._messages = messages
        self.error: Exception | None = None
        self.whole = False  # they have all left

    async def __aiter__(self) -> AsyncIterator[Any]:
        """For gRPC."""
        try:
            async for message in self._messages:
                yield message
            self.whole = True
        except Exception as error:
            self.error = error
            raise


class Source:
    """The caller's items, each once, whatever becomes of the call that was to carry it."""

    def __init__(self, items: AsyncIterator[StreamItem] | Iterable[StreamItem]) -> None:
        """Takes nothing yet."""
        self._later = items if isinstance(items, AsyncIterator) else None
        self._now = iter(()) if isinstance(items, AsyncIterator) else iter(items)
        self._next: asyncio.Task[StreamItem | None] | None = None

    async def take(self, over: asyncio.Future[None]) -> StreamItem | None:
        """The next one; None: there are no more, or `over` is done, and whoever comes next gets it."""
        if over.done():
            return None
        if self._later is None:
            return next(self._now, None)
        if self._next is None:
            self._next = asyncio.ensure_future(self._one(self._later))
        await asyncio.wait((self._next, over), return_when=asyncio.FIRST_COMPLETED)
        if over.done():
            return None
        taken, self._next = self._next, None
        return taken.result()

    @staticmethod
    async def _one(items: AsyncIterator[StreamItem]) -> StreamItem | None:
        return await anext(items, None)

    def close(self) -> None:
        """Nothing more is wanted."""
        if self._next is not None:
            self._next.cancel()


async def patient(call: Any, silent_s: float, awaited: Callable[[], bool]) -> AsyncIterator[Any]:
    """What a call answers; TimedOut once nothing was heard for so long while something was awaited.

    Keep-alive does not see to it: it tells of the machine, and of a process whose answers never come it tells nothing.
    """
    loop = asyncio.get_running_loop()
    since_s, late = loop.time(), False
    timer: asyncio.TimerHandle

    def look() -> None:
        nonlocal since_s, late, timer
        if not awaited():
            since_s = max(since_s, loop.time())
        late = loop.time() - since_s >= silent_s
        if late:
            call.cancel()
        else:
            timer = loop.call_later(silent_s / LOOKS, look)

    timer = loop.call_later(silent_s / LOOKS, look)
    try:
        async for answer in call:
            since_s = math.inf  # whoever reads it has all the time that he wants
            yield answer
            since_s = loop.time()
    except asyncio.CancelledError:
        if not late:
            raise
        raise TimedOut(f"nothing was heard for {silent_s:g} s", hint="ask again with the same request ids") from None
    finally:
        timer.cancel()


def end(over: asyncio.Future[None]) -> None:
    """A call that waits for `over` takes nothing more."""
    if not over.done():
        over.set_result(None)


async def requests(
    line: str, source: Source, under_way: dict[str, StreamItem], over: asyncio.Future[None]
) -> AsyncIterator[signing_pb2.SignRequest]:
    """What an earlier call left without an answer, then what is new, until `over`."""
    for identifier, left in list(under_way.items()):
        yield sign_request(identifier, line, left.algorithm, left.digest, left.artifact, 0)
    while (item := await source.take(over)) is not None:
        identifier = item.request_id or uuid.uuid4().hex
        if identifier in under_way:
            raise Malformed(f"{identifier} is under way already", hint="each item has an id of its own")
        under_way[identifier] = item
        yield sign_request(identifier, line, item.algorithm, item.digest, item.artifact, 0)
