"""The process that holds a slot: loads the module, logs in, signs what the guard sends.

Started by the guard (`python -m sealpress.hsm.worker`) with one end of a pair of packet sockets. It ends when that
socket ends, when its parent does, and when its token is lost; the guard starts another.

Once it is open, each message is one packet, and threads wait for them side by side: the kernel gives a packet to one of
them, which does what it says and answers, without a way to another thread. One of them always waits. They wait in C,
where one operation for which a session is free is done and answered without the interpreter (quick.py).

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
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from sealpress.clock import SystemClock
from sealpress.core import p11
from sealpress.errors import CannotStart, CoreError, Malformed
from sealpress.hsm import frames as f
from sealpress.hsm import quick, stock
from sealpress.hsm import work as w
from sealpress.hsm.login import PinRefused
from sealpress.hsm.module import LASTING
from sealpress.hsm.pool import SlotPool
from sealpress.ports import Clock

BATCHES_MAX = 16  # worked on at a time, or one more than may hang in the token
WAITING_MAX = 256  # batches beyond them; one more is answered as not tried

_EXIT_LOST = 5
_ANSWER_NS = 50_000_000  # before the deadline, so that "not tried" arrives in time
_LAST_ANSWERS_S = 1.0
_DESK_POLLS = 50
_NO_SESSION = 0xB0  # CKR_SESSION_CLOSED


class _Batch(NamedTuple):
    """What is to be done; `attempt` of a message whose only job the desk has tried."""

    ask: w.WorkerSign | w.WorkerKeep | w.WorkerPing
    attempt: p11.Attempt | None = None


class _Worker:
    def __init__(self, connection: socket.socket, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._lock = threading.Lock()  # guards writing to the socket, and what follows
        self._idle = threading.Condition(self._lock)
        self._told = -1  # sessions
        self._readers = 1  # threads that wait for packets, or do what one said
        self._busy = 0  # of them, those that have a batch in hand
        self._waiting: deque[_Batch] = deque()  # for one of them
        self._never = threading.Event()  # to wait with
        self._pool: SlotPool | None = None
        self._ask: w.WorkerOpen | None = None

    def run(self) -> int:
        self._say(f.Hello(f.VERSION))
        frames = f.Frames(w.to_worker_decoder)  # the first message may be larger than a packet
        while self._pool is None:
            data = self._connection.recv(f.PACKET_BYTES)
            if not data:
                return 0
            for message in frames.feed(data):
                if not self._greet(message):
                    return _EXIT_LOST
        return self._serve(self._pool)

    def _greet(self, message: w.ToWorker) -> bool:
        match message:
            case f.Hello():
                return message.version == f.VERSION
            case w.WorkerOpen() if self._pool is None:
                return self._open(message)
            case _:
                return False

    def _serve(self, pool: SlotPool) -> int:
        """One packet after the other; any number of threads."""
        packet, keys = bytearray(f.PACKET_BYTES), self._ask.keys if self._ask is not None else ()
        while True:
            size, attempt = pool.desk.serve(self._connection.fileno(), packet, _ANSWER_NS)
            if not size:
                return 0
            with memoryview(packet)[:size] as view:
                message = quick.asked(view, keys) or f.only(w.to_worker_decoder, view)
            if not self._take(pool, message, attempt):
                return _EXIT_LOST

    def _read(self, pool: SlotPool) -> None:
        try:
            code = self._serve(pool)
        except BaseException:
            code = _EXIT_LOST  # the guard sees the socket end, and takes what is in hand for unknown
        os._exit(code)

    def _take(self, pool: SlotPool, message: w.ToWorker, attempt: p11.Attempt | None) -> bool:
        match message:
            case w.WorkerSign():
                self._work(pool, _Batch(message, attempt))
            case w.WorkerKeep():
                self._work(pool, _Batch(message))
            case w.WorkerPing() if message.token:
                self._work(pool, _Batch(message))
            case w.WorkerPing():
                self._tell(lambda sessions: w.WorkerPong(message.id, sessions, limit=pool.limit))
            case w.WorkerStock() if self._ask is not None:
                pool.chore(partial(self._look, pool, self._ask))
            case _:
                return False
        return not pool.stuck

    def _work(self, pool: SlotPool, batch: _Batch) -> None:
        """Do this, and what waits when it is done; or let it wait."""
        with self._lock:
            if self._busy >= max(BATCHES_MAX, pool.count + 1):
                full = len(self._waiting) >= WAITING_MAX and batch.attempt is None
                if not full:
                    self._waiting.append(batch)
                    return
            else:
                full = False
                self._busy += 1
                if self._busy == self._readers:
                    self._readers += 1
                    self._start_reader(pool)
        if full:
            self._tell(lambda sessions: _refused(batch.ask, sessions))
            return
        after: _Batch | None = batch
        while after is not None:
            after = self._done(self._do(pool, after))

    def _start_reader(self, pool: SlotPool) -> None:
        threading.Thread(target=self._read, args=(pool,), name="batch", daemon=True).start()

    def _open(self, ask: w.WorkerOpen) -> bool:
        try:
            self._pool = SlotPool(ask, self._clock)
            found = stock.take(self._pool.token, ask)
        except (CannotStart, CoreError) as error:
            self._say(_failed(error))
            return False
        self._ask = ask
        self._say(w.WorkerStocked(found))
        self._changed()
        self._pool.start(self._changed)
        for _ in range(self._pool.count):  # so many may have an ask in hand at the desk: they do not count as readers
            self._start_reader(self._pool)
        return True

    def _look(self, pool: SlotPool, ask: w.WorkerOpen) -> None:
        try:
            self._say(w.WorkerStocked(stock.take(pool.token, ask)))
        except CannotStart:
            return  # the mender finds out what ails it
        except BaseException:
            os._exit(_EXIT_LOST)

    def _do(self, pool: SlotPool, batch: _Batch) -> Callable[[int], w.FromWorker]:
        """The answer, but for the number of sessions."""
        ask = batch.ask
        if isinstance(ask, w.WorkerPing):
            rv = pool.look()
            return lambda sessions: w.WorkerPong(ask.id, sessions, rv)
        deadline_ns = max(ask.deadline_ns - _ANSWER_NS, 0)
        if isinstance(ask, w.WorkerKeep):
            results = pool.refresh(ask.jobs, ask.idle_ns, deadline_ns)
        else:
            results = pool.sign(ask.jobs, deadline_ns, batch.attempt)
        return lambda sessions: w.WorkerSigned(ask.id, results, sessions)

    def _done(self, answer: Callable[[int], w.FromWorker]) -> _Batch | None:
        """Say so; what is to be done next."""
        with self._lock:
            self._tell_locked(answer)
            if self._waiting:
                return self._waiting.popleft()
            self._busy -= 1
            if not self._busy:
                self._idle.notify_all()
            return None

    def _changed(self) -> None:
        """Sessions were opened or lost, or all is lost; called by the pool's mender, and once before it starts."""
        pool = self._pool
        assert pool is not None
        if pool.lost is not None:
            with self._idle:  # what waited for a session is being answered as not tried
                self._idle.wait_for(lambda: not self._busy, _LAST_ANSWERS_S)
            self._await_desk(pool)
            with contextlib.suppress(OSError):
                self._say(_failed(pool.lost))
            os._exit(_EXIT_LOST)
        if pool.sessions != self._told:
            self._tell(lambda sessions: w.WorkerReady(sessions, p11.single_threaded()))

    def _await_desk(self, pool: SlotPool) -> None:
        for _ in range(_DESK_POLLS):
            if not pool.desk.busy:
                return
            self._never.wait(_LAST_ANSWERS_S / _DESK_POLLS)

    def _say(self, message: w.FromWorker) -> None:
        with self._lock:
            self._send(message)

    def _tell(self, made: Callable[[int], w.FromWorker]) -> None:
        """A message with the number of sessions: read under the lock, so that the last one told is the newest."""
        with self._lock:
            self._tell_locked(made)

    def _tell_locked(self, made: Callable[[int], w.FromWorker]) -> None:
        assert self._pool is not None
        self._told = self._pool.sessions
        self._send(made(self._told))

    def _send(self, message: w.FromWorker) -> None:
        for packet in f.packets(f.frame(message)):
            self._connection.sendall(packet)


def _refused(ask: w.WorkerSign | w.WorkerKeep | w.WorkerPing, sessions: int) -> w.FromWorker:
    """There are too many already."""
    if isinstance(ask, w.WorkerPing):
        return w.WorkerPong(ask.id, sessions, _NO_SESSION)
    if isinstance(ask, w.WorkerKeep):
        return w.WorkerSigned(ask.id, (), sessions)
    return w.WorkerSigned(ask.id, (w.WorkerResult(b"", _NO_SESSION, 0, False),) * len(ask.jobs), sessions)


def _failed(error: CannotStart | CoreError) -> w.WorkerFailed:
    tag = error.tag if isinstance(error, PinRefused) else b""
    message, hint = error.message[: w.TEXT_MAX], error.hint[: w.TEXT_MAX]
    return w.WorkerFailed(error.reason, message, hint, error.reason in LASTING, tag)


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
        except (OSError, Malformed, CoreError):
            code = _EXIT_LOST
    sys.stderr.flush()
    os._exit(code)  # without the module's exit handlers, which may hang like the token that they belong to


if __name__ == "__main__":
    main(sys.argv[1:])
