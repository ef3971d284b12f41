"""Does the plain listener listen where [[listen]] says?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from aiohttp import web

from sealpress.errors import CannotStart
from sealpress.rpc.http import HttpServer

NO_HTTP = (
    b"\xff\xff\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /" + b"a" * 5_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 100 + b"\r\n",
)


@pytest.mark.parametrize(
    ("address", "bare"), [("[::1]", "::1"), ("127.0.0.1", "127.0.0.1"), ("localhost", "localhost")]
)
def test_an_ipv6_address_has_brackets(monkeypatch: pytest.MonkeyPatch, address: str, bare: str) -> None:
    """As in every other [[listen]]; the system is asked without them."""
    asked: list[str] = []
    create = asyncio.BaseEventLoop.create_server

    async def create_server(
        loop: asyncio.BaseEventLoop, factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> asyncio.Server:
        asked.append(host)
        return await create(loop, factory, "127.0.0.1", port)

    async def scenario() -> None:
        server = HttpServer([])
        assert await server.start(address, 0)
        await server.close()

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_server", create_server)
    asyncio.run(scenario())

    assert asked == [bare]


def test_an_address_of_another_machine_is_not_a_port_in_use() -> None:
    """Nobody looks for a process that has the port where there is none."""

    async def scenario() -> None:
        server = HttpServer([])
        with pytest.raises(CannotStart) as caught:
            await server.start("192.0.2.1", 9090)
        await server.close()
        assert "not an address of this machine" in caught.value.hint

    asyncio.run(scenario())


def test_what_is_no_http_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever can connect is answered 400, and writes nothing into our log; a bug of ours is told there."""

    async def wrong(_: web.Request) -> web.Response:
        raise RuntimeError("ours")

    async def answer(port: int, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        head = await reader.readline()
        writer.close()
        return head.partition(b" ")[2].strip()

    async def scenario() -> list[bytes]:
        server = HttpServer([web.get("/", wrong)])
        port = await server.start("127.0.0.1", 0)
        answers = [await answer(port, request) for request in (*NO_HTTP, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")]
        await server.close()
        return answers

    *bad, last = asyncio.run(scenario())

    assert bad == [b"400 Bad Request"] * len(NO_HTTP)
    assert last == b"500 Internal Server Error"
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["ours"]
