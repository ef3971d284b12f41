"""Does the caller of a streaming call hear what went wrong, on his own side and on the other?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest

from sealpress.client import aio
from sealpress.client.aio import AsyncClient, StreamItem
from sealpress.client.answers import LineInfo
from sealpress.client.config import ClientConfig
from sealpress.errors import Invalid, Malformed
from sealpress.v1 import signing_pb2 as pb
from sealpress.v1 import signing_pb2_grpc
from sealpress.values import Format, Mode

LINE = LineInfo("a/b/c/d/e", Mode.DIRECT, Format.ECDSA_DER, "test", "active", b"", b"", "", (), "", "", None)
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


def heard(monkeypatch: pytest.MonkeyPatch, scenario: Scenario) -> BaseException:
    """What a scenario raises in a client of that server."""

    async def run() -> BaseException:
        server = grpc.aio.server()
        signing_pb2_grpc.add_SigningServiceServicer_to_server(Server(), server)  # type: ignore[no-untyped-call]
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        monkeypatch.setattr(aio, "credentials", lambda _: None)
        monkeypatch.setattr(grpc.aio, "secure_channel", lambda to, _, **how: grpc.aio.insecure_channel(to, **how))
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
