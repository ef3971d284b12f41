"""Does a stream end for its caller, when nothing comes of what he asked?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2

from sealpress.client import Client, aio, connection
from sealpress.client.aio import AsyncClient
from sealpress.client.answers import LineInfo
from sealpress.client.config import ClientConfig
from sealpress.client.stream import StreamItem
from sealpress.errors import TimedOut
from sealpress.v1 import audit_pb2, signing_pb2_grpc
from sealpress.v1 import signing_pb2 as pb
from sealpress.values import Format, Mode

LINE = LineInfo("a/b/c/d/e", Mode.DIRECT, Format.ECDSA_DER, "test", "active", b"", b"", "", (), "", "", None)
PATIENCE_S = 0.4
LONGER_S = 1.6 * PATIENCE_S


class Dumb(signing_pb2_grpc.SigningServiceServicer):
    """Takes what comes; answers with an error, but for the last of `count` items."""

    def __init__(self, count: int) -> None:
        """So many come."""
        self._count = count

    async def SignStream(self, requests: Any, context: Any) -> AsyncIterator[pb.SignResponse]:  # noqa: N802
        """Holds the stream open."""
        del context
        seen = 0
        async for request in requests:
            seen += 1
            if seen < self._count:
                yield pb.SignResponse(request_id=request.request_id, error=status_pb2.Status(code=3))
        if seen == self._count:
            await asyncio.sleep(60)


@pytest.fixture(autouse=True)
def _in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of this test need no certificates."""
    monkeypatch.setattr(connection, "credentials", lambda _: None)
    monkeypatch.setattr(grpc.aio, "secure_channel", lambda to, _, **how: grpc.aio.insecure_channel(to, **how))


def answered(service: Dumb, items: AsyncIterator[StreamItem], pause_s: float = 0.0) -> tuple[list[str], str]:
    """The ids with an answer, for each of which its reader takes his time, and why there are no more."""

    async def run() -> tuple[list[str], str]:
        server = grpc.aio.server()
        signing_pb2_grpc.add_SigningServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        found: list[str] = []
        try:
            async with AsyncClient(ClientConfig(signing=f"127.0.0.1:{port}", ca=""), timeout_s=PATIENCE_S) as client:
                client._lines[LINE.line] = LINE
                async for answer in client.sign_stream(items, line=LINE.line):
                    found.append(answer.item.request_id)
                    await asyncio.sleep(pause_s)
        except TimedOut as error:
            return found, error.reason
        finally:
            await server.stop(None)
        return found, ""

    return asyncio.run(run())


async def coming(count: int, pause_s: float = 0.0) -> AsyncIterator[StreamItem]:
    """So many, with a pause before each."""
    for number in range(count):
        await asyncio.sleep(pause_s)
        yield StreamItem(bytes(32), request_id=str(number))


def test_an_answer_that_never_comes_ends_a_stream() -> None:
    """As a call ends: with DEADLINE, when the client's time is over, and with all answers that came."""
    began_s = time.monotonic()

    assert (["0", "1"], "DEADLINE") == answered(Dumb(3), coming(3))
    assert time.monotonic() - began_s < 4 * PATIENCE_S


def test_a_stream_waits_for_items_as_long_as_its_caller() -> None:
    """Where nothing is under way, nobody is late; nor while an answer is being read."""
    assert (["0", "1"], "") == answered(Dumb(99), coming(2, LONGER_S))
    assert (["0", "1"], "") == answered(Dumb(99), coming(2), LONGER_S)


def test_a_tail_that_falls_silent_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that follows sends heartbeats: three are waited for, however little time the client gives its calls."""
    monkeypatch.setattr(aio, "TAIL_SILENT_S", PATIENCE_S)

    def tail(request: Any, context: Any) -> Any:
        del request
        yield audit_pb2.TailResponse(event=audit_pb2.LogEvent(seq=1), next_seq=2)
        while context.is_active():
            time.sleep(0.05)

    handlers = {"Tail": grpc.unary_stream_rpc_method_handler(tail, None, audit_pb2.TailResponse.SerializeToString)}
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_registered_method_handlers("sealpress.v1.AuditService", handlers)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with Client(ClientConfig(signing=f"127.0.0.1:{port}", ca=""), timeout_s=PATIENCE_S / 100) as client:
        events = client.tail(follow=True)
        assert next(events).seq == 1
        begun_s = time.monotonic()
        with pytest.raises(TimedOut, match="nothing was heard"):
            next(events)
        assert time.monotonic() - begun_s >= PATIENCE_S
    server.stop(None).wait()
