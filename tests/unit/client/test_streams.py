"""Does the caller of a streaming call hear what went wrong, on his own side and on the other?"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from sealpress.client import Client, aio, connection
from sealpress.client.aio import AsyncClient
from sealpress.client.answers import LineInfo
from sealpress.client.config import ClientConfig
from sealpress.client.stream import StreamItem
from sealpress.errors import Invalid, Malformed, TransportError, Unavailable
from sealpress.v1 import audit_pb2, signing_pb2_grpc
from sealpress.v1 import signing_pb2 as pb
from sealpress.values import Format, Mode

LINE = LineInfo("a/b/c/d/e", Mode.DIRECT, Format.ECDSA_DER, "test", "active", b"", b"", "", (), "", "", None)
COUNT, BREAK_AT = 30, 10
TIMES = 30  # it takes luck to break off at that moment
ITEM = StreamItem(bytes(32), request_id="one")
Scenario = Callable[[AsyncClient], Any]


class Server(signing_pb2_grpc.SigningServiceServicer):
    """Answers what nobody asked for."""

    async def SignStream(self, requests: Any, context: Any) -> AsyncIterator[pb.SignResponse]:  # noqa: N802
        """After the last item."""
        del context
        async for _ in requests:
            pass
        yield pb.SignResponse(request_id="another")

    async def SignContent(self, parts: Any, context: Any) -> pb.SignResponse:  # noqa: N802
        """After the last chunk."""
        del context
        async for _ in parts:
            pass
        return pb.SignResponse()


class Breaking(signing_pb2_grpc.SigningServiceServicer):
    """Breaks each stream off with half of what came unanswered; the calls that it had are `came`."""

    def __init__(self, breaks: int) -> None:
        """So often."""
        self._breaks = breaks
        self.came: list[list[str]] = []

    async def SignStream(self, requests: Any, context: Any) -> AsyncIterator[pb.SignResponse]:  # noqa: N802
        """Every other item is answered at once, with an error of its own; the rest never, or at the end."""
        mine: list[str] = []
        self.came.append(mine)
        async for request in requests:
            mine.append(request.request_id)
            if len(self.came) > self._breaks or len(mine) % 2 == 0:
                yield pb.SignResponse(request_id=request.request_id, error=status_pb2.Status(code=3))
            if len(self.came) <= self._breaks and len(mine) == BREAK_AT:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection is over")

    async def Tail(self, request: Any, context: Any) -> AsyncIterator[audit_pb2.TailResponse]:  # noqa: N802
        """Two events from where it was asked to begin, and a heartbeat, then nothing more; or, at the end, all."""
        self.came.append([str(request.from_seq)])
        for seq in range(request.from_seq, request.from_seq + 2):
            yield audit_pb2.TailResponse(event=audit_pb2.LogEvent(seq=seq), next_seq=seq + 1)
        yield audit_pb2.TailResponse(next_seq=request.from_seq + 2)
        if len(self.came) <= self._breaks:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection is over")


def connect_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of this test need no certificates."""
    monkeypatch.setattr(connection, "credentials", lambda _: None)
    monkeypatch.setattr(grpc.aio, "secure_channel", lambda to, _, **how: grpc.aio.insecure_channel(to, **how))


def of_client(monkeypatch: pytest.MonkeyPatch, service: Any, scenario: Scenario) -> Any:
    """What a scenario returns with a client of that service."""

    async def run() -> Any:
        server = grpc.aio.server()
        signing_pb2_grpc.add_SigningServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
        if isinstance(service, Breaking):
            audit = {"Tail": grpc.unary_stream_rpc_method_handler(
                service.Tail, audit_pb2.TailRequest.FromString, audit_pb2.TailResponse.SerializeToString
            )}  # fmt: skip
            server.add_registered_method_handlers("sealpress.v1.AuditService", audit)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        connect_in_the_clear(monkeypatch)
        async with AsyncClient(ClientConfig(signing=f"127.0.0.1:{port}", ca="")) as client:
            client._lines[LINE.line] = LINE
            found = await scenario(client)
        await server.stop(None)
        return found

    return asyncio.run(run())


def heard(monkeypatch: pytest.MonkeyPatch, scenario: Scenario, service: Any = None) -> BaseException:
    """What a scenario raises in a client of a server that answers what nobody asked for, or of another."""

    async def run(client: AsyncClient) -> BaseException:
        with pytest.raises(BaseException) as caught:
            await scenario(client)
        return caught.value

    found: BaseException = of_client(monkeypatch, service or Server(), run)
    return found


async def stream(client: AsyncClient, items: Any) -> None:
    """Everything that is answered."""
    async for _ in client.sign_stream(items, line=LINE.line):
        pass


