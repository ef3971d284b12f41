"""Does the client take only what answers its own question, and does it notice when nobody answers any more?"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import grpc
import pytest

from sealpress.client import aio, connection, listeners
from sealpress.client.aio import AsyncClient
from sealpress.client.answers import LineInfo
from sealpress.client.config import ClientConfig
from sealpress.client.control import ControlClient
from sealpress.client.stream import StreamItem
from sealpress.errors import Invalid, TransportError, Unavailable
from sealpress.rpc import status
from sealpress.v1 import approval_pb2, grant_pb2, signing_pb2_grpc, types_pb2
from sealpress.v1 import governance_pb2 as governance
from sealpress.v1 import signing_pb2 as pb
from sealpress.values import Format, Mode

LINE = LineInfo("a/b/c/d/e", Mode.DIRECT, Format.ECDSA_DER, "test", "active", b"", b"", "", (), "", "", None)
FAST = (
    ("grpc.keepalive_time_ms", 200),
    ("grpc.keepalive_timeout_ms", 200),
    ("grpc.http2.ping_timeout_ms", 200),
    ("grpc.http2.max_pings_without_data", 0),
)


class Confused(signing_pb2_grpc.SigningServiceServicer):
    """Answers something else each time."""

    async def GetKey(self, request: Any, context: Any) -> pb.GetKeyResponse:  # noqa: N802
        """Another line's."""
        return pb.GetKeyResponse(key=types_pb2.Key(line="a/b/c/d/another", mode="direct", format="ecdsa-der"))

    async def Sign(self, request: Any, context: Any) -> pb.SignResponse:  # noqa: N802
        """Another request's."""
        return pb.SignResponse(request_id="another")

    async def SignBatch(self, request: Any, context: Any) -> pb.SignBatchResponse:  # noqa: N802
        """The same."""
        return pb.SignBatchResponse(request_id="another", count=1, signatures=[b"x"])

    async def SignContent(self, parts: Any, context: Any) -> pb.SignResponse:  # noqa: N802
        """The same."""
        async for _ in parts:
            pass
        return pb.SignResponse(request_id="another")

    async def SignStream(self, requests: Any, context: Any) -> AsyncIterator[pb.SignResponse]:  # noqa: N802
        """Nothing, and says that this is all."""
        async for _ in requests:
            pass
        for answer in ():
            yield answer


@pytest.fixture(autouse=True)
def in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of this module need no certificates."""
    for module in (connection, listeners):
        monkeypatch.setattr(module, "credentials", lambda _: None)
    monkeypatch.setattr(grpc.aio, "secure_channel", lambda to, _, **how: grpc.aio.insecure_channel(to, **how))
    monkeypatch.setattr(grpc, "secure_channel", lambda to, _, **how: grpc.insecure_channel(to, **how))


async def _all(client: AsyncClient) -> None:
    async for _ in client.sign_stream([StreamItem(bytes(32))], line=LINE.line):
        pass


async def asked_of(servicer: Any, ask: Callable[[AsyncClient], Awaitable[Any]], **options: Any) -> Any:
    """What a client has of such a daemon: its answer, or the error."""
    server = grpc.aio.server()
    signing_pb2_grpc.add_SigningServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with AsyncClient(ClientConfig(signing=f"127.0.0.1:{port}", ca=""), **options) as client:
        client._lines[LINE.line] = LINE
        (found,) = await asyncio.gather(ask(client), return_exceptions=True)
    await server.stop(None)
    return found


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda client: client.key("a/b/c/d/other"), "another line"),
        (lambda client: client.sign(bytes(32), line=LINE.line), "another request"),
        (lambda client: client.sign_batch(bytes(32), line=LINE.line), "another request"),
        (lambda client: client.sign_content([b"x"], line=LINE.line), "another request"),
        (_all, "1 items have no answer"),
    ],
)
def test_what_answers_another_question_is_refused(ask: Any, words: str) -> None:
    """A key of another line, an answer to another request, and a stream that ends too early are not taken."""
    error = asyncio.run(asked_of(Confused(), ask))

    assert isinstance(error, Invalid)
    assert error.reason == "ANSWER"
    assert words in error.message


@pytest.mark.parametrize("good", [True, False])
def test_a_key_that_the_line_had_is_one_of_the_line(*, good: bool) -> None:
    """Among those with which answers count, none is taken that the daemon lists for another line."""

    def listed(line: str) -> types_pb2.Key:
        return types_pb2.Key(line=line, mode="direct", format="ecdsa-der", key_id=b"former")

    class Rotated(Confused):
        async def GetKey(self, request: Any, context: Any) -> pb.GetKeyResponse:  # noqa: N802
            former = listed(LINE.line if good else "a/b/c/d/another")
            return pb.GetKeyResponse(key=listed(request.key), former=[listed(request.key), former])

    found = asyncio.run(asked_of(Rotated(), lambda client: client._get_keys(LINE.line, None)))

    if good:
        assert [info.line for info in found] == [LINE.line] * 3
    else:
        assert isinstance(found, Invalid)
        assert (found.reason, "another line" in found.message) == ("ANSWER", True)


@pytest.mark.parametrize(("slow", "asked"), [(2, 3), (9, 3)])
def test_a_signature_that_takes_long_is_waited_for(monkeypatch: pytest.MonkeyPatch, slow: int, asked: int) -> None:
    """A slow token takes minutes for a large batch: asked for again by its id, for as long as the caller has time."""
    monkeypatch.setattr(aio, "check_batch", lambda *_, **__: "signed")
    monkeypatch.setattr(aio, "ATTEMPT_S", 0.5)
    came: list[str] = []

    class Slow(Confused):
        async def SignBatch(self, request: Any, context: Any) -> pb.SignBatchResponse:  # noqa: N802
            came.append(request.request_id)
            if len(came) <= slow:
                await asyncio.sleep(20)
            return pb.SignBatchResponse(request_id=request.request_id)

    found = asyncio.run(asked_of(Slow(), lambda client: client.sign_batch(bytes(32), line=LINE.line), timeout_s=1.5))

    assert getattr(found, "reason", found) == ("signed" if slow < asked else "DEADLINE")
    assert (len(came), len(set(came))) == (asked, 1)


def test_an_answer_to_a_part_of_the_content_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that saw the beginning only has not signed the rest, though its signature fits the beginning."""
    monkeypatch.setattr(aio, "check_answer", lambda *_, **__: None)

    class Hasty(Confused):
        async def SignContent(self, parts: Any, context: Any) -> pb.SignResponse:  # noqa: N802
            return pb.SignResponse(request_id=(await anext(parts)).header.request_id)

    content = itertools.repeat(bytes(1 << 20), 64)
    error = asyncio.run(asked_of(Hasty(), lambda client: client.sign_content(content, line=LINE.line)))

    assert isinstance(error, Invalid)
    assert "all of the content" in error.message


