"""How a call ends that fails: its status, and nothing left behind for the collector."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from typing import Any

import grpc
import pytest

from sealpress.errors import Busy
from sealpress.rpc.interceptors import guarded

RETRIES = json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": {
    "maxAttempts": 3, "initialBackoff": "0.01s", "maxBackoff": "0.01s", "backoffMultiplier": 1,
    "retryableStatusCodes": ["RESOURCE_EXHAUSTED"]}}]})  # fmt: skip


class Full:
    """A service that has no room; it counts what it told."""

    def __init__(self) -> None:
        """Nobody was refused yet."""
        self.telemetry: Any = self
        self.told: list[str] = []
        self.error: weakref.ref[Exception] | None = None

    def errored(self, reason: str) -> None:
        """As telemetry has it."""
        self.told.append(reason)

    @guarded
    async def method(self, request: Any, context: Any) -> Any:
        """Refuses."""
        error = Busy("the queue is full", reason="QUEUE_FULL", retry_after_ms=5)
        self.error = weakref.ref(error)
        try:
            raise error
        finally:
            del error


async def _refused(service: Full) -> grpc.aio.AioRpcError:
    """What a client hears whose own policy is to try again."""
    server = grpc.aio.server()
    methods = {"method": grpc.unary_unary_rpc_method_handler(service.method)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    options = [("grpc.service_config", RETRIES)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/s/method")(b"")
    await server.stop(None)
    return caught.value


def test_a_refusal_leaves_no_cycle() -> None:
    """Code, text and delay are told, and the error is gone without a collection: refusals must not make pauses."""
    service = Full()
    gc.disable()
    try:
        heard = asyncio.run(_refused(service))
        assert service.error is not None
        left = service.error()
    finally:
        gc.enable()

    assert left is None
    assert (grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full") == (heard.code(), heard.details())
    assert b"QUEUE_FULL" in dict(heard.trailing_metadata() or ())["grpc-status-details-bin"]


def test_clients_try_again_by_their_own_policy() -> None:
    """A refusal comes alone, with nothing before it: after headers or a message no client's retry policy holds."""
    service = Full()
    asyncio.run(_refused(service))

    assert ["QUEUE_FULL"] * 3 == service.told
