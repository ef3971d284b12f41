"""The guard's Unix socket: who may connect, frames in, answers out.

Guarantees: only this user and the configured users are heard (SO_PEERCRED); a frame that is no message is answered with
its reason, counted, and ends the connection; calls of one connection start in their order; calls and connections are
bounded. Does not: decide what a call may do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import struct
from collections.abc import Collection
from pathlib import Path

from sealpress.errors import CannotStart, Malformed
from sealpress.hsm import messages as m
from sealpress.hsm.guard import Guard

CONNECTIONS_MAX = 16
CALLS_MAX = 256  # of one connection at a time; more wait in the socket
_PEER = struct.Struct("3i")
_ANSWERS_BYTES_MAX = 64 << 20  # unread answers of one connection


class GuardServer:
    """Listens for front ends."""

    def __init__(self, guard: Guard, path: Path, users: Collection[int]) -> None:
        """`users` may connect besides our own."""
        self._guard = guard
        self._path = path
        self._users = {os.geteuid(), *users}
        self._shared = len(self._users) > 1
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()
        self._push_due = False

    async def start(self) -> None:
        """Bind and listen; CannotStart if the path cannot be bound."""
        try:
            self._path.parent.mkdir(mode=0o750 if self._shared else 0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISSOCK(self._path.lstat().st_mode):
                    self._path.unlink()  # left by a signer that died: the lock of the state directory says so
            before = os.umask(0o117 if self._shared else 0o177)
            try:
                self._server = await asyncio.start_unix_server(self._serve, str(self._path))
            finally:
                os.umask(before)
        except OSError as error:
            raise CannotStart(
                f"{self._path}: {error.strerror or error}", reason="SOCKET", hint="give [signer] `socket` another path"
            ) from None
        self._guard.watch(self._push_soon)

    async def close(self) -> None:
        """Stop listening and hang up."""
        if self._server is not None:
            self._server.close()
            for writer in self._connections:
                writer.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._may(writer) or len(self._connections) >= CONNECTIONS_MAX:
            self._guard.refused["PEER"] += 1
            writer.close()
            return
        self._connections.add(writer)
        try:
            await self._talk(reader, writer)
        except Malformed as error:
            self._guard.refused[error.reason] += 1
            self._answer(writer, m.Refused(0, error.reason, error.message))
        except OSError:
            pass
        finally:
            self._connections.discard(writer)
            writer.close()

    def _may(self, writer: asyncio.StreamWriter) -> bool:
        peer = writer.get_extra_info("socket")
        _, uid, _ = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        return uid in self._users

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = m.Frames(m.ask_decoder)
        room = asyncio.Semaphore(CALLS_MAX)
        calls: set[asyncio.Task[None]] = set()
        greeted = False
        while data := await reader.read(1 << 18):
            for ask in frames.feed(data):
                if not greeted:
                    if not isinstance(ask, m.Hello) or ask.version != m.VERSION:
                        raise Malformed(f"this signer speaks version {m.VERSION}", reason="VERSION")
                    greeted = True
                    self._answer(writer, m.Hello(m.VERSION))
                    self._answer(writer, self._guard.status(0))
                    continue
                await room.acquire()
                call = asyncio.create_task(self._call(ask, writer, room))  # tasks start in the order they are made
                calls.add(call)
                call.add_done_callback(calls.discard)

    async def _call(self, ask: m.Ask, writer: asyncio.StreamWriter, room: asyncio.Semaphore) -> None:
        try:
            answer = await self._guard.handle(ask)
        finally:
            room.release()
        self._answer(writer, answer)

    def _answer(self, writer: asyncio.StreamWriter, answer: m.Answer) -> None:
        if writer.is_closing():
            return
        if writer.transport.get_write_buffer_size() > _ANSWERS_BYTES_MAX:
            writer.transport.abort()  # it does not read what it asked for
            return
        writer.write(m.frame(answer))

    def _push_soon(self) -> None:
        if not self._push_due:
            self._push_due = True
            asyncio.get_running_loop().call_soon(self._push)

    def _push(self) -> None:
        self._push_due = False
        view = self._guard.status(0)
        for writer in self._connections:
            self._answer(writer, view)
