"""Does the plain listener listen where [[listen]] says?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from sealpress.rpc.http import HttpServer


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
