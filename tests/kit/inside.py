"""The daemon of a node in the test's own process, on a disk that the test can make fail."""

from __future__ import annotations

import asyncio
from typing import Any

from kit.disk import FaultDisk
from kit.node import Node
from sealpress.config import load
from sealpress.wiring.dev import write_clients
from sealpress.wiring.serve import Daemon


async def start_inside(node: Node, disk: FaultDisk) -> tuple[Daemon, asyncio.Task[int]]:
    """A daemon that serves, and its run: what that raises or answers is how it ended."""
    daemon = Daemon(load(node.config), node.config, as_json=False, disk=disk.address)
    life = asyncio.create_task(daemon.run())
    ready: dict[str, Any] = {}
    while not ready:
        await asyncio.sleep(0.02)
        ready = dict(daemon.addresses)
    write_clients(node.directory, ready)
    return daemon, life
