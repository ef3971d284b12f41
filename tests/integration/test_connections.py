"""Is the number of connections bounded, also of those that never say who they are?"""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

import pytest

from kit.node import Node

CONNECTIONS_MAX = 3


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
        assert [closed_by_peer(connection, 15) for connection in silent] == [True] * CONNECTIONS_MAX
        with node.client() as client:
            assert client.sign(bytes(32)).proof