def test_what_the_caller_s_items_raise_reaches_him(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that fails is no cancelled call: the error is his own."""

    def items() -> Iterator[StreamItem]:
        yield from ()
        raise OSError("the list cannot be read")

    assert isinstance(heard(monkeypatch, lambda client: stream(client, items())), OSError)


def test_what_the_caller_s_content_raises_reaches_him(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for a file that cannot be read to its end."""

    def content() -> Iterator[bytes]:
        yield b"half"
        raise OSError("the disk is gone")

    assert isinstance(heard(monkeypatch, lambda client: client.sign_content(content(), line=LINE.line)), OSError)


def test_two_items_of_one_id_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could tell their answers apart."""
    assert isinstance(heard(monkeypatch, lambda client: stream(client, [ITEM, ITEM])), Malformed)


def test_an_answer_to_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that names another id is not believed, and said to be wrong."""
    error = heard(monkeypatch, lambda client: stream(client, [ITEM]))

    assert isinstance(error, Invalid)
    assert error.reason == "ANSWER"


async def later(items: Iterable[StreamItem]) -> AsyncIterator[StreamItem]:
    """One by one, with a pause before each."""
    for item in items:
        await asyncio.sleep(0.001)
        yield item


@pytest.mark.parametrize("source", [list, iter, later])
def test_a_stream_goes_on_when_its_connection_ends(monkeypatch: pytest.MonkeyPatch, source: Any) -> None:
    """What had no answer is sent again first, with its id, whoever made it up; each item is answered once."""
    service, items = Breaking(2), [StreamItem(number.to_bytes(32)) for number in range(COUNT)]

    async def scenario(client: AsyncClient) -> list[bytes]:
        return [answer.item.digest async for answer in client.sign_stream(source(items), line=LINE.line)]

    answered = of_client(monkeypatch, service, scenario)

    first, second, third = service.came
    assert sorted(answered) == [item.digest for item in items]
    assert second[: BREAK_AT // 2] == first[::2][: BREAK_AT // 2]
    assert third[: BREAK_AT // 2] == second[:BREAK_AT:2]
    assert len({*first, *second, *third}) == COUNT


def test_a_stream_that_brings_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that breaks off each time without an answer is asked so often and no more."""
    monkeypatch.setattr(connection, "retry_wait_ms", lambda *_: 1)

    class Dead(signing_pb2_grpc.SigningServiceServicer):
        count = 0

        async def SignStream(self, requests: Any, context: Any) -> None:  # noqa: N802
            self.count += 1
            await context.read()
            await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    service = Dead()

    async def scenario(client: AsyncClient) -> None:
        client._to.connected = True
        await stream(client, [ITEM])

    error = heard(monkeypatch, scenario, service)

    assert isinstance(error, TransportError)
    assert error.reason == "CONNECTION_LOST"
    assert service.count == aio.ATTEMPTS_MAX


@pytest.mark.parametrize("times", [2, 99])
def test_an_item_that_may_be_asked_again_is(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """A line that cannot sign for a while costs a stream time and no items; each is tried as often as a call."""
    monkeypatch.setattr(aio, "retry_wait_ms", lambda error, _: 1 if isinstance(error, Unavailable) else None)
    down = status_pb2.Status(code=grpc.StatusCode.UNAVAILABLE.value[0])
    down.details.add().Pack(error_details_pb2.ErrorInfo(reason="SLOT_DOWN", domain="sealpress"))
    asked = Counter[str]()

    class Down(signing_pb2_grpc.SigningServiceServicer):
        async def SignStream(self, requests: Any, context: Any) -> AsyncIterator[pb.SignResponse]:  # noqa: N802
            async for request in requests:
                asked[request.request_id] += 1
                other = request.request_id != "3" or asked["3"] > times
                error = status_pb2.Status(code=3) if other else down
                yield pb.SignResponse(request_id=request.request_id, error=error)

    async def scenario(client: AsyncClient) -> list[tuple[str, str]]:
        items = [StreamItem(bytes(32), request_id=str(number)) for number in range(COUNT)]
        found = [answer async for answer in client.sign_stream(later(items), line=LINE.line)]
        return [(answer.item.request_id, getattr(answer.error, "reason", "")) for answer in found]

    answered = dict(of_client(monkeypatch, Down(), scenario))

    assert len(answered) == len(asked) == COUNT
    assert [id_ for id_, count in asked.items() if count > 1] == ["3"]
    assert asked["3"] == min(times + 1, aio.ATTEMPTS_MAX)
    assert (answered["3"] == "SLOT_DOWN") == (times >= aio.ATTEMPTS_MAX)


def test_who_follows_goes_on_where_he_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each end of a connection the next event is asked for: none is missing, none comes twice."""
    service = Breaking(3)

    async def scenario(client: AsyncClient) -> list[int]:
        return [event.seq async for event in client.tail(5)]

    assert of_client(monkeypatch, service, scenario) == list(range(5, 13))
    assert service.came == [["5"], ["7"], ["9"], ["11"]]


def test_a_stream_that_is_broken_off_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who has read enough closes the client: no task stays behind on its loop, of which asyncio would tell."""

    def tail(request: Any, context: Any) -> Iterator[audit_pb2.TailResponse]:
        del request
        while context.is_active():
            yield audit_pb2.TailResponse(event=audit_pb2.LogEvent())

    connect_in_the_clear(monkeypatch)
    handlers = {"Tail": grpc.unary_stream_rpc_method_handler(tail, None, audit_pb2.TailResponse.SerializeToString)}
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_registered_method_handlers("sealpress.v1.AuditService", handlers)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    for _ in range(TIMES):
        with Client(ClientConfig(signing=f"127.0.0.1:{port}", ca="")) as client:
            next(client.tail())
    gc.collect()
    server.stop(None).wait()

    told = [record.getMessage() for record in caplog.records if record.name == "asyncio"]
    assert [text for text in told if text.startswith("Task")] == []  # gRPC's poller may come late to a closed loop
