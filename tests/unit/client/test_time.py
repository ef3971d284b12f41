"""Has a call of the client an end, and is it the caller's?"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import pytest

from sealpress.client import aio, connection
from sealpress.client.aio import AsyncClient
from sealpress.client.config import ClientConfig
from sealpress.errors import SealpressError
from sealpress.v1 import signing_pb2 as pb
from sealpress.v1 import signing_pb2_grpc, types_pb2

LINE = "a/b/c/d/e"


class Slow(signing_pb2_grpc.SigningServiceServicer):
    """Takes its time to tell of a key, and never signs: no answer, or that it is busy."""

    def __init__(self, busy: bool) -> None:
        """`busy`: says so at once."""
        self.busy = busy

    async def GetKey(self, request: Any, context: Any) -> pb.GetKeyResponse:  # noqa: N802
        """After a while."""
        await asyncio.sleep(0.3)
        return pb.GetKeyResponse(key=types_pb2.Key(line=LINE, mode="direct", format="ecdsa-der"))

    async def Sign(self, request: Any, context: Any) -> pb.SignResponse:  # noqa: N802
        """Never."""
        if self.busy:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")
        await asyncio.sleep(20)
        return pb.SignResponse()


@pytest.mark.parametrize("busy", [False, True])
def test_a_call_is_over_when_its_caller_has_no_more_time(monkeypatch: pytest.MonkeyPatch, busy: bool) -> None:
    """What is looked up first, attempts and waits between them all count: nobody waits longer than he said."""
    monkeypatch.setattr(aio, "ATTEMPT_S", 0.2)
    monkeypatch.setattr(connection, "credentials", lambda _: None)
    monkeypatch.setattr(grpc.aio, "secure_channel", lambda to, _, **how: grpc.aio.insecure_channel(to, **how))

    async def run() -> float:
        server = grpc.aio.server()
        signing_pb2_grpc.add_SigningServiceServicer_to_server(Slow(busy), server)  # type: ignore[no-untyped-call]
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with AsyncClient(ClientConfig(signing=f"127.0.0.1:{port}", ca=""), timeout_s=0.8) as client:
            began_s = time.monotonic()
            with pytest.raises(SealpressError):
                await client.sign(bytes(32), line=LINE)
            took_s = time.monotonic() - began_s
        await server.stop(None)
        return took_s

    assert asyncio.run(run()) < 1.2
