"""The process that holds a slot: loads the module, logs in, signs what the guard sends.

Started by the guard (`python -m sealpress.hsm.worker`) with one end of a socket pair. It ends when that socket ends,
when its parent does, and when its token is lost; the guard starts another.

Guarantees: no core dump, no tracing, killed with its parent; the PIN is read and used in C; a ping is answered while
sessions hang; what is asked is done or answered as not tried before its deadline, unless the token has it in hand.
Does not: judge what it signs: the guard built it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from sealpress.clock import SystemClock
from sealpress.core import p11
from sealpress.errors import CannotStart, CoreError, Malformed
from sealpress.hsm import messages as m
from sealpress.hsm import stock
from sealpress.hsm.module import LASTING, PinRefused
from sealpress.hsm.pool import SlotPool
from sealpress.ports import Clock

BATCHES_MAX = 16  # worked on at a time
WAITING_MAX = 256  # batches beyond them; one more is answered as not tried

_EXIT_LOST = 5
_ANSWER_NS = 50_000_000  # before the deadline, so that "not tried" arrives in time
_LAST_ANSWERS_S = 1.0
_NO_SESSION = 0xB0  # CKR_SESSION_CLOSED


class _Worker:
    def __init__(self, connection: socket.socket, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._frames = m.Frames(m.to_worker_decoder)
        self._said = threading.Condition()  # guards the socket, `_told` and `_done`
        self._pool: SlotPool | None = None
        self._ask: m.WorkerOpen | None = None
        self._threads = ThreadPoolExecutor(BATCHES_MAX, thread_name_prefix="batch")
        self._asked = 0  # batches; by the reader alone
        self._done = 0
        self._told = -1  # sessions

    def run(self) -> int:
        self._say(m.Hello(m.VERSION))
        while data := self._connection.recv(1 << 18):
            for message in self._frames.feed(data):
                if not self._take(message):
                    return _EXIT_LOST
        return 0

    def _take(self, message: m.ToWorker) -> bool:
        pool = self._pool
        match message:
            case m.Hello():
                return message.version == m.VERSION
            case m.WorkerOpen() if pool is None:
                return self._open(message)
            case m.WorkerSign() if pool is not None:
                self._asked += 1
                if self._asked - self._done > BATCHES_MAX + WAITING_MAX:
                    self._answer(message, (m.WorkerResult(b"", _NO_SESSION, 0, False),) * len(message.jobs))
                else:
                    self._threads.submit(self._sign, pool, message)
                return not pool.stuck
            case m.WorkerPing() if pool is not None:
                if message.token:
                    self._threads.submit(self._ask_token, pool, message)
                else:
                    self._tell(lambda sessions: m.WorkerPong(message.id, sessions))
                return not pool.stuck
            case m.WorkerStock() if pool is not None and self._ask is not None:
                pool.chore(partial(self._look, pool, self._ask))
                return not pool.stuck
            case _:
                return False

    def _open(self, ask: m.WorkerOpen) -> bool:
        try:
            self._pool = SlotPool(ask, self._clock)
            found = stock.take(self._pool.token, ask)
        except (CannotStart, CoreError) as error:
            self._say(_failed(error))
            return False
        self._ask = ask
        self._say(m.WorkerStocked(found))
        self._changed()
        self._pool.start(self._changed)
        return True

    def _look(self, pool: SlotPool, ask: m.WorkerOpen) -> None:
        try:
            self._say(m.WorkerStocked(stock.take(pool.token, ask)))
        except CannotStart:
            return  # the mender finds out what ails it
        except BaseException:
            os._exit(_EXIT_LOST)

    def _sign(self, pool: SlotPool, ask: m.WorkerSign) -> None:
        try:
            self._answer(ask, pool.sign(ask.jobs, max(ask.deadline_ns - _ANSWER_NS, 0)))
        except BaseException:
            os._exit(_EXIT_LOST)  # the guard sees the socket end, and takes these jobs' outcome for unknown

    def _ask_token(self, pool: SlotPool, ask: m.WorkerPing) -> None:
        try:
            rv = pool.look()
            self._tell(lambda sessions: m.WorkerPong(ask.id, sessions, rv))
        except BaseException:
            os._exit(_EXIT_LOST)

    def _answer(self, ask: m.WorkerSign, results: tuple[m.WorkerResult, ...]) -> None:
        self._tell(lambda sessions: m.WorkerSigned(ask.id, results, sessions))
        with self._said:
            self._done += 1
            self._said.notify_all()

    def _changed(self) -> None:
        """Sessions were opened or lost, or all is lost; called by the pool's mender, and once before it starts."""
        pool = self._pool
        assert pool is not None
        if pool.lost is not None:
            with self._said:  # what waited for a session is being answered as not tried
                self._said.wait_for(lambda: self._done >= self._asked, _LAST_ANSWERS_S)
            with contextlib.suppress(OSError):
                self._say(_failed(pool.lost))
            os._exit(_EXIT_LOST)
        if pool.sessions != self._told:
            self._tell(lambda sessions: m.WorkerReady(sessions, p11.single_threaded()))

    def _say(self, message: m.FromWorker) -> None:
        with self._said:
            self._connection.sendall(m.frame(message))

    def _tell(self, made: Callable[[int], m.FromWorker]) -> None:
        """A message with the number of sessions: read under the lock, so that the last one told is the newest."""
        assert self._pool is not None
        with self._said:
            self._told = self._pool.sessions
            self._connection.sendall(m.frame(made(self._told)))


def _failed(error: CannotStart | CoreError) -> m.WorkerFailed:
    tag = error.tag if isinstance(error, PinRefused) else b""
    return m.WorkerFailed(error.reason, error.message, error.hint, error.reason in LASTING, tag)


def main(arguments: list[str]) -> int:
    """`arguments`: the socket's descriptor and the parent's process id."""
    descriptor, parent = (int(argument) for argument in arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the guard decides when to end
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    p11.harden_process()
    p11.die_with_parent(parent)
    with socket.socket(fileno=descriptor) as connection:
        try:
            code = _Worker(connection, SystemClock()).run()
        except (OSError, Malformed):
            code = _EXIT_LOST
    sys.stderr.flush()
    os._exit(code)  # without the module's exit handlers, which may hang like the token that they belong to


if __name__ == "__main__":
    main(sys.argv[1:])
