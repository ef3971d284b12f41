"""What do policy, durable log, token and proof add to a call, beside an empty handler of the same server?

Both sides are processes of their own with the same options, TLS and event loop; one client here asks both in turns, on
one connection each. The client is grpc's bare one: what it costs, both sides bear.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
import pytest

from bench.run import Target
from kit.node import PROOF, PROOF_P256, Node
from sealpress.client import load_client
from sealpress.client.tls import credentials
from sealpress.v1 import signing_pb2 as pb
from sealpress.v1 import signing_pb2_grpc, types_pb2

if TYPE_CHECKING:
    from bench.harness import Ratios

IN_FLIGHT = 64
STREAM_IN_FLIGHT = 512  # of a caller who sends as long as the node reads, as our own client does
NEEDED = 0.85
BATCH_ITEMS = 10_000
BATCHES_IN_FLIGHT = 4
BYTES_MAX = 64 << 20


@dataclass
class Caller:
    """One connection to one server, on a loop of its own."""

    node: Node
    address: str
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    serial: int = 0

    def __post_init__(self) -> None:
        """Connect."""
        self.loop.run_until_complete(self._connect())

    async def _connect(self) -> None:
        trust = credentials(load_client(self.node.directory / "client.toml"))
        limits = (("grpc.max_receive_message_length", BYTES_MAX), ("grpc.max_send_message_length", BYTES_MAX))
        self._channel = grpc.aio.secure_channel(self.address, trust, options=limits)
        await self._channel.channel_ready()
        self._stub: Any = signing_pb2_grpc.SigningServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Hang up."""
        self.loop.run_until_complete(self._channel.close())
        self.loop.close()

    def unary(self, line: str, count: int) -> list[pb.SignResponse]:
        """`count` Sign calls, IN_FLIGHT at a time."""
        return self._many(lambda number: _request(number, line), self._stub.Sign, count, IN_FLIGHT)

    def stream(self, line: str, count: int, width: int = IN_FLIGHT) -> list[pb.SignResponse]:
        """`count` items of one SignStream, `width` at a time."""
        first = self.serial
        self.serial += count
        answers: list[pb.SignResponse] = []

        async def all_of_them() -> None:
            room = asyncio.Semaphore(width)

            async def items() -> AsyncIterator[pb.SignRequest]:
                for number in range(first, first + count):
                    await room.acquire()
                    yield _request(number, line)

            async for answer in self._stub.SignStream(items()):
                answers.append(answer)
                room.release()

        self.loop.run_until_complete(all_of_them())
        return answers

    def batches(self, line: str, count: int, items: int) -> list[pb.SignBatchResponse]:
        """`count` SignBatch calls of `items` digests."""
        digests = os.urandom(32 * items)
        algorithm = types_pb2.DIGEST_ALGORITHM_SHA256

        def request(number: int) -> pb.SignBatchRequest:
            return pb.SignBatchRequest(request_id=f"b{number}", key=line, algorithm=algorithm, digests=digests)

        return self._many(request, self._stub.SignBatch, count, BATCHES_IN_FLIGHT)

    def _many(
        self, request: Callable[[int], Any], call: Callable[[Any], Awaitable[Any]], count: int, width: int
    ) -> list[Any]:
        answers: list[Any] = []
        numbers = iter(range(self.serial, self.serial + count))
        self.serial += count

        async def one() -> None:
            for number in numbers:
                answers.append(await call(request(number)))

        async def all_of_them() -> None:
            await asyncio.gather(*(one() for _ in range(min(width, count))))

        self.loop.run_until_complete(all_of_them())
        return answers


def _request(number: int, line: str) -> pb.SignRequest:
    value = types_pb2.Digest(algorithm=types_pb2.DIGEST_ALGORITHM_SHA256, value=number.to_bytes(32))
    return pb.SignRequest(request_id=f"u{number}", key=line, digest=value)


@contextmanager
def empty_server(node: Node, *ours: str) -> Iterator[str]:
    """The baseline's process; its address. `ours`: it takes up calls as our listeners do."""
    tls = node.directory / "tls"
    program = Path(__file__).with_name("empty_server.py")
    arguments = [
        sys.executable,
        str(program),
        *(str(tls / name) for name in ("server.pem", "server.key", "ca.pem")),
        *ours,
    ]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        if not address:
            raise RuntimeError("the empty server did not start; its stderr says why")
        yield address
        process.communicate(timeout=30)


