"""One SignStream: items come in, answers go out in the order of completion, and neither waits for the other.

No item has a task: it waits in its ticket as an `_Item`, which puts its answer into the row of what is to be written.
The answers of a batch are so made one after the other before any is written, wake the writer once and leave together
(buffering.py). Made and sent each by itself, between two turns of the loop, they would cost twice as much.

Guarantees: at most `stream_items_pending_max` items are under way or unwritten, the stream is read no faster; when all
streams together have `streams_items_pending_max`, each is read up to its share of them only, so that callers who do not
read hold that many times 1 + ln(the sum of their bounds / that many), and nobody stands still for them; an item that
fails is answered with its error and does not end the stream; when the stream ends early, nobody waits for its items any
more. Does not: decide (flow does) or check fields (convert does).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import grpc
from google.protobuf.message import DecodeError

from sealpress.config import Limits
from sealpress.core.answer import Answers
from sealpress.errors import Refusal
from sealpress.flow import Flow
from sealpress.rpc import convert, status
from sealpress.rpc.buffering import buffer_next
from sealpress.rpc.interceptors import Context
from sealpress.steps._request import Caller, Settled
from sealpress.steps._ticket import Ticket
from sealpress.telemetry import Telemetry
from sealpress.v1 import signing_pb2 as pb

TOGETHER = 8  # answers in one write at most: the caller is at work on them while the next are made ready


async def ended_whole(context: Context) -> None:
    """After the last message: cancelled if the caller did not end there, but went away.

    To a reader grpc.aio tells both alike, and cancels the method some time later. Headers can be sent in one case only.
    """
    try:
        await context.send_initial_metadata(())
    except grpc.aio.InternalError:
        raise asyncio.CancelledError from None


class _Item:
    """A request of the stream that waits for its ticket (steps/_request.py `Waiter`)."""

    __slots__ = ("_stream", "answer", "request_id", "ticket")

    def __init__(self, request_id: str, stream: Stream) -> None:
        self._stream = stream
        self.request_id = request_id
        self.ticket: Ticket | None = None
        self.answer = b""  # as it goes over the wire; nothing is empty there

    def done(self) -> bool:
        return bool(self.answer)

    def set_result(self, settled: Settled) -> None:
        self.answer = self._stream.settled(self.request_id, settled)
        self._stream.take(self)

    def set_exception(self, error: BaseException) -> None:
        # Not kept: an error whose frames hold the item would be a cycle.
        self.answer = self._stream.failed(self.request_id, error)
        self._stream.take(self)


class Streams:
    """What all streams have under way or unwritten, and how much more one may read."""

    __slots__ = ("_count", "_items", "limits")

    def __init__(self, limits: Limits) -> None:
        """There are none yet."""
        self.limits = limits
        self._count = 0
        self._items = 0

    def room(self, pending: int) -> bool:
        """Whether a stream that has so many may have another: its own bound, its share if all together are full."""
        limits = self.limits
        if pending >= limits.stream_items_pending_max:
            return False
        most = limits.streams_items_pending_max
        return self._items < most or pending < max(1, most // self._count)  # so who waits has some, and they wake him

    def opened(self) -> None:
        """One more."""
        self._count += 1

    def closed(self, pending: int) -> None:
        """One less, and what it had."""
        self._count -= 1
        self._items -= pending

    def read(self) -> None:
        """An item came."""
        self._items += 1

    def written(self) -> None:
        """An answer left."""
        self._items -= 1


class Stream:
    """One call of SignStream."""

    def __init__(self, flow: Flow, answers: Answers, streams: Streams, telemetry: Telemetry, context: Context) -> None:
        """Nothing was read yet."""
        self._flow = flow
        self._answers = answers
        self._streams = streams
        self._limits = streams.limits
        self._telemetry = telemetry
        self._context = context
        self._under_way: set[_Item] = set()  # they wait for their tickets ...
        self._tasks: set[asyncio.Task[Settled]] = set()  # ... or for what comes before one
        self._pending = 0  # those, and the answers that are not written yet
        self._answered: deque[_Item] = deque()
        self._word = asyncio.Event()  # there is something to write, or to end
        self._room = asyncio.Event()
        self._ended = False  # nothing more will be read

    async def run(self, caller: Callable[[], Caller]) -> None:
        """Until everything that came is answered; `caller`: who asks, as of now. Cancelled if the caller went away."""
        gone = unreadable = False
        self._streams.opened()
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._write())
                await self._read(caller)
        except* grpc.aio.InternalError:  # a write failed, which may be known before gRPC has cancelled the method
            gone = True
        except* DecodeError:
            unreadable = True
        finally:
            self._streams.closed(self._pending)
            for item in self._under_way:
                if item.ticket is not None:
                    self._flow.leave(item.ticket, item)
            tasks, self._tasks = self._tasks, set()
            for task in tasks:
                task.cancel()
        if gone:
            raise asyncio.CancelledError
        if unreadable:
            raise DecodeError

    def take(self, item: _Item) -> None:
        """It is answered, or failed: the writer's."""
        self._under_way.discard(item)
        self._answered.append(item)
        self._word.set()

    def settled(self, request_id: str, settled: Settled) -> bytes:
        """The answer with its proof or signature."""
        try:
            return convert.sign_response(settled, self._answers)
        except Exception as error:
            return self.failed(request_id, error)

    def failed(self, request_id: str, error: BaseException) -> bytes:
        """The answer that says so."""
        refusal = status.to_refusal(error)
        if not isinstance(error, Refusal):
            self._telemetry.internal("SignStream", error)
        self._telemetry.errored(refusal.reason)
        return convert.error_response(request_id, refusal, self._limits)

    async def _read(self, caller: Callable[[], Caller]) -> None:
        read, streams = self._context.read, self._streams
        while (request := await read()) is not grpc.aio.EOF:
            while not streams.room(self._pending):
                self._room.clear()
                await self._room.wait()
            self._pending += 1
            streams.read()
            self._begin(request, caller)
        self._ended = True
        self._word.set()

    def _begin(self, request: pb.SignRequest, caller: Callable[[], Caller]) -> None:
        item = _Item(request.request_id, self)
        try:
            begun = self._flow.begin(convert.sign_ask(request, self._limits), caller(), streamed=True)
        except Exception as error:
            item.set_exception(error)
            return
        self._under_way.add(item)
        if isinstance(begun, Ticket):
            item.ticket = begun
            begun.join(item)
            return
        task = asyncio.get_running_loop().create_task(begun)
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._later(item, ended))

    def _later(self, item: _Item, task: asyncio.Task[Settled]) -> None:
        """What had to come before a ticket, and the ticket, have come to their end."""
        if task not in self._tasks:
            return  # the stream is over
        self._tasks.remove(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            item.set_exception(error)
        else:
            item.set_result(task.result())

    async def _write(self) -> None:
        answered, write = self._answered, self._context.write
        room = 0  # for answers to be buffered before one leaves; none before the first (buffering.py)
        while not self._ended or self._pending:
            if not answered:
                self._word.clear()
                await self._word.wait()
                continue
            item = answered.popleft()
            if item.ticket is not None:
                self._flow.leave(item.ticket, item)
            if answered and room:
                buffer_next(self._context)
                room -= 1
            else:
                room = TOGETHER - 1
            await write(item.answer)
            self._pending -= 1
            self._streams.written()
            self._room.set()
