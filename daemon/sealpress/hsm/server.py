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
from collections import deque
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import cast

from sealpress.errors import CannotStart, Malformed
from sealpress.hsm import frames as f
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
        self._connections: set[_Connection] = set()
        self._push_due = False

    async def start(self) -> None:
        """Bind and listen; CannotStart if the path cannot be bound, or another signer listens there."""
        try:
            self._path.parent.mkdir(mode=0o750 if self._shared else 0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISSOCK(self._path.lstat().st_mode):
                    self._take_away()
            before = os.umask(0o117 if self._shared else 0o177)
            try:
                self._server = await asyncio.get_running_loop().create_unix_server(
                    lambda: _Connection(self._guard, self._users, self._connections), str(self._path)
                )
            finally:
                os.umask(before)
        except OSError as error:
            raise CannotStart(
                f"{self._path}: {error.strerror or error}", reason="SOCKET", hint="give [signer] `socket` another path"
            ) from None
        self._guard.watch(self._push_soon)

    def _take_away(self) -> None:
        """A socket that a signer left which died; CannotStart if one listens, of another state than ours."""
        with socket.socket(socket.AF_UNIX) as other:
            other.setblocking(False)
            try:
                with contextlib.suppress(BlockingIOError):
                    other.connect(str(self._path))
            except ConnectionRefusedError:
                self._path.unlink()
                return
        raise CannotStart(
            f"{self._path}: another signer listens here", reason="SOCKET", hint="give [signer] `socket` another path"
        )

    async def close(self) -> None:
        """Stop listening and hang up."""
        if self._server is not None:
            self._server.close()
            for connection in tuple(self._connections):
                connection.close()
            self._path.unlink(missing_ok=True)

    def _push_soon(self) -> None:
        if not self._push_due:
            self._push_due = True
            asyncio.get_running_loop().call_soon(self._push)

    def _push(self) -> None:
        self._push_due = False
        view = self._guard.status(0)
        for connection in self._connections:
            connection.answer(view)


class _Connection(asyncio.Protocol):
    """One front end. Its calls begin as they are read; the guard answers them when it can."""

    def __init__(self, guard: Guard, users: Collection[int], others: set[_Connection]) -> None:
        self._guard = guard
        self._users = users
        self._others = others
        self._frames = f.Frames(m.ask_decoder)
        self._greeted = False
        self._waiting: deque[m.Ask] = deque()  # read and not begun: what one chunk holds at most
        self._calls = 0  # not answered
        self._sealing: list[str] = []  # the origins of seals under way
        self._unsent: list[bytes] = []
        self._send_due = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if not self._may() or len(self._others) >= CONNECTIONS_MAX:
            self._guard.refused["PEER"] += 1
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(_ANSWERS_BYTES_MAX)
        self._others.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._others.discard(self)
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        if self not in self._others or self._transport.is_closing():
            return
        try:
            for ask in self._frames.feed(data):
                self._take(ask)
        except Malformed as error:
            self._guard.refused[error.reason] += 1
            self.answer(m.Refused(0, error.reason, error.message))
            self.close()

    def pause_writing(self) -> None:
        self._transport.abort()  # it does not read what it asked for

    def answer(self, answer: m.Answer) -> None:
        """Send it, unless nobody is there; with what is answered in the same breath, so that the reader wakes once."""
        self._unsent.append(f.frame(answer))
        self._send_soon()

    def _send_soon(self) -> None:
        if not self._send_due:
            self._send_due = True
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        self._send_due = False
        if self._unsent and not self._transport.is_closing():
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._go_on)

    def close(self) -> None:
        """Hang up; what is under way comes to its end unheard. It counts until the peer has read its last answer."""
        self._send()
        self._transport.close()

    def _may(self) -> bool:
        peer = self._transport.get_extra_info("socket")
        _, uid, _ = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        return uid in self._users

    def _take(self, ask: m.Ask) -> None:
        if not self._greeted:
            if not isinstance(ask, f.Hello) or ask.version != f.VERSION:
                raise Malformed(f"this signer speaks version {f.VERSION}", reason="VERSION")
            self._greeted = True
            self.answer(f.Hello(f.VERSION))
            self.answer(self._guard.status(0))
        elif not self._waiting and self._has_room():
            self._begin(ask)
        else:
            self._waiting.append(ask)
            self._transport.pause_reading()
            self._send_soon()  # where it waits for room among the answers, that makes some

    def _has_room(self) -> bool:
        """Also for what is answered at once: a small call may have a large answer."""
        return self._calls < CALLS_MAX and len(self._unsent) < CALLS_MAX

    def _begin(self, ask: m.Ask) -> None:
        self._calls += 1
        if isinstance(ask, m.Seal):
            self._sealing.append(ask.origin)
        self._guard.handle(ask, partial(self._ended, ask))

    def _ended(self, ask: m.Ask, answer: m.Answer) -> None:
        self._calls -= 1
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._go_on)  # not in here: some are answered before they return
        if isinstance(ask, m.Seal):
            self._sealing.remove(ask.origin)
        elif isinstance(answer, m.Done) and self._is_under(ask) and len(self._unsent) < CALLS_MAX:
            # Whoever asked waits for the seal, too: he is told with its answer, and takes no processor from it before.
            # Not refusals, nor more than some: of both there is no end while a token hangs.
            self._unsent.append(f.frame(answer))
            return
        self.answer(answer)

    def _is_under(self, ask: m.Ask) -> bool:
        """Whether it is the advance of a seal under way."""
        return isinstance(ask, m.Advance) and not ask.leaves and ask.origin in self._sealing

    def _go_on(self) -> None:
        """Begin what waits, as far as there is room."""
        while self._waiting and self._has_room():
            self._begin(self._waiting.popleft())
        if self._waiting and self._unsent:
            self._send_soon()
        elif not self._waiting and not self._transport.is_closing():
            self._transport.resume_reading()