class Sides(NamedTuple):
    """Connections."""

    node: Caller
    plain: Caller  # to an empty handler of grpc.aio's server
    ours: Caller  # to one of a server that takes up calls as the node's does


@pytest.fixture(scope="module")
def sides() -> Iterator[Sides]:
    """A whole node, and two servers that do nothing."""
    with Node() as node, empty_server(node) as plain, empty_server(node, "ours") as ours:
        made = Sides(*(Caller(node, address) for address in (node.ready["signing"], plain, ours)))
        yield made
        for one in made:
            one.close()


@pytest.mark.parametrize("line", [PROOF, PROOF_P256])
def test_unary(ratio: Ratios, tiny: bool, sides: Sides, line: str) -> None:
    """Sign with 64 calls in flight: recorded, durable, sealed and proved, against an empty answer of grpc.aio."""
    name = f"Sign, {IN_FLIGHT} in flight, {line.rpartition('-')[2]}"
    asked = [partial(side.unary, line) for side in (sides.node, sides.plain)]
    _race(ratio, tiny, asked, (name, "call/s", "empty handler"), Target(ratio_min=NEEDED))


def test_unary_beside_our_own_server(ratio: Ratios, tiny: bool, sides: Sides) -> None:
    """The same against an empty handler that has what our listeners do to grpc.aio (rpc/accepting.py), too."""
    asked = [partial(side.unary, PROOF) for side in (sides.node, sides.ours)]
    _race(ratio, tiny, asked, ("Sign, the server tuned as ours", "call/s", "empty handler, tuned"))


@pytest.mark.parametrize("width", [IN_FLIGHT, STREAM_IN_FLIGHT])
def test_stream(ratio: Ratios, tiny: bool, sides: Sides, width: int) -> None:
    """SignStream with 64 and with 512 items in flight: the same work, on one call."""
    name = f"SignStream, {width} in flight"
    asked = [partial(side.stream, PROOF, width=width) for side in (sides.node, sides.plain)]
    _race(ratio, tiny, asked, (name, "item/s", "empty stream handler"), Target(ratio_min=NEEDED))


def test_stream_beside_our_own_server(ratio: Ratios, tiny: bool, sides: Sides) -> None:
    """The same against an empty handler whose threads do not interrupt it, either."""
    asked = [partial(side.stream, PROOF) for side in (sides.node, sides.ours)]
    _race(ratio, tiny, asked, ("SignStream, the server tuned as ours", "item/s", "empty stream handler, tuned"))


def _race(
    ratio: Ratios,
    tiny: bool,
    asked: Sequence[Callable[[int], list[pb.SignResponse]]],
    words: tuple[str, str, str],
    target: Target | None = None,
) -> None:
    """`asked`: the node and who does nothing; `words`: name, unit and baseline of the row. Looks at all answers."""
    (node, nobody), (name, unit, other) = asked, words
    count = 64 if tiny else 8_000

    def ours(count: int) -> None:
        answers = node(count)
        assert len(answers) == count and all(answer.proof for answer in answers)

    def theirs(count: int) -> None:
        assert len(nobody(count)) == count

    ours(count)
    ratio.race(
        name,
        unit,
        amount=count,
        product=lambda: ours(count),
        baseline=lambda: theirs(count),
        baseline_name=other,
        target=target,
    )


def test_batch(ratio: Ratios, tiny: bool, sides: Sides) -> None:
    """SignBatch of 10,000 digests: items per second, against the same message thrown away."""
    ours, theirs = sides.node, sides.plain
    items, count = (100, 4) if tiny else (BATCH_ITEMS, 100)

    def asked() -> None:
        answers = ours.batches(PROOF, count, items)
        assert all(answer.count == items and answer.checkpoint for answer in answers)

    asked()
    ratio.race(
        f"SignBatch of {items:,}, {BATCHES_IN_FLIGHT} in flight",
        "item/s",
        amount=items * count,
        product=asked,
        baseline=lambda: theirs.batches(PROOF, count, items),
        baseline_name="empty handler",
    )
