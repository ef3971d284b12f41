"""How a call ends that fails: its status, and nothing left behind for the collector."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import grpc

from sealpress.errors import Busy
from sealpress.rpc.interceptors import guarded


class Context:
    """What a refused call says to gRPC."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.said: dict[str, Any] = {}

    def set_code(self, code: grpc.StatusCode) -> None:
        """The code."""
        self.said["code"] = code

    def set_details(self, text: str) -> None:
        """The message."""
        self.said["message"] = text

    def set_trailing_metadata(self, metadata: Any) -> None:
        """The rich status."""
        self.said["metadata"] = metadata


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


def test_a_refusal_leaves_no_cycle() -> None:
    """Code, text and delay are told, and the error is gone without a collection: refusals must not make pauses."""
    service, context = Full(), Context()
    gc.disable()
    try:
        answer = asyncio.run(service.method(None, context))  # type: ignore[arg-type]
        assert service.error is not None
        left = service.error()
    finally:
        gc.enable()

    assert left is None
    assert answer is None
    assert (grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full") == (
        context.said["code"],
        context.said["message"],
    )
    assert b"QUEUE_FULL" in context.said["metadata"][0][1]
    assert ["QUEUE_FULL"] == service.told