@contextlib.contextmanager
def served(service: str, method: str, answers: Any) -> Iterator[ControlClient]:
    """A client of a daemon with this one method, a stream of answers."""
    server = grpc.server(ThreadPoolExecutor(2))
    handlers = {method: grpc.unary_stream_rpc_method_handler(answers, None, lambda one: one.SerializeToString())}
    server.add_registered_method_handlers(f"sealpress.v1.{service}", handlers)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    with ControlClient(ClientConfig(signing=address, control=address, ca="")) as client:
        yield client
    server.stop(None).wait()


def test_a_grant_is_watched_until_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that the daemon ends after its hour says nothing about the grant: the client asks again."""
    monkeypatch.setattr(listeners, "PAUSE_S", 0.0)
    hours = iter([["in_review"], ["in_review"], [], ["in_review", "held"], ["held", "active", "exhausted"], ["late"]])

    def watch(request: Any, context: Any) -> Iterator[grant_pb2.WatchGrantResponse]:
        for state in next(hours):
            yield grant_pb2.WatchGrantResponse(grant=grant_pb2.Grant(state=state))

    with served("GrantService", "WatchGrant", watch) as client:
        told = [grant.state for grant in client.watch_grant("g")]

    assert told == ["in_review", "held", "active", "exhausted"]


def test_a_grant_is_watched_across_a_stop_of_the_daemon() -> None:
    """A stream that ends with the daemon, or after its hour, is asked for again after the delay that it was told."""
    ends = iter(["SHUTTING_DOWN", "STREAM_ENDED", ""])

    def watch(request: Any, context: Any) -> Iterator[grant_pb2.WatchGrantResponse]:
        reason = next(ends)
        yield grant_pb2.WatchGrantResponse(grant=grant_pb2.Grant(state="in_review" if reason else "expired"))
        if reason:
            rich = status.to_status(Unavailable("it ends", reason=reason, retry_after_ms=1))
            context.set_trailing_metadata(((status.DETAILS_KEY, rich.SerializeToString()),))
            context.abort(grpc.StatusCode.UNAVAILABLE, rich.message)

    with served("GrantService", "WatchGrant", watch) as client:
        told = [grant.state for grant in client.watch_grant("g")]

    assert told == ["in_review", "expired"]


def test_no_daemon_says_to_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever watches asks again after a few seconds at most, whatever delay an end of a stream comes with."""
    paused: list[float] = []
    monkeypatch.setattr(listeners.time, "sleep", paused.append)
    ends = iter(["STREAM_ENDED", ""])

    def watch(request: Any, context: Any) -> Iterator[grant_pb2.WatchGrantResponse]:
        if reason := next(ends):
            rich = status.to_status(Unavailable("it ends", reason=reason, retry_after_ms=1 << 50))
            context.set_trailing_metadata(((status.DETAILS_KEY, rich.SerializeToString()),))
            context.abort(grpc.StatusCode.UNAVAILABLE, rich.message)
        yield grant_pb2.WatchGrantResponse(grant=grant_pb2.Grant(state="expired"))

    with served("GrantService", "WatchGrant", watch) as client:
        assert [grant.state for grant in client.watch_grant("g")] == ["expired"]
    assert paused == [5.0]


