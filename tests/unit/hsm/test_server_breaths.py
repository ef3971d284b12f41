"""The guard's socket: what is answered at once takes turns, too."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import cast

from sealpress.hsm import frames as f
from sealpress.hsm import messages as m
from sealpress.hsm.guard import Guard, Reply
from sealpress.hsm.server import CALLS_MAX, GuardServer

CALLS = 4 * CALLS_MAX


class Ready:
    """A guard that answers at once, and counts how often it does before the loop comes around."""

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()
        self.breath = self.longest = 0

    def watch(self, on_change: Callable[[], None]) -> None:
        """Nothing changes."""

    def status(self, id_: int) -> m.StatusView:
        """Of no log and no key."""
        return m.StatusView(id_, "1", {}, {}, {}, {})

    def handle(self, ask: m.Ask, reply: Reply) -> None:
        """The status."""
        if not self.breath:
            asyncio.get_running_loop().call_soon(self._around)
        self.breath += 1
        self.longest = max(self.longest, self.breath)
        reply(self.status(getattr(ask, "id", 0)))

    def _around(self) -> None:
        self.breath = 0


async def test_one_chunk_of_small_calls_neither_holds_the_loop_nor_fills_memory(tmp_path: Path) -> None:
    """A call of 20 bytes has an answer of many kilobytes: no more of them are made before the first are sent."""
    guard, answered = Ready(), list[int]()
    server = GuardServer(cast("Guard", guard), tmp_path / "s.sock", [])
    await server.start()
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s.sock"))
    frames = f.Frames(m.answer_decoder)
    writer.write(f.frame(f.Hello(f.VERSION)) + b"".join(f.frame(m.Status(id_)) for id_ in range(1, CALLS + 1)))
    while len(answered) < CALLS:
        for answer in frames.feed(await reader.read(1 << 16)):
            if isinstance(answer, m.StatusView) and answer.id:
                answered.append(answer.id)
    writer.close()
    await server.close()
    assert (list(range(1, CALLS + 1)), True) == (answered, guard.longest <= CALLS_MAX)
