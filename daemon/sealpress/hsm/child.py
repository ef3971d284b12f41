"""One worker process as the guard sees it: spawned, opened, given operations, killed.

Guarantees: whoever asks is told within the deadline, with results or that there are none; a call that the worker has
not answered at twice the deadline kills it, which is the only way to free a thread that hangs in a module; when this
process is gone nobody waits for it any more. Does not: start another (slot.py), or judge what it answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from sealpress.errors import Malformed
from sealpress.hsm import frames as f
from sealpress.hsm import quick
from sealpress.hsm import work as w

_log = logging.getLogger(__name__)

Told = Callable[[w.WorkerSigned | w.WorkerPong | None], None]  # None: no answer, and nobody knows what was done

_NS = 1_000_000_000
_CHILD_FD = 3
_REAP_S, _REAP_S_MAX = 0.005, 1.0
_TICK_S = 0.001  # of the loop's clock
_OPEN_S_MAX = 60.0  # loading a module, login, finding keys


@dataclass(slots=True)
class _Call:
    """A call in the worker's hands: it stands here until the worker has answered it, or died."""

    told: Told | None  # None: told already that it is late
    jobs: int
    until: float  # of the loop's clock: then it is late, or its worker hangs


class Child:
    """From its start to its end; `run` once."""

    def __init__(
        self,
        ask: w.WorkerOpen,
        deadline_s: float,
        on_change: Callable[[], None],
        on_stock: Callable[[w.Stock], None],
    ) -> None:
        """`on_change` hears that it is up, failed, late, or has or uses another number of sessions."""
        self._ask = ask
        self._deadline_s = deadline_s
        self._numbers = {key.name: number for number, key in enumerate(ask.keys)}
        self._on_change = on_change
        self._on_stock = on_stock
        self._socket: socket.socket | None = None
        self._frames = f.Frames(w.from_worker_decoder)
        self._packet = memoryview(bytearray(f.PACKET_BYTES))
        self._unsent: deque[bytes] = deque()  # packets that the socket had no room for
        self._parted: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # no more will come
        self._calls: dict[int, _Call] = {}
        self._watch: asyncio.TimerHandle | None = None  # one for all of them
        self._next_id = 0
        self._pid = 0
        self._leaving = False
        self.sessions = 0
        self.limit = 0  # of them, those that work at a time; 0: it has not said yet
        self.jobs = 0  # in its hands
        self.touched = 0.0  # loop time of the last answer of the token
        self.late = False  # a call was not answered in time
        self.hung = False  # and not at twice the time: killed
        self.failure: w.WorkerFailed | None = None
        self.opened: asyncio.Future[bool] = asyncio.get_running_loop().create_future()  # whether it ever was up
        self.ended = asyncio.Event()

    @property
    def up(self) -> bool:
        """Whether it can sign."""
        return self.sessions > 0 and not self._leaving and not self._parted.done()

    @property
    def calls(self) -> int:
        """Messages that it has not answered."""
        return len(self._calls)

    async def run(self) -> None:
        """Returns when the process is gone and everybody was told."""
        try:
            with self._begin() as ours:
                await self._converse(ours)
        except OSError as error:
            if not self._pid:
                text = f"no worker can be started: {error}"
                self.failure = w.WorkerFailed("WORKER_START", text, "see the limits of processes and open files", False)
        finally:
            self._forget()  # before anything is waited for: calls that come meanwhile find no worker
            self.kill()
            await self._reap()

    async def _reap(self) -> None:
        """Without a thread that waits: a process that hangs in a driver does not even end by SIGKILL."""
        pause_s = _REAP_S
        while not self._reaped():
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _REAP_S_MAX)

    def _reaped(self) -> bool:
        if self._pid and os.waitpid(self._pid, os.WNOHANG) == (0, 0):
            return False
        self._pid = 0
        return True

    def _begin(self) -> socket.socket:
        """Our end of its socket; OSError if this machine has no room for another process."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._pid = _spawn(theirs)
            except OSError:
                ours.close()
                raise
        return ours

    def sign(self, jobs: tuple[w.WorkerJob, ...], told: Told) -> None:
        """Have these operations done; only while it is `up`."""
        self.jobs += len(jobs)
        self._next_id += 1
        deadline_ns = round((asyncio.get_running_loop().time() + self._deadline_s) * _NS)
        ask = w.WorkerSign(self._next_id, jobs, deadline_ns)
        packet = quick.ask(ask, self._numbers)
        self._send(ask.id, f.frame(ask) if packet is None else packet, len(jobs), told)

    def keep(self, jobs: tuple[w.WorkerJob, ...], idle_s: float, told: Told) -> None:
        """Have each session used that was not for so long, one after the other; only while it is `up`.

        None is begun in the second half of the deadline: what is left then is for the next time, and not late.
        """
        self._next_id += 1
        deadline_ns = round((asyncio.get_running_loop().time() + self._deadline_s / 2) * _NS)
        self._send(self._next_id, f.frame(w.WorkerKeep(self._next_id, jobs, round(idle_s * _NS), deadline_ns)), 0, told)

    def ping(self, told: Told, *, token: bool = False) -> None:
        """Ask for a sign of life, of its token too if `token`; only while it is `up`."""
        self._next_id += 1
        self._send(self._next_id, f.frame(w.WorkerPing(self._next_id, token)), 0, told)

    def look(self) -> None:
        """It looks at the token's keys again; only while it is `up`."""
        self._write(f.frame(w.WorkerStock()))

    def leave(self) -> None:
        """It gets no more calls, and ends when those in its hands have ended, one way or the other."""
        self._leaving = True
        if not self._calls:
            self.kill()

    def kill(self) -> None:
        """SIGKILL."""
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    # ---- calls ----

    def _send(self, id_: int, packet: bytes, jobs: int, told: Told) -> None:
        loop = asyncio.get_running_loop()
        self._calls[id_] = _Call(told, jobs, loop.time() + self._deadline_s)
        if self._watch is None:
            self._watch = loop.call_later(self._deadline_s, self._watched)
        self._write(packet)

    def _watched(self) -> None:
        """Some call may have waited too long. No other did for longer than the oldest of those that are left."""
        loop = asyncio.get_running_loop()
        now = loop.time() + _TICK_S
        for call in [call for call in self._calls.values() if call.until <= now]:
            self._passed(call)
        left = min((call.until for call in self._calls.values()), default=None)
        self._watch = loop.call_at(left, self._watched) if left is not None else None

    def _passed(self, call: _Call) -> None:
        """Its caller waits no longer. The worker may answer until twice the deadline, then it dies."""
        call.until += self._deadline_s
        told, call.told = call.told, None
        if told is None:
            self.hung = True
            self.kill()
            return
        self.late = True
        self._on_change()
        told(None)

    def _answered(self, answer: w.WorkerSigned | w.WorkerPong) -> None:
        changed, self.sessions = self.sessions != answer.sessions, answer.sessions
        if isinstance(answer, w.WorkerPong) and answer.limit:
            changed, self.limit = changed or self.limit != answer.limit, answer.limit
        call = self._calls.pop(answer.id, None)
        if call is not None:
            self.jobs -= call.jobs
            if isinstance(answer, w.WorkerSigned) and answer.results:
                self.touched = asyncio.get_running_loop().time()
            if call.told is not None:
                call.told(answer)
        if self._leaving and not self._calls:
            self.kill()
        if changed:
            self._on_change()

    # ---- the process ----

    async def _converse(self, ours: socket.socket) -> None:
        ours.setblocking(False)
        self._socket = ours
        loop = asyncio.get_running_loop()
        loop.add_reader(ours, self._read)
        opening = loop.call_later(_OPEN_S_MAX, self._not_opened)
        try:
            self._write(f.frame(f.Hello(f.VERSION)))
            self._write(f.frame(self._ask))
            await self._parted
        finally:
            opening.cancel()
            self._socket = None
            loop.remove_reader(ours)
            loop.remove_writer(ours)

    def _read(self) -> None:
        """One packet."""
        assert self._socket is not None
        try:
            size = self._socket.recv_into(self._packet)
            packet = self._packet[:size]
            answer = quick.answered(packet, self.sessions)
            if answer is not None:
                self._answered(answer)
            else:
                for message in self._frames.feed(packet):
                    self._take(message)
        except (BlockingIOError, ConnectionResetError):
            return  # a reset is told once, before what the worker said: it ended without having read all of ours
        except (OSError, Malformed):
            size = 0
        if not size:
            self._part()

    def _write(self, frame: bytes) -> None:
        """Now, or when there is room."""
        behind = bool(self._unsent)
        self._unsent.extend(f.packets(frame))
        if not behind and not self._flush() and self._socket is not None:
            asyncio.get_running_loop().add_writer(self._socket, self._drain)

    def _drain(self) -> None:
        if self._flush() and self._socket is not None:
            asyncio.get_running_loop().remove_writer(self._socket)

    def _flush(self) -> bool:
        """Whether nothing is left to be sent."""
        try:
            while self._unsent and self._socket is not None:
                self._socket.send(self._unsent[0])
                self._unsent.popleft()
        except BlockingIOError:
            return False
        except OSError:
            self._part()
        return True

    def _not_opened(self) -> None:
        if not self.opened.done():
            self._part()

    def _part(self) -> None:
        if not self._parted.done():
            self._parted.set_result(None)

    def _take(self, message: w.FromWorker) -> None:
        match message:
            case w.WorkerSigned() | w.WorkerPong():
                self._answered(message)
            case f.Hello():
                if message.version != f.VERSION:
                    text = f"its worker speaks version {message.version}, this signer version {f.VERSION}"
                    hint = "the program was exchanged meanwhile: start the signer again, and the daemon"
                    self.failure = w.WorkerFailed("WORKER_VERSION", text, hint, False)
                    raise Malformed("the worker speaks another version", reason="VERSION")
            case w.WorkerReady():
                self.sessions = message.sessions
                if not self.opened.done():
                    if message.single_threaded:
                        _log.warning("slot %s: its module has no locking: one session is used", self._ask.slot)
                    self.touched = asyncio.get_running_loop().time()
                    self.opened.set_result(True)
                self._on_change()
            case w.WorkerStocked():
                self._on_stock(message.stock)
                self._on_change()
            case w.WorkerFailed():
                self.failure = message

    def _forget(self) -> None:
        self.sessions, self.jobs = 0, 0
        self._part()
        if not self.opened.done():
            self.opened.set_result(False)
        calls, self._calls = self._calls, {}
        if self._watch is not None:
            self._watch.cancel()
        for call in calls.values():
            if call.told is not None:
                call.told(None)
        self.ended.set()
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
