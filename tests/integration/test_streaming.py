"""SignStream on a whole node: what it holds at most, what a bad item does, and what is left when it breaks off."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from kit.disk import FaultDisk
from kit.inside import start_inside
from kit.node import PROOF, Node
from sealpress.client import load_client
from sealpress.client.stream import StreamItem
from sealpress.client.tls import credentials
from sealpress.core.answer import Answers
from sealpress.rpc.streaming import Stream, Streams
from sealpress.steps._request import Caller
from sealpress.v1 import signing_pb2 as pb
from sealpress.v1 import signing_pb2_grpc, types_pb2
from sealpress.values import Identity

BOUND = 4
ITEMS = 24
STREAMS = 10
RESTARTED_ITEMS = 400
ITEMS_AT_ONCE = 16
SLOWER_S = 0.05
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)


def item(number: int, *, size: int = 32) -> pb.SignRequest:
    """A request; with another size a bad one."""
    digest = types_pb2.Digest(algorithm=types_pb2.DIGEST_ALGORITHM_SHA256, value=number.to_bytes(size))
    return pb.SignRequest(request_id=f"item-{number}", key=PROOF, digest=digest)


def header(number: int) -> pb.SignRequest:
    """Of a content that nobody knows the digest of."""
    sha256 = types_pb2.Digest(algorithm=types_pb2.DIGEST_ALGORITHM_SHA256)
    return pb.SignRequest(request_id=f"content-{number}", key=PROOF, digest=sha256)


class Wire:
    """The context of a call, as far as a stream knows it: hands out items, takes answers when it may."""

    def __init__(self, items: list[pb.SignRequest]) -> None:
        self.items = iter(items)
        self.given = 0
        self.answers: list[pb.SignResponse] = []
        self.held: list[bool] = []  # for each answer, whether it may wait for the next
        self._hold = False
        self.open = asyncio.Event()  # answers are taken
        self.exhausted = asyncio.Event()  # all were handed out
        self.ended = asyncio.Event()  # nothing more comes
        self.broken = False  # nobody is there any more

    async def read(self) -> Any:
        """The next item; after the last one nothing, until the caller has ended his half."""
        given = next(self.items, None)
        if given is not None:
            self.given += 1
            return given
        self.exhausted.set()
        await self.ended.wait()
        return grpc.aio.EOF

    async def write(self, answer: bytes) -> None:
        """Takes it."""
        await self.open.wait()
        if self.broken:
            raise grpc.aio.InternalError
        self.answers.append(pb.SignResponse.FromString(answer))
        self.held.append(self._hold)
        self._hold = False

    def disable_next_message_compression(self) -> None:
        """What is written next may wait for what comes after it (rpc/buffering.py)."""
        self._hold = True


class Inside:
    """A node whose daemon runs here, and streams on it."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def __aenter__(self) -> Inside:
        self._daemon, self._life = await start_inside(self._node, FaultDisk())
        assert self._daemon._flow is not None
        self.flow = self._daemon._flow
        rule = self.flow.shared.snapshot.lines[PROOF].rules[0]
        self._caller = Caller(Identity(min(rule.identities), bytes(32), 1 << 40), "here")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._life.cancel()
        await asyncio.gather(self._life, return_exceptions=True)

    def begin(self, wire: Wire) -> asyncio.Task[None]:
        """A stream over this wire."""
        shared = self.flow.shared
        stream = Stream(self.flow, Answers(), Streams(shared.limits), shared.telemetry, wire)
        return asyncio.create_task(stream.run(lambda: self._caller))


@pytest.fixture
def node() -> Any:
    """Its signer runs; its daemon is the test's."""
    with Node(settings={"limits": {"stream_items_pending_max": BOUND}}, start=False) as node:
        node.start("signer")
        yield node


async def until(condition: Any) -> None:
    """Within a few seconds."""
    async with asyncio.timeout(20):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


def test_a_stream_is_read_no_faster_than_it_is_answered(node: Node) -> None:
    """Nobody takes answers: one item beyond the bound is read. Then all are answered, and bad ones with their error."""

    async def scenario() -> None:
        async with Inside(node) as inside:
            wire = Wire([item(number, size=32 if number % 3 else 31) for number in range(ITEMS)])
            stream = inside.begin(wire)
            await until(lambda: not inside.flow.shared.live)
            await asyncio.sleep(0.05)
            assert (wire.given, wire.answers) == (BOUND + 1, [])
            wire.open.set()
            await until(lambda: len(wire.answers) == ITEMS)
            assert not stream.done()
            wire.ended.set()
            await stream
            answered = {answer.request_id: answer for answer in wire.answers}
            assert len(answered) == ITEMS
            assert any(wire.held)
            assert not (wire.held[0] or wire.held[-1])
            for number in range(ITEMS):
                answer = answered[f"item-{number}"]
                assert bool(answer.proof) is not answer.HasField("error") is (number % 3 == 0)

    asyncio.run(scenario())


def test_nobody_waits_for_the_items_of_a_stream_that_broke_off(node: Node) -> None:
    """Its requests have no waiter any more, so those that were not recorded yet never are."""

    async def scenario() -> None:
        async with Inside(node) as inside:
            wire = Wire([item(number) for number in range(BOUND)])
            stream = inside.begin(wire)
            await wire.exhausted.wait()
            tickets = list(inside.flow.shared.live.values())
            assert len(tickets) == BOUND
            assert all(ticket.waiters for ticket in tickets)
            stream.cancel()
            await asyncio.gather(stream, return_exceptions=True)
            assert not any(ticket.waiters for ticket in tickets)
            await until(lambda: not inside.flow.shared.live)

    asyncio.run(scenario())


