"""Does the caller of a streaming call hear what went wrong, on his own side and on the other?"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from sealpress.client import Client, aio
from sealpress.client.aio import AsyncClient, StreamItem
from sealpress.client.answers import LineInfo
from sealpress.client.config import ClientConfig
from sealpress.errors import Invalid, Malformed
from sealpress.v1 import audit_pb2, signing_pb2_grpc
from sealpress.v1 import signing_pb2 as pb
from sealpress.values import Format, Mode

LINE = LineInfo("a/b/c/d/e", Mode.DIRECT, Format.ECDSA_DER, "test", "active", b"", b"", "", (), "", "", None)
TIMES = 30  # it takes luck to break off at that moment
ITEM = StreamItem(bytes(32), request_id="one")
Scenario = Callable[[AsyncClient], Any]


class Server(signing_pb2_grpc.SigningServiceServicer):
    """Answers what nobody asked for."""

    async def SignStream(self, requests: Any, context: Any) -> AsyncIterator[pb.SignResponse]:  # noqa: N802
        """After the last item."""
        del context
        async for _ in requests:
            pass
        yield pb.SignResponse(request_id="another")

    async def SignContent(self, parts: Any, context: Any) -> pb.SignResponse:  # noqa: N802
        """After the last chunk."""
        del context
        async for _ in parts:
            pass
        return pb.SignResponse()


def connect_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of this test need no certificates."""
    monkeypatch.setattr(aio, "credentials", lambda _: None)
    monkeypatch.setattr(grpc.aio, "secure_channel", lambda to, _, **how: grpc.aio.insecure_channel(to, **how))


def heard(monkeypatch: pytest.MonkeyPatch, scenario: Scenario) -> BaseException:
    """What a scenario raises in a client of that server."""

    async def run() -> BaseException:
        server = grpc.aio.server()
        signing_pb2_grpc.add_SigningServiceServicer_to_server(Server(), server)  # type: ignore[no-untyped-call]
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        connect_in_the_clear(monkeypatch)
        async with AsyncClient(ClientConfig(signing=f"127.0.0.1:{port}", ca="")) as client:
            client._lines[LINE.line] = LINE
            with pytest.raises(BaseException) as caught:
                await scenario(client)
        await server.stop(None)
        return caught.value

    return asyncio.run(run())


async def stream(client: AsyncClient, items: Any) -> None:
    """Everything that is answered."""
    async for _ in client.sign_stream(items, line=LINE.line):
        pass


def test_what_the_caller_s_items_raise_reaches_him(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that fails is no cancelled call: the error is his own."""

    def items() -> Iterator[StreamItem]:
        yield from ()
        raise OSError("the list cannot be read")

    assert isinstance(heard(monkeypatch, lambda client: stream(client, items())), OSError)


def test_what_the_caller_s_content_raises_reaches_him(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for a file that cannot be read to its end."""

    def content() -> Iterator[bytes]:
        yield b"half"
        raise OSError("the disk is gone")

    assert isinstance(heard(monkeypatch, lambda client: client.sign_content(content(), line=LINE.line)), OSError)


def test_two_items_of_one_id_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could tell their answers apart."""
    assert isinstance(heard(monkeypatch, lambda client: stream(client, [ITEM, ITEM])), Malformed)


def test_an_answer_to_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that names another id is not believed, and said to be wrong."""
    error = heard(monkeypatch, lambda client: stream(client, [ITEM]))

    assert isinstance(error, Invalid)
    assert error.reason == "ANSWER"


def test_a_stream_that_is_broken_off_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who has read enough closes the client: no task stays behind on its loop, of which asyncio would tell."""

    def tail(request: Any, context: Any) -> Iterator[audit_pb2.TailResponse]:
        del request
        while context.is_active():
            yield audit_pb2.TailResponse(event=audit_pb2.LogEvent())

    connect_in_the_clear(monkeypatch)
    handlers = {"Tail": grpc.unary_stream_rpc_method_handler(tail, None, audit_pb2.TailResponse.SerializeToString)}
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_registered_method_handlers("sealpress.v1.AuditService", handlers)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    for _ in range(TIMES):
        with Client(ClientConfig(signing=f"127.0.0.1:{port}", ca="")) as client:
            next(client.tail())
    gc.collect()
    server.stop(None).wait()

    told = [record.getMessage() for record in caplog.records if record.name == "asyncio"]
    assert [text for text in told if text.startswith("Task")] == []  # gRPC's poller may come late to a closed loop
