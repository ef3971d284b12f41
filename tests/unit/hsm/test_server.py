"""The guard's socket: calls of one front end are bounded, none is lost, and they begin in their order."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from sealpress.errors import CannotStart
from sealpress.hsm import frames as f
from sealpress.hsm import messages as m
from sealpress.hsm.guard import Guard, Reply
from sealpress.hsm.link import SignerLink
from sealpress.hsm.server import CALLS_MAX, CONNECTIONS_MAX, GuardServer

CALLS = 3 * CALLS_MAX + 7


class Held:
    """A guard whose calls come to no end before they may; then at once."""

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()
        self.begun: list[int] = []
        self.at_once = self.at_once_max = 0
        self.may_end = False
        self._held: list[tuple[int, Reply]] = []

    def watch(self, on_change: Callable[[], None]) -> None:
        """Nothing changes."""

    def status(self, id_: int) -> m.StatusView:
        """Of no log and no key."""
        return m.StatusView(id_, "1", {}, {}, {}, {})

    def handle(self, ask: m.Ask, reply: Reply) -> None:
        """Done, when it may be."""
        assert not isinstance(ask, f.Hello)
        self.begun.append(ask.id)
        if isinstance(ask, m.Advance) and not ask.size:
            reply(m.Refused(ask.id, "NOT_GROWN", "no"))
            return
        if isinstance(ask, m.Advance):
            # Its mark is durable before the token has signed.
            asyncio.get_running_loop().call_soon(reply, m.Done(ask.id))
            return
        if isinstance(ask, m.Stop):
            reply(m.Done(ask.id))
            return
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        self._held.append((ask.id, reply))
        if self.may_end:
            self.end()

    def end(self) -> None:
        """Those that are held, and from now on each as it comes."""
        self.may_end = True
        held, self._held = self._held, []
        for number, reply in held:
            self.at_once -= 1
            reply(m.Done(number))


@asynccontextmanager
async def connected(guard: Held, directory: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A server before this guard, and one front end's connection."""
    server = GuardServer(cast("Guard", guard), directory / "s.sock", [])
    await server.start()
    reader, writer = await asyncio.open_unix_connection(str(directory / "s.sock"))
    try:
        yield reader, writer
    finally:
        writer.close()
        await server.close()


async def test_a_signer_leaves_anothers_socket_alone(tmp_path: Path) -> None:
    """A second one with the same path does not start, and the first goes on; what a dead one left is taken away."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s.sock"))
    async with connected(Held(), tmp_path):
        with pytest.raises(CannotStart, match="another signer listens here"):
            await GuardServer(cast("Guard", Held()), tmp_path / "s.sock", []).start()
        _, writer = await asyncio.open_unix_connection(str(tmp_path / "s.sock"))
        writer.close()


async def test_more_calls_than_are_begun_at_a_time_wait_and_all_are_answered(tmp_path: Path) -> None:
    """Beyond CALLS_MAX a front end's calls wait in their order; when the first end, the others follow."""
    guard = Held()
    async with connected(guard, tmp_path) as (reader, writer):
        frames = f.Frames(m.answer_decoder)
        answered: list[int] = []

        async def read(count: int) -> None:
            while len(answered) < count:
                for answer in frames.feed(await reader.read(1 << 16)):
                    if isinstance(answer, m.Done):
                        answered.append(answer.id)

        writer.write(f.frame(f.Hello(f.VERSION)))
        for number in range(1, CALLS + 1):
            writer.write(f.frame(m.Probe(number)))
            if number % 100 == 0:
                await asyncio.sleep(0)  # in several pieces
        async with asyncio.timeout(10):
            while len(guard.begun) < CALLS_MAX:  # noqa: ASYNC110  # another task's list
                await asyncio.sleep(0.001)
            guard.end()
            await read(CALLS)

    assert guard.begun == list(range(1, CALLS + 1))
    assert sorted(answered) == guard.begun
    assert guard.at_once_max == CALLS_MAX


