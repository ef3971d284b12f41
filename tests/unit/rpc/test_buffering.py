"""Writes that wait for the next one, on the grpc that is installed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from sealpress.rpc import buffering

QUIET_S = 0.1


def test_what_is_buffered_leaves_with_the_next_answer_or_with_the_end() -> None:
    """A buffered answer reaches nobody by itself, and nobody misses it."""

    async def scenario() -> None:
        assert buffering.enable()
        go_on = asyncio.Event()

        async def answers(requests: AsyncIterator[bytes], context: Any) -> None:
            del requests
            await context.write(b"at once")
            buffering.buffer_next(context)
            await context.write(b"buffered")
            await go_on.wait()
            await context.write(b"next")
            buffering.buffer_next(context)
            await context.write(b"last")

        server = grpc.aio.server()
        handler = {"Method": grpc.stream_stream_rpc_method_handler(answers)}
        server.add_registered_method_handlers("test.Buffered", handler)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.stream_stream("/test.Buffered/Method")()
            assert await call.read() == b"at once"
            held = asyncio.create_task(call.read())
            await asyncio.wait([held], timeout=QUIET_S)
            assert not held.done()
            go_on.set()
            assert await held == b"buffered"
            assert [await call.read() for _ in range(3)] == [b"next", b"last", grpc.aio.EOF]
            assert await call.code() is grpc.StatusCode.OK
        await server.stop(None)

    asyncio.run(scenario())