def test_what_waits_is_watched_for_as_long_as_somebody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stays is told each change once, however often the daemon ends its stream."""
    monkeypatch.setattr(listeners, "PAUSE_S", 0.0)
    hours = iter([["a"], ["a", "b"], ["b"], ["c"]])

    def watch(request: Any, context: Any) -> Iterator[approval_pb2.WatchResponse]:
        for change_id in next(hours):
            yield approval_pb2.WatchResponse(change=governance.Change(change_id=change_id))

    with served("ApprovalService", "Watch", watch) as client:
        told = [change.change_id for change in itertools.islice(client.watch(), 3)]

    assert told == ["a", "b", "c"]


def test_what_is_watched_is_found_again() -> None:
    """The daemon is away for a while after its stop: whoever watches, or asks anew, knocks until another answers."""
    ends = iter([True, False])

    def watch(request: Any, context: Any) -> Iterator[grant_pb2.WatchGrantResponse]:
        stops = next(ends)
        yield grant_pb2.WatchGrantResponse(grant=grant_pb2.Grant(state="in_review" if stops else "expired"))
        if stops:
            rich = status.to_status(Unavailable("it ends", reason="SHUTTING_DOWN", retry_after_ms=1))
            context.set_trailing_metadata(((status.DETAILS_KEY, rich.SerializeToString()),))
            context.abort(grpc.StatusCode.UNAVAILABLE, rich.message)

    def daemon(address: str) -> tuple[grpc.Server, str]:
        server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
        handlers = {
            "WatchGrant": grpc.unary_stream_rpc_method_handler(watch, None, lambda one: one.SerializeToString()),
            "GetGrant": grpc.unary_unary_rpc_method_handler(
                lambda request, context: grant_pb2.GetGrantResponse(), None, lambda one: one.SerializeToString()
            ),
        }
        server.add_registered_method_handlers("sealpress.v1.GrantService", handlers)
        address = f"127.0.0.1:{server.add_insecure_port(address)}"
        server.start()
        return server, address

    first, address = daemon("127.0.0.1:0")
    config = ClientConfig(signing=address, control=address, ca="")
    with ControlClient(config) as client, ControlClient(config) as new:
        watched = client.watch_grant("g")
        told = [next(watched).state]
        first.stop(10).wait()  # not before that word has left
        second: list[grpc.Server] = []
        later = threading.Timer(1.0, lambda: second.append(daemon(address)[0]))
        later.start()
        told += [grant.state for grant in watched]
        later.join()
        second.pop().stop(None).wait()
        later = threading.Timer(0.5, lambda: second.append(daemon(address)[0]))
        later.start()
        new.grant("g")
        later.join()
        second.pop().stop(None).wait()

    assert told == ["in_review", "expired"]


class Wall:
    """A way to the daemon that lets nothing through once it is closed, and says nothing about it."""

    def __init__(self, target: str) -> None:
        """Open."""
        host, _, port = target.rpartition(":")
        self.closed = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._far = socket.create_connection((host, int(port)))
        self._ends = [self._listening, self._far]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left."""
        for end in self._ends:
            end.close()

    def _accept(self) -> None:
        near, _ = self._listening.accept()
        self._ends.append(near)
        threading.Thread(target=self._pass, args=(self._far, near), daemon=True).start()
        self._pass(near, self._far)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(1 << 16):
                if self.closed.is_set():
                    return
                target.sendall(part)


def test_a_daemon_that_is_gone_without_a_word_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever follows a stream through a network that lets nothing through any more hears of it."""
    assert {name for name, _ in FAST} == {name for name, _ in listeners.KEEPALIVE}
    kept = [option for option in listeners._OPTIONS if option not in listeners.KEEPALIVE]
    assert len(kept) + len(FAST) == len(listeners._OPTIONS)
    monkeypatch.setattr(listeners, "_OPTIONS", (*kept, *FAST))
    ended = threading.Event()

    def watch(request: Any, context: Any) -> Iterator[approval_pb2.WatchResponse]:
        yield approval_pb2.WatchResponse(change=governance.Change(change_id="a"))
        ended.wait(20)

    with served("ApprovalService", "Watch", watch) as client, Wall(client.config.control) as wall:
        client._to.config = ClientConfig(signing="", control=wall.address, ca="")
        changes = client.watch()
        next(changes)
        wall.closed.set()
        with pytest.raises(TransportError) as caught:
            next(changes)
        ended.set()

    assert caught.value.reason == "CONNECTION_LOST"
