"""Do many streams stay small together, and does none of them stand still for the others?"""

from __future__ import annotations

import asyncio
import math
from typing import Any

import grpc

from kit.token_desk import Desk
from sealpress.config import Limits
from sealpress.errors import Busy
from sealpress.rpc.interceptors import Callers
from sealpress.rpc.signing import SigningService
from sealpress.telemetry import Telemetry
from sealpress.v1 import signing_pb2 as pb
from sealpress.v1 import types_pb2

STREAMS, ITEMS = 50, 100
TOGETHER = 500
BOUND = TOGETHER * (1 + math.log(STREAMS * ITEMS / TOGETHER))
LIMITS = Limits(stream_items_pending_max=ITEMS, streams_items_pending_max=TOGETHER)
NOTHING: Any = None


class Full:
    """A flow that takes nothing up: every item is answered at once."""

    def begin(self, ask: Any, caller: Any) -> Any:
        """Refuses."""
        raise Busy("the queue is full", retry_after_ms=5)


class Wire:
    """The context of a call whose caller sends, but takes answers only if he reads."""

    def __init__(self, token: str, *, reads: bool) -> None:
        self.given = 0
        self.taken = 0
        self._reads = reads
        self._metadata = (("authorization", f"Bearer {token}"),)

    def peer(self) -> str:
        """As gRPC."""
        return "ipv4:127.0.0.1:4000"

    def auth_context(self) -> dict[str, list[bytes]]:
        """As gRPC."""
        return {}

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """As gRPC."""
        return self._metadata

    def time_remaining(self) -> float | None:
        """As gRPC."""
        return None

    def disable_next_message_compression(self) -> None:
        """As gRPC."""

    async def read(self) -> Any:
        """The next item."""
        if self.given == ITEMS:
            return grpc.aio.EOF
        self.given += 1
        digest = types_pb2.Digest(algorithm=types_pb2.DIGEST_ALGORITHM_SHA256, value=bytes(32))
        return pb.SignRequest(request_id=str(self.given), key="a/b/c/d/e", digest=digest)

    async def write(self, answer: bytes) -> None:
        """Takes it, or does not."""
        await (asyncio.sleep(0) if self._reads else asyncio.Event().wait())
        assert pb.SignResponse.FromString(answer).HasField("error")
        self.taken += 1


def test_streams_that_nobody_reads_are_bounded_together() -> None:
    """Beyond the bound over all each holds its share; who reads has all his answers, and who leaves gives room."""

    async def scenario() -> None:
        desk = Desk()
        telemetry = Telemetry(desk.clock)
        callers = Callers(desk.clock, telemetry, desk.tokens)
        service = SigningService(Full(), callers, LIMITS, telemetry)  # type: ignore[arg-type]
        token = desk.github.token()

        def begun(*, reads: bool) -> tuple[Wire, asyncio.Task[None]]:
            wire = Wire(token, reads=reads)
            return wire, asyncio.create_task(service.SignStream(NOTHING, wire))  # type: ignore[arg-type]

        for _ in range(2):
            silent = [begun(reads=False) for _ in range(STREAMS)]
            await asyncio.sleep(0.2)
            held = sum(wire.given - 1 for wire, _ in silent)  # each has read one that it does not take up
            assert TOGETHER <= held <= BOUND
            assert min(wire.given for wire, _ in silent) > TOGETHER // STREAMS

            reading, task = begun(reads=True)
            await asyncio.wait_for(task, 20)
            assert reading.taken == ITEMS

            for _, task in silent:
                task.cancel()
            await asyncio.gather(*(task for _, task in silent), return_exceptions=True)

        alone, task = begun(reads=False)
        await asyncio.sleep(0.1)
        assert alone.given == ITEMS
        task.cancel()

    asyncio.run(scenario())
