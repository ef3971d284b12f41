"""What do uploads cost in memory? As much as is on its way, however long they are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from bench.usage import MIB, anonymous_bytes
from kit.node import PROOF, Node

UPLOADS = 8
CONTENT_MIB = 32
EACH_MIB_MAX = 10  # of an upload: chunks that were read, and what its connection has in hand
CHUNK = bytes(MIB)


def content(sizes: list[int], pid: int) -> Iterator[bytes]:
    """One upload; every few chunks somebody looks at the daemon's memory."""
    for number in range(CONTENT_MIB):
        if number % 8 == 0:
            sizes.append(anonymous_bytes(pid))
        yield CHUNK


async def upload(node: Node, sizes: list[int], count: int) -> None:
    """So many at once, each on a connection of its own."""
    pid = node.children["serve"].process.pid
    clients = [node.aclient(timeout_s=60) for _ in range(count)]
    await asyncio.gather(*(client.sign_content(content(sizes, pid), line=PROOF) for client in clients))
    for client in clients:
        await client.close()


def test_memory_of_uploads_is_bounded() -> None:
    """Eight uploads of 32 MiB at once: the daemon never holds more than 10 MiB of each."""
    with Node() as node:
        asyncio.run(upload(node, [], 1))
        before = anonymous_bytes(node.children["serve"].process.pid)
        sizes: list[int] = []
        asyncio.run(upload(node, sizes, UPLOADS))

    grown = (max(sizes) - before) / MIB
    assert len(sizes) == UPLOADS * CONTENT_MIB // 8
    assert grown <= UPLOADS * EACH_MIB_MAX
