"""Does a watcher hear of what changes, that somebody is still there, and does he leave in the end?"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sealpress.errors import Busy, Unavailable
from sealpress.rpc import watching
from sealpress.rpc.watching import Watchers


class Node:
    """As much of a flow as a watcher looks at: not stopped, not failed."""

    def __init__(self) -> None:
        """Governance says something."""
        self.shared = self
        self.draining = False
        self.failed = None
        self.snapshot = object()

    async def change(self) -> None:
        """Governance says something else all the time."""
        while True:
            self.snapshot = object()
            await asyncio.sleep(0)


@pytest.mark.parametrize("busy", [False, True])
def test_every_watcher_has_heartbeats_and_an_end(monkeypatch: pytest.MonkeyPatch, busy: bool) -> None:
    """So many heartbeats and no more, also where something that is not his changes all the time; he hears why."""
    monkeypatch.setattr(watching, "HEARTBEAT_S", 0.02)
    monkeypatch.setattr(watching, "HEARTBEATS_MAX", 5)
    node: Any = Node()

    async def scenario() -> list[bool]:
        changing = asyncio.create_task(node.change()) if busy else None
        wakes = []
        async with asyncio.timeout(5):
            with Watchers(node, 1, 0.004).watching() as watch, pytest.raises(Unavailable) as ended:
                async for beat in watch:
                    wakes.append(beat)
        assert ended.value.reason == "STREAM_ENDED"
        assert ended.value.retry_after_ms
        if changing is not None:
            changing.cancel()
        return wakes

    wakes = asyncio.run(scenario())

    assert wakes.count(True) == 5
    assert wakes[0] is False


@pytest.mark.parametrize(("what", "reason"), [("draining", "SHUTTING_DOWN"), ("failed", "LOG_UNAVAILABLE")])
def test_a_watcher_hears_that_the_daemon_stops(what: str, reason: str) -> None:
    """It does not look to him as if what he watches were over."""
    node: Any = Node()

    async def scenario() -> None:
        with Watchers(node, 1, 0.004).watching() as watch:
            async for _ in watch:
                setattr(node, what, True)

    with pytest.raises(Unavailable) as ended:
        asyncio.run(scenario())

    assert ended.value.reason == reason
    assert ended.value.retry_after_ms


def test_watchers_are_counted() -> None:
    """One more than there may be is refused, and has room when another has left."""
    node: Any = Node()
    watchers = Watchers(node, 1)
    with watchers.watching(), pytest.raises(Busy), watchers.watching():
        pass
    with watchers.watching():
        pass
