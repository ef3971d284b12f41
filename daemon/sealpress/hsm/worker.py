"""The process that holds a slot: loads the module, logs in, signs what the guard sends.

Started by the guard (`python -m sealpress.hsm.worker`) with one end of a socket pair. It ends when that socket ends,
when its parent does, and when its token is lost; the guard starts another.

Guarantees: no core dump, no tracing, killed with its parent; the PIN is read and used in C. Does not: judge what it
signs: the guard built it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec

from sealpress.core import p11
from sealpress.errors import CannotStart, CoreError, Malformed
from sealpress.hsm import messages as m
from sealpress.hsm.module import LASTING, PinRefused
from sealpress.hsm.pool import SlotPool

BATCHES_MAX = 16  # worked on at a time; more wait in the socket

_EXIT_LOST = 5


class _Worker:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._frames = m.Frames(m.to_worker_decoder)
        self._write = threading.Lock()
        self._pool: SlotPool | None = None
        self._threads = ThreadPoolExecutor(BATCHES_MAX, thread_name_prefix="batch")
        self._free = threading.BoundedSemaphore(BATCHES_MAX)

    def run(self) -> int:
        self._send(m.Hello(m.VERSION))
        while data := self._connection.recv(1 << 18):
            for message in self._frames.feed(data):
                if not self._take(message):
                    return _EXIT_LOST
        return 0

    def _take(self, message: m.ToWorker) -> bool:
        match message:
            case m.Hello():
                return message.version == m.VERSION
            case m.WorkerOpen() if self._pool is None:
                return self._open(message)
            case m.WorkerSign() if self._pool is not None:
                self._free.acquire()
                self._threads.submit(self._sign, self._pool, message)
                return True
            case m.WorkerPing() if self._pool is not None:
                self._send(m.WorkerPong(message.id, self._pool.sessions))
                return True
            case _:
                return False

    def _open(self, ask: m.WorkerOpen) -> bool:
        try:
            self._pool = SlotPool(ask)
        except (CannotStart, CoreError) as error:
            tag = error.tag if isinstance(error, PinRefused) else b""
            self._send(m.WorkerFailed(error.reason, error.message, error.hint, error.reason in LASTING, tag))
            return False
        self._send(m.WorkerReady(self._pool.sessions, p11.single_threaded()))
        return True

    def _sign(self, pool: SlotPool, ask: m.WorkerSign) -> None:
        try:
            results = pool.sign(ask.jobs)
            self._send(m.WorkerSigned(ask.id, results, pool.sessions))
        except BaseException:
            os._exit(_EXIT_LOST)  # the guard sees the socket end, and takes these jobs' outcome for unknown
        finally:
            self._free.release()
        if pool.lost:
            os._exit(_EXIT_LOST)

    def _send(self, message: msgspec.Struct) -> None:
        with self._write:
            self._connection.sendall(m.frame(message))


def main(arguments: list[str]) -> int:
    """`arguments`: the socket's descriptor and the parent's process id."""
    descriptor, parent = (int(argument) for argument in arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the guard decides when to end
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    p11.harden_process()
    p11.die_with_parent(parent)
    with socket.socket(fileno=descriptor) as connection:
        try:
            code = _Worker(connection).run()
        except (OSError, Malformed):
            code = _EXIT_LOST
    sys.stderr.flush()
    os._exit(code)  # without the module's exit handlers, which may hang like the token that they belong to


if __name__ == "__main__":
    main(sys.argv[1:])
