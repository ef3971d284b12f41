"""Calls that are asked for ahead, on the grpc that is installed."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import grpc
import pytest
from grpc._cython import cygrpc
from grpc.aio import _server

from sealpress.rpc import accepting

METHOD = "/test.Accepting/Method"
Method = Callable[[bytes, Any], Awaitable[bytes]]


async def _served(
    method: Method, scenario: Callable[[Any, Any], Awaitable[None]], calls_max: int | None = None
) -> None:
    """Run a scenario with a server that has this method, and a multi-callable of it."""
    server = accepting.server((), (), calls_max)
    handlers = {"Method": grpc.unary_unary_rpc_method_handler(method)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Accepting", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await channel.channel_ready()
        await scenario(channel.unary_unary(METHOD), server)
    await server.stop(None)


async def _echo(request: bytes, context: Any) -> bytes:
    del context
    return request


def test_several_are_asked_for() -> None:
    """With this grpc the daemon has CALLS_AHEAD calls asked for, and again when some have come."""

    async def scenario(call: Any, server: Any) -> None:
        inner = server._server
        for _ in range(2):
            assert len(inner._asked) == accepting.CALLS_AHEAD
            assert await asyncio.gather(*(call(b"%d" % number) for number in range(100))) == [
                b"%d" % number for number in range(100)
            ]

    asyncio.run(_served(_echo, scenario))


def test_every_call_is_handled_once() -> None:
    """However many come at a time, and however many were asked for."""
    seen: list[bytes] = []

    async def method(request: bytes, context: Any) -> bytes:
        seen.append(request)
        return await _echo(request, context)

    async def scenario(call: Any, server: Any) -> None:
        del server
        await asyncio.gather(*(call(b"%d" % number) for number in range(200)))

    asyncio.run(_served(method, scenario))
    assert sorted(seen, key=int) == [b"%d" % number for number in range(200)]


def test_a_stop_ends_with_calls_under_way() -> None:
    """A server that is stopped in the middle of a crowd ends, and every caller hears something."""
    begun = asyncio.Event()

    async def method(request: bytes, context: Any) -> bytes:
        begun.set()
        await asyncio.sleep(60)  # nobody has his answer before the stop
        return await _echo(request, context)

    async def scenario(call: Any, server: Any) -> None:
        async def one() -> str:
            try:
                await call(b"x", timeout=30)
            except grpc.aio.AioRpcError as error:
                return str(error.code().name)
            return "OK"

        calls = [asyncio.create_task(one()) for _ in range(500)]
        await begun.wait()  # some are handled, some are asked for ahead, some are still in the core
        await asyncio.wait_for(server.stop(0.05), 20)
        assert set(await asyncio.gather(*calls)) <= {"UNAVAILABLE", "CANCELLED"}
        assert not server._server._here

    asyncio.run(_served(method, scenario))


def test_too_many_at_a_time_are_refused() -> None:
    """The bound on calls at a time is that of an ordinary server."""
    go_on = asyncio.Event()

    async def method(request: bytes, context: Any) -> bytes:
        await go_on.wait()
        return await _echo(request, context)

    async def scenario(call: Any, server: Any) -> None:
        del server
        calls = [asyncio.ensure_future(call(b"x")) for _ in range(40)]
        refused: set[asyncio.Future[bytes]] = set()
        while len(refused) < 10:
            refused, _ = await asyncio.wait(calls, timeout=5, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0.01)
        for one in refused:
            error = one.exception()
            assert isinstance(error, grpc.aio.AioRpcError)
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        go_on.set()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(answer == b"x" for answer in answers) == 30

    asyncio.run(_served(method, scenario, 30))


def test_an_ordinary_server_where_grpc_has_its_parts_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grpc with other insides serves all the same."""
    monkeypatch.delattr(cygrpc, "get_working_loop")

    async def made() -> str:
        monkeypatch.setattr(grpc.aio, "server", lambda **given: sorted(given))
        return str(accepting.server(()))

    assert asyncio.run(made()) == "['interceptors', 'maximum_concurrent_rpcs', 'options']"


class _Bare:
    """An inner server whose methods have other names."""


@pytest.mark.parametrize(
    ("module", "name", "instead"),
    [(cygrpc, "AioServer", None), (cygrpc, "AioServer", _Bare), (_server, "Server", None)],
)
def test_a_grpc_without_what_is_derived_from_serves(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, instead: type | None
) -> None:
    """A later grpc that has its servers elsewhere, or with other methods, does not keep the daemon from starting."""
    ordinary = object()
    spec = spec_from_file_location("accepting_elsewhere", accepting.__file__)
    assert spec is not None
    assert spec.loader is not None
    found: Any = module_from_spec(spec)
    if instead is None:
        monkeypatch.delattr(module, name)
    else:
        monkeypatch.setattr(module, name, instead)
    spec.loader.exec_module(found)
    monkeypatch.setattr(grpc.aio, "server", lambda **_: ordinary)

    async def made() -> Any:
        return found.server(())

    assert asyncio.run(made()) is ordinary


def test_only_new_threads_interrupt_nobody() -> None:
    """What is begun inside is SCHED_BATCH, what runs already stays as it was."""
    policies: list[int] = []

    def begun() -> None:
        policies.append(os.sched_getscheduler(0))

    with accepting._interrupting_nobody():
        thread = threading.Thread(target=begun)
        thread.start()
        thread.join()

    assert policies == [os.SCHED_BATCH]
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_where_it_is_not_allowed_threads_are_as_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system call filter that refuses does not keep the daemon from starting."""

    def refuse(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with accepting._interrupting_nobody():
        assert os.sched_getscheduler(0) == os.SCHED_OTHER