def test_a_caller_who_went_away_is_cancelled_and_no_error(node: Node) -> None:
    """A write to nobody ends the stream as gRPC's cancellation does: it is nothing to log, and nobody waits."""

    async def scenario() -> None:
        async with Inside(node) as inside:
            wire = Wire([item(number) for number in range(ITEMS)])
            wire.broken = True
            stream = inside.begin(wire)
            await until(lambda: wire.given > BOUND)
            tickets = list(inside.flow.shared.live.values())
            wire.open.set()
            await asyncio.wait([stream], timeout=20)
            assert stream.cancelled()
            assert not any(ticket.waiters for ticket in tickets)
            assert wire.answers == []
            await until(lambda: not inside.flow.shared.live)

    asyncio.run(scenario())


def test_a_known_item_is_answered_on_the_stream_from_the_log(node: Node) -> None:
    """The same items again get the same leaves, read back or still under way."""

    async def scenario() -> None:
        async with Inside(node) as inside:
            leaves = []
            for _ in range(2):
                wire = Wire([item(number) for number in range(BOUND)])
                wire.open.set()
                wire.ended.set()
                await inside.begin(wire)
                leaves.append({answer.request_id: answer.leaf_index for answer in wire.answers})
                await until(lambda: not inside.flow.shared.live)
            assert leaves[0] == leaves[1]
            assert len(leaves[0]) == BOUND

    asyncio.run(scenario())


def test_a_stream_after_a_stream_is_answered_as_quickly_as_the_first() -> None:
    """On one connection, many items at a time: no first answer waits for anything but its commit."""

    async def seconds_to_first(stub: Any, serial: int) -> float:
        room = asyncio.Semaphore(ITEMS_AT_ONCE)

        async def items() -> AsyncIterator[pb.SignRequest]:
            for number in range(serial * 100, serial * 100 + 100):
                await room.acquire()
                yield item(number)

        started = time.monotonic()
        answered: list[float] = []
        async for answer in stub.SignStream(items()):
            assert answer.proof
            answered.append(time.monotonic() - started)
            room.release()
        assert len(answered) == 100
        return answered[0]

    async def scenario(node: Node) -> list[float]:
        trust = credentials(load_client(node.directory / "client.toml"))
        async with grpc.aio.secure_channel(node.ready["signing"], trust) as channel:
            await channel.channel_ready()
            stub = signing_pb2_grpc.SigningServiceStub(channel)  # type: ignore[no-untyped-call]
            return [await seconds_to_first(stub, serial) for serial in range(STREAMS)]

    with Node() as node:
        first, *later = asyncio.run(scenario(node))
    assert statistics.median(later) < first + SLOWER_S, (first, later)


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_a_client_s_stream_outlives_the_daemon(end: str) -> None:
    """The daemon is killed, or stopped, and started again: the client's items are all signed, each in one leaf."""
    signed: dict[bytes, int] = {}

    async def items() -> AsyncIterator[StreamItem]:
        for number in range(RESTARTED_ITEMS):
            await asyncio.sleep(0.002)
            yield StreamItem(number.to_bytes(32))

    with Node() as node:
        mine = {"address": node.ready["signing"], "services": ["signing", "audit"], "auth": "mtls"}
        node.configure({"listen": [mine]})  # the same again after its restart
        async with node.aclient() as client:
            async for answer in client.sign_stream(items(), line=PROOF):
                assert answer.signed is not None, answer.error
                signed[answer.item.digest] = answer.signed.leaf_index
                if len(signed) == RESTARTED_ITEMS // 4:
                    await asyncio.to_thread(getattr(node, end), "serve")
                    await asyncio.to_thread(node.start, "serve")
        with node.client() as reader:
            requests = [event for event in reader.tail() if event.type == "request"]

    assert len(signed) == len(set(signed.values())) == len(requests) == RESTARTED_ITEMS


def test_content_that_breaks_off_is_not_signed() -> None:
    """An upload that its caller cancels, or whose connection is lost, is no content that ends there."""

    async def upload(stub: Any, begun: asyncio.Event, number: int) -> None:
        async def parts() -> AsyncIterator[pb.SignContentRequest]:
            yield pb.SignContentRequest(header=header(number))
            yield pb.SignContentRequest(chunk=b"the first half")
            await asyncio.sleep(SLOWER_S)
            begun.set()
            await asyncio.sleep(60)

        await stub.SignContent(parts())

    async def scenario(node: Node) -> None:
        trust = credentials(load_client(node.directory / "client.toml"))
        for number in range(20):
            async with grpc.aio.secure_channel(node.ready["signing"], trust, OWN_CONNECTION) as channel:
                begun = asyncio.Event()
                stub: Any = signing_pb2_grpc.SigningServiceStub(channel)  # type: ignore[no-untyped-call]
                call = asyncio.create_task(upload(stub, begun, number))
                await begun.wait()
                if number % 2:
                    await channel.close()
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
        await asyncio.sleep(SLOWER_S)

    with Node() as node, node.client() as client:
        asyncio.run(scenario(node))
        client.sign(bytes(32), line=PROOF)
        requests = [event for event in client.tail() if event.type == "request"]
        assert len(requests) == 1
        client.sign_content([b"the first half"], line=PROOF)
