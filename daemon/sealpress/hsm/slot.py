"""A slot and its worker: started, watched, killed when it hangs, replaced when it ends.

Guarantees: a call returns within the slot's deadline, with results or with SlotLost, which says whether the token may
have signed; a worker that lets a batch wait for twice the deadline is killed; the next one comes after a back-off that
doubles up to a bound. Does not: verify signatures (the guard does), or log in twice with a PIN that was rejected.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sealpress.config import SlotSection
from sealpress.errors import CannotStart, Malformed
from sealpress.hsm import messages as m
from sealpress.hsm.state import State

_log = logging.getLogger(__name__)
_CHILD_FD = 3
_OPEN_S_MAX = 60.0  # loading a module, login, finding keys


class SlotLost(Exception):
    """No result. `unknown`: the jobs were sent, and the token may have signed."""

    def __init__(self, *, unknown: bool) -> None:
        """Raised within the guard only."""
        super().__init__("the slot's worker is lost")
        self.unknown = unknown


@dataclass(slots=True)
class _Call:
    """A call in the worker's hands: it stands here until the worker has answered it, or died."""

    answer: asyncio.Future[m.WorkerSigned | m.WorkerPong]
    timer: asyncio.TimerHandle


class Slot:
    """The guard's end of one slot."""

    def __init__(
        self,
        name: str,
        settings: SlotSection,
        open_ask: Callable[[], m.WorkerOpen],
        state: State,
        backoff_ms: tuple[int, int],
        on_change: Callable[[], None],
        on_stock: Callable[[str, m.Stock], None],
    ) -> None:
        """`open_ask` makes the first message anew for each worker, so that it carries the newest rejected PINs."""
        self.name = name
        self._deadline_s = settings.deadline_ms / 1000
        self._open_ask = open_ask
        self._state = state
        self._backoff_ms = backoff_ms
        self._on_change = on_change
        self._on_stock = on_stock
        self._writer: asyncio.StreamWriter | None = None
        self._calls: dict[int, _Call] = {}
        self._next_id = 0
        self._pid = 0
        self._task: asyncio.Task[None] | None = None
        self._first: asyncio.Future[None] | None = None
        self._closing = False
        self.sessions = 0
        self.operations = 0
        self.restarts = -1
        self.reason = "STARTING"

    # ---- life ----

    async def start(self) -> None:
        """The first worker is up, or failed in a way that passes. CannotStart: a person has to do something."""
        self._first = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._keep(), name=f"slot-{self.name}")
        await self._first

    async def close(self) -> None:
        """Kill the worker and stay down."""
        self._closing = True
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @property
    def up(self) -> bool:
        """Whether it can sign."""
        return self._writer is not None and self.sessions > 0

    @property
    def waiting(self) -> int:
        """Batches in the worker's hands."""
        return len(self._calls)

    # ---- calls ----

    async def sign(self, jobs: Sequence[m.WorkerJob]) -> tuple[m.WorkerResult, ...]:
        """The jobs' results in order; SlotLost."""
        self._next_id += 1
        deadline_ns = round((asyncio.get_running_loop().time() + self._deadline_s) * 1e9)  # CLOCK_MONOTONIC
        answer = await self._call(m.WorkerSign(self._next_id, tuple(jobs), deadline_ns))
        if not isinstance(answer, m.WorkerSigned) or len(answer.results) != len(jobs):
            self._kill()
            raise SlotLost(unknown=True)
        self.operations += sum(result.tried for result in answer.results)
        return answer.results

    async def ping(self) -> None:
        """Returns when the worker has answered; SlotLost."""
        self._next_id += 1
        await self._call(m.WorkerPing(self._next_id))

    def look(self) -> None:
        """The worker looks at the token's keys again, if there is one."""
        if self._writer is not None:
            self._writer.write(m.frame(m.WorkerStock()))

    async def _call(self, ask: m.WorkerSign | m.WorkerPing) -> m.WorkerSigned | m.WorkerPong:
        writer = self._writer
        if writer is None or not self.up or writer.is_closing():  # the last: its end is not read yet
            raise SlotLost(unknown=False)
        loop = asyncio.get_running_loop()
        call = _Call(loop.create_future(), loop.call_later(self._deadline_s, self._late, writer, ask.id))
        self._calls[ask.id] = call
        writer.write(m.frame(ask))
        return await call.answer

    def _late(self, writer: asyncio.StreamWriter, id_: int) -> None:
        """Its caller waits no longer. The worker may answer until twice the deadline, then it dies."""
        call = self._calls.get(id_)
        if self._writer is not writer or call is None:
            return
        if not call.answer.done():
            call.answer.set_exception(SlotLost(unknown=True))
        call.timer = asyncio.get_running_loop().call_later(self._deadline_s, self._hung, writer, id_)

    def _hung(self, writer: asyncio.StreamWriter, id_: int) -> None:
        if self._writer is writer and id_ in self._calls:
            self.reason = "WORKER_HUNG"
            self._kill()

    def _kill(self) -> None:
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    # ---- the worker ----

    async def _keep(self) -> None:
        wait_ms = self._backoff_ms[0]
        while True:
            self.restarts += 1
            was_up = await self._life()
            self._settle(None)
            wait_ms = self._backoff_ms[0] if was_up else min(2 * wait_ms, self._backoff_ms[1])
            await asyncio.sleep(wait_ms / 1000)

    async def _life(self) -> bool:
        """One worker from start to end; whether it was ever up."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._pid = _spawn(theirs)
        was_up = False
        try:
            reader, writer = await asyncio.open_unix_connection(sock=ours)
            with contextlib.closing(writer):
                async with asyncio.timeout(_OPEN_S_MAX) as opening:
                    writer.write(m.frame(m.Hello(m.VERSION)) + m.frame(self._open_ask()))
                    frames = m.Frames(m.from_worker_decoder)
                    while data := await reader.read(1 << 18):
                        for message in frames.feed(data):
                            self._take(message, writer)
                        if self._writer is writer and not was_up:
                            was_up = True
                            opening.reschedule(None)
        except (OSError, Malformed, TimeoutError):
            pass
        finally:
            self._forget()  # before anything is waited for: calls that come meanwhile find no worker
            self._kill()
            pid, self._pid = self._pid, 0
            await asyncio.shield(asyncio.to_thread(os.waitpid, pid, 0))
        return was_up

    def _take(self, message: m.FromWorker, writer: asyncio.StreamWriter) -> None:
        match message:
            case m.Hello():
                if message.version != m.VERSION:
                    raise Malformed("the worker speaks another version", reason="VERSION")
            case m.WorkerStocked():
                self._on_stock(self.name, message.stock)
                self._on_change()
            case m.WorkerReady():
                self._writer, self.sessions, self.reason = writer, message.sessions, ""
                if self.restarts:
                    _log.warning("slot %s: back with %d sessions", self.name, self.sessions)
                self._settle(None)
                self._on_change()
            case m.WorkerFailed():
                self.reason = message.reason
                self._state.reject(self.name, message.tag)
                failure = CannotStart(f"slot {self.name}: {message.message}", reason=message.reason, hint=message.hint)
                if self._first is not None and (self._first.done() or not message.lasting):
                    hint = f" ({message.hint})" if message.hint else ""
                    _log.error("slot %s: %s: %s%s", self.name, message.reason, message.message, hint)
                self._settle(failure if message.lasting else None)
                self._on_change()
            case m.WorkerSigned() | m.WorkerPong():
                if self.sessions != message.sessions:
                    self.sessions = message.sessions
                    self._on_change()
                call = self._calls.pop(message.id, None)
                if call is not None:
                    call.timer.cancel()
                    if not call.answer.done():
                        call.answer.set_result(message)

    def _settle(self, failure: CannotStart | None) -> None:
        if self._first is not None and not self._first.done():
            if failure is None:
                self._first.set_result(None)
            else:
                self._first.set_exception(failure)

    def _forget(self) -> None:
        was_up = self.up
        self._writer, self.sessions = None, 0
        self.reason = self.reason or "WORKER_LOST"
        for call in self._calls.values():
            call.timer.cancel()
            if not call.answer.done():
                call.answer.set_exception(SlotLost(unknown=True))
                call.answer.exception()  # seen, even if its caller has gone
        self._calls.clear()
        if was_up and not self._closing:
            _log.error("slot %s: %s; another worker is started", self.name, self.reason)
            self._on_change()


def _spawn(socket_: socket.socket) -> int:
    """Never fork: a child of fork would share the guard's memory, marks and log keys."""
    arguments = [sys.executable, "-P", "-m", "sealpress.hsm.worker", str(_CHILD_FD), str(os.getpid())]
    return os.posix_spawn(
        sys.executable,
        arguments,
        dict(os.environ),
        file_actions=[
            (os.POSIX_SPAWN_DUP2, socket_.fileno(), _CHILD_FD),
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
        ],
    )
