"""How gRPC's server of this process takes up calls: several at a time, by threads that interrupt nobody.

grpc.aio asks its core for one call, and for the next when it has that one. The core answers through a thread of its
own, and each answer wakes that thread and then the loop: with 64 callers the loop slept while half of them waited.
Asked for ahead, the calls that have come meanwhile are told with one waking.

That thread and those that read from connections wake for every record. Each time the scheduler would let them take the
processor from the loop, which would have come to them a moment later anyway: they are SCHED_BATCH, so they take a
processor that is idle, or their turn. On a machine that has more to run than processors they wait longer for it.

A registered method is asked for apart from all others, and the loop looks through as many futures with each call: every
method is a generic one here.

Guarantees: at most CALLS_AHEAD calls wait here, in the order in which the core tells of them; with a grpc that has its
parts elsewhere, or a system that does not allow it, the server is an ordinary one. Does not: handle a call.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import grpc

try:
    from grpc._cython import cygrpc
    from grpc._cython.cygrpc import AioServer
    from grpc.aio._server import Server
except ImportError:  # nothing can be made of these, so the server is an ordinary one
    cygrpc, AioServer, Server = None, object, object

CALLS_AHEAD = 16
NEEDED = ("_make_request_call_future", "_request_call", "_start_shutting_down")  # of AioServer


def server(options: Sequence[tuple[str, Any]], interceptors: Sequence[Any] = (), calls_max: int | None = None) -> Any:
    """A grpc.aio.Server; more than `calls_max` calls at a time are refused."""
    with _interrupting_nobody():
        try:
            return _Server(options, interceptors, calls_max)
        except (AttributeError, TypeError):
            return grpc.aio.server(
                options=options, interceptors=interceptors or None, maximum_concurrent_rpcs=calls_max
            )


class _Server(Server):  # type: ignore[misc]
    """grpc.aio's server with another inner one."""

    def __init__(self, options: Sequence[tuple[str, Any]], interceptors: Sequence[Any], calls_max: int | None) -> None:
        self._loop = cygrpc.get_working_loop()
        self._server = _Ahead(self._loop, None, (), interceptors, tuple(options), calls_max)

    def add_registered_method_handlers(self, service_name: str, method_handlers: Any) -> None:
        """Generated code adds each method as a generic one, too."""


class _Ahead(AioServer):  # type: ignore[misc]
    """Asks for the next calls before it can handle them. Its base's loop awaits one after the other."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *others: Any) -> None:
        if not all(hasattr(AioServer, name) for name in NEEDED):
            raise AttributeError
        super().__init__(loop, *others)
        self._the_loop = loop
        self._asked: set[asyncio.Task[Any]] = set()
        self._here: deque[asyncio.Task[Any]] = deque()  # those that have come, the first one first
        self._next: asyncio.Future[Any] | None = None  # that the base's loop awaits
        self._ended = False

    def _make_request_call_future(self, method: bytes | None) -> Any:
        """What the base's loop awaits for the next call."""
        if method is not None:
            return super()._make_request_call_future(method)
        while len(self._asked) + len(self._here) < CALLS_AHEAD:
            task = self._the_loop.create_task(self._request_call())
            self._asked.add(task)
            task.add_done_callback(self._came)
        self._next = self._the_loop.create_future()
        self._hand_over()
        return self._next

    async def _start_shutting_down(self) -> None:
        await super()._start_shutting_down()
        self._ended = True
        self._here.clear()  # the server ends when nobody holds a call any more

    def _came(self, task: asyncio.Task[Any]) -> None:
        self._asked.discard(task)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or self._ended:
            return
        if error is None:
            self._here.append(task)
            self._hand_over()
        elif self._next is not None and not self._next.done():
            self._next.set_exception(error)  # the base's loop asks again, unless the server stops

    def _hand_over(self) -> None:
        if self._next is not None and not self._next.done() and self._here:
            self._next.set_result(self._here.popleft().result())


@contextlib.contextmanager
def _interrupting_nobody() -> Iterator[None]:
    """Threads that are begun meanwhile do not take a processor from others when they wake; they inherit that."""
    before = os.sched_getscheduler(0)
    with contextlib.suppress(OSError):  # not allowed here: they are as all others
        if before == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if before == os.SCHED_OTHER:
                os.sched_setscheduler(0, before, os.sched_param(0))
