"""How much may a caller send ahead of a daemon that does not read? On the grpc that is installed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from sealpress.config import Limits
from sealpress.rpc import accepting, server

METHOD = "/test.Windows/Upload"
PART = bytes(64 << 10)
READ_BYTES = 16 << 20  # quickly, so that a probe of the way would find it wide
BLOCKED_S = 0.4


async def _ahead_bytes() -> int:
    """What one who uploads as fast as it goes has sent when the server, which read READ_BYTES, reads no more."""
    end = asyncio.Event()

    async def upload(parts: AsyncIterator[bytes], context: Any) -> bytes:
        del context
        left = READ_BYTES
        async for part in parts:
            left -= len(part)
            if left <= 0:
                break
        await end.wait()
        return b""

    serving = accepting.server(server.options(Limits()))
    handlers = {"Upload": grpc.stream_unary_rpc_method_handler(upload)}
    serving.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Windows", handlers),))
    port = serving.add_insecure_port("127.0.0.1:0")
    await serving.start()
    sent = 0
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.stream_unary(METHOD)()
        try:
            while True:
                await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(call.write(PART))), BLOCKED_S)
                sent += len(PART)
        except TimeoutError:
            end.set()
        await call
    await serving.stop(None)
    return sent - READ_BYTES


def test_the_window_of_a_call_does_not_grow() -> None:
    """However fast a caller was, he sends no more than two windows ahead of what was read."""
    assert 0 < asyncio.run(_ahead_bytes()) <= 2 * server.WINDOW_BYTES