async def test_an_advance_is_answered_with_the_seal_under_it(tmp_path: Path) -> None:
    """Whoever sent both is woken once, when the seal is answered; one alone, or refused, is answered at once."""
    guard = Held()
    async with connected(guard, tmp_path) as (reader, writer):
        frames = f.Frames(m.answer_decoder)

        async def told() -> list[int]:
            """Of one chunk."""
            chunk = frames.feed(await reader.read(1 << 16))
            return [answer.id for answer in chunk if isinstance(answer, m.Done | m.Refused)]

        writer.write(f.frame(f.Hello(f.VERSION)))
        assert await told() == []
        writer.write(f.frame(m.Advance(1, "log", 1, bytes(32), b"", 0)))
        alone = await told()
        writer.write(f.frame(m.Advance(2, "log", 2, bytes(32), b"", 0)) + f.frame(m.Seal(3, "log", 2, ())))
        asyncio.get_running_loop().call_later(0.02, guard.end)
        together = await told()
        guard.may_end = False
        writer.write(f.frame(m.Seal(4, "log", 2, ())) + f.frame(m.Advance(5, "log", 0, bytes(32), b"", 0)))
        refused = await told()

    assert alone == [1]
    assert together == [2, 3]
    assert refused == [5]


async def test_what_is_kept_for_a_seal_is_bounded(tmp_path: Path) -> None:
    """A token that hangs keeps its seal open: advances go on, and their answers leave by the hundred."""
    guard = Held()
    async with connected(guard, tmp_path) as (reader, writer):
        frames = f.Frames(m.answer_decoder)
        writer.write(f.frame(f.Hello(f.VERSION)) + f.frame(m.Seal(1, "log", 1, ())))
        for size in range(CALLS_MAX + 1):
            writer.write(f.frame(m.Advance(2 + size, "log", 2 + size, bytes(32), b"", 0)))
        told: list[int] = []
        async with asyncio.timeout(5):
            while len(told) <= CALLS_MAX:
                told += [one.id for one in frames.feed(await reader.read(1 << 16)) if isinstance(one, m.Done)]

    assert list(range(2, 3 + CALLS_MAX)) == told


async def test_who_is_hung_up_on_and_does_not_read_has_one_connection_all_the_same(tmp_path: Path) -> None:
    """What a front end left unread is kept for it; it is bounded by as many connections as there may be."""
    guard = Held()
    async with connected(guard, tmp_path):
        writers = []
        asks = b"".join(f.frame(m.Advance(2 + at, "log" * 150, 0, bytes(32), b"", 0)) for at in range(20_000))
        for _ in range(CONNECTIONS_MAX + 4):
            _, writer = await asyncio.open_unix_connection(str(tmp_path / "s.sock"), limit=1)
            writers.append(writer)
            writer.write(f.frame(f.Hello(f.VERSION)) + asks + b"\xff" * 8)
            await asyncio.sleep(0.05)
        async with asyncio.timeout(10):
            while guard.refused["TOO_LARGE"] + guard.refused["PEER"] < len(writers):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        for writer in writers:
            writer.transport.abort()

    assert guard.refused["PEER"] == len(writers) + 1 - CONNECTIONS_MAX


async def test_a_stop_passes_calls_that_a_token_does_not_answer(tmp_path: Path) -> None:
    """A front end has more under way than are begun at a time, and all hang: a key is stopped all the same, at once."""
    guard = Held()
    async with connected(guard, tmp_path):
        link = SignerLink(tmp_path / "s.sock", 3_000)
        await link.connect()
        calls = [asyncio.create_task(link.probe()) for _ in range(CALLS_MAX + 1)]
        async with asyncio.timeout(1):
            while len(guard.begun) < CALLS_MAX:  # noqa: ASYNC110  # another task's list
                await asyncio.sleep(0.001)
            await link.stop("key")
        await link.close()
        await asyncio.gather(*calls, return_exceptions=True)
