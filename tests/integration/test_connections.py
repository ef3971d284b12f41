"""Is the number of connections bounded, also of those that never say who they are? Do clients come back?"""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import ExitStack

import pytest

from kit.node import Node
from sealpress.errors import TransportError

CONNECTIONS_MAX = 3
TRIES = 5  # of a client's, in some three seconds


def closed_by_peer(connection: socket.socket, wait_s: float) -> bool:
    """Whether the other side hangs up within this time."""
    connection.settimeout(wait_s)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


@pytest.mark.timing
def test_connections_beyond_the_bound_are_closed() -> None:
    """The bound counts silent ones, too; they are hung up on after ten seconds, and then there is room again."""
    with Node(settings={"limits": {"connections_max": CONNECTIONS_MAX}}) as node, ExitStack() as stack:
        host, _, port = node.ready["signing"].rpartition(":")
        silent = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(CONNECTIONS_MAX)]
        time.sleep(0.5)
        beyond = stack.enter_context(socket.create_connection((host, int(port))))

        assert closed_by_peer(beyond, 3)
        with node.client(attempts_max=1) as client, pytest.raises(TransportError) as closed:
            client.sign(bytes(32))
        assert closed.value.reason == "CONNECTION_LOST"  # which is asked again, as a refused certificate is not
        assert [closed_by_peer(connection, 15) for connection in silent] == [True] * CONNECTIONS_MAX
        with node.client() as client:
            assert client.sign(bytes(32)).proof


async def test_each_retry_of_a_client_tries_to_connect() -> None:
    """While nobody answers at the daemon's address each retry knocks there; once the daemon is back, it is found."""
    knocks = 0

    async def knock(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal knocks
        knocks += 1
        writer.close()

    with Node() as node:
        mine = {"address": node.ready["signing"], "services": ["signing", "audit"], "auth": "mtls"}
        node.configure({"listen": [mine]})  # the same again after its restart
        host, _, port = node.ready["signing"].rpartition(":")
        async with node.aclient() as client:
            await client.sign(bytes(32))
            await asyncio.to_thread(node.kill, "serve")
            door = await asyncio.start_server(knock, host, int(port))
            call = asyncio.create_task(client.sign(bytes([1]) * 32))
            await asyncio.sleep(4)
            door.close()
            await door.wait_closed()
            await asyncio.to_thread(node.start, "serve")
            assert (await call).proof
    assert knocks >= TRIES


@pytest.mark.timing
async def test_who_begins_in_a_restart_is_served() -> None:
    """A job whose first call finds nobody at the address knocks again for three seconds, no longer."""
    with Node() as node:
        mine = {"address": node.ready["signing"], "services": ["signing", "audit"], "auth": "mtls"}
        node.configure({"listen": [mine]})
        await asyncio.to_thread(node.kill, "serve")
        async with node.aclient() as client:
            call = asyncio.create_task(client.sign(bytes(32)))
            await asyncio.sleep(0.3)
            assert not call.done()
            await asyncio.to_thread(node.start, "serve")
            assert (await call).proof
        await asyncio.to_thread(node.kill, "serve")
        began = time.monotonic()
        async with node.aclient() as client:
            with pytest.raises(TransportError) as nobody:
                await client.sign(bytes(32))
        assert nobody.value.reason == "UNREACHABLE"
        assert time.monotonic() - began < 3 * 3.1
