"""What does governance cost: one decision, and a request, beside a node without it?

A request is asked of two daemons in turns, with the same token, certificate, rule and disk; what is compared is CPU
seconds of the daemons, not time. The governed one also finds a grant, spends it and records why. The flow alone, with a
signer in memory and no gRPC around it, is measured beside, without a bound.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from bench.run import Target
from bench.usage import anonymous_bytes, cpu_s
from kit.acme import LOW, RELEASE, TEST, ask, caller, digest
from kit.governed import Governed
from kit.governing import govern
from kit.node import PROOF, Node
from kit.policies import token
from sealpress.client import load_client
from sealpress.client.tls import credentials
from sealpress.clock import SystemClock
from sealpress.governance import usage
from sealpress.governance.snapshot import Snapshot
from sealpress.v1 import signing_pb2 as pb
from sealpress.v1 import signing_pb2_grpc, types_pb2
from sealpress.values import KeyClass
from sealpress.wiring import dev

if TYPE_CHECKING:
    from bench.harness import Ratios

DECISION_US_MAX = 5.0
COLD_US_MAX = 100.0
OVERHEAD_MAX = 1.05
IN_FLIGHT = 64
BATCH_ITEMS = 10_000
BATCHES_IN_FLIGHT = 4
BYTES_MAX = 64 << 20
PROCESSES = 4  # pairs of daemons: two processes of the very same program differ by some per cent all their life
FLEET_MAX = 1.5
JOBS = 100_000  # under way: thirty begin each second, and their tokens last an hour
GRANT_KIB_MAX = 4.0
OTHERS = 1_000  # grants and identities besides, as on a node at work


@asynccontextmanager
async def pair(line: str, class_: KeyClass) -> AsyncIterator[tuple[Governed, Governed]]:
    """A governed node and one that is not, with the same line; both of class test, the only one that both may have."""
    place = Path(tempfile.mkdtemp(prefix="sp-bench-"))
    sides = [
        Governed(place / name, lines={line: class_}, governed=governed, segment_bytes=64 << 20)
        for name, governed in (("governed", True), ("plain", False))
    ]
    try:
        for side in sides:
            await side.open()
        await sides[0].begin()
        await sides[1].flow.adopt(sides[1].shared.snapshot)
        await crowd(sides[0], line)
        yield sides[0], sides[1]
    finally:
        for side in sides:
            await side.close()
        shutil.rmtree(place, ignore_errors=True)


async def crowd(node: Governed, line: str) -> None:
    """Others live on the node, too."""
    for at in range(0, OTHERS, 100):
        some = range(at, at + 100)
        await node.write(*(node.enrolled(f"workload:w{number}", f"uri:spiffe://acme/w{number}") for number in some))
        await node.write(*(node.grant(line, 10, identity=f"uri:spiffe://acme/w{number}") for number in some))


async def cpu_per_operation(work: Callable[[int], Awaitable[object]], count: int, width: int) -> float:
    """CPU seconds of `count` operations, `width` at a time."""
    numbers = iter(range(count))

    async def one() -> None:
        for number in numbers:
            await work(number)

    begun = time.process_time()
    await asyncio.gather(*(one() for _ in range(width)))
    return (time.process_time() - begun) / count


def test_a_decision(ratio: Ratios, tiny: bool) -> None:
    """A release under exact digests, warm: p99 at most 5 µs; beside it the question without any governance."""
    asyncio.run(_decision(ratio, tiny))


async def _decision(ratio: Ratios, tiny: bool) -> None:
    place = Path(tempfile.mkdtemp(prefix="sp-bench-"))
    node = Governed(place, lines={RELEASE: KeyClass.RELEASE})
    await node.open()
    await node.begin()
    await crowd(node, RELEASE)
    items = [digest(number) for number in range(100)]
    grant = node.grant(RELEASE, 1_000, algorithm="sha256", digests=tuple(one.hex() for one in items))
    await node.write(grant)
    snapshot, ledger, who, now = node.shared.snapshot, node.office.ledger, caller().identity, node.now
    plain = Snapshot(snapshot.policy)
    request = ask(RELEASE, items[7], grant_id=grant.grant)
    everything = [_times(partial(usage.decide, one, ledger, who, request, now), tiny) for one in (snapshot, plain)]
    p99, p99_plain = (times[int(len(times) * 0.99)] / 1_000 for times in everything)
    target = Target(value_max=DECISION_US_MAX)
    ratio.row("governed decision, p99", p99, "us", "the same without grants and keys", p99_plain, target=target)
    cold = _times(lambda: snapshot.policy.evaluate(token(), RELEASE), tiny)
    first = statistics.median(cold) / 1_000
    target = Target(ratio_max=1)
    ratio.row("policy decision, token seen first", first, "us", "bound", COLD_US_MAX, target=target)
    await node.close()
    shutil.rmtree(place, ignore_errors=True)


def _times(work: Callable[[], object], tiny: bool) -> list[int]:
    """Sorted nanoseconds; the clock's own cost is taken off."""
    clock = time.perf_counter_ns
    empty = sorted(clock() - clock() for _ in range(1_000))[-500]
    taken = []
    for _ in range(200 if tiny else 50_000):
        begun = clock()
        work()
        taken.append(clock() - begun + empty)
    return sorted(taken)


@dataclass
class Asker:
    """One connection to one daemon, on a loop of its own, and what its requests cite."""

    node: Node
    grant: str = ""
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    serial: int = 0

    def __post_init__(self) -> None:
        """Connect."""
        self.loop.run_until_complete(self._connect())

    async def _connect(self) -> None:
        trust = credentials(load_client(self.node.directory / "client.toml"))
        limits = (("grpc.max_receive_message_length", BYTES_MAX), ("grpc.max_send_message_length", BYTES_MAX))
        self._channel = grpc.aio.secure_channel(self.node.ready["signing"], trust, options=limits)
        await self._channel.channel_ready()
        self._stub: Any = signing_pb2_grpc.SigningServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Hang up."""
        self.loop.run_until_complete(self._channel.close())
        self.loop.close()

    def sign(self, count: int, items: int) -> None:
        """`count` requests of `items` digests."""
        algorithm, digests = types_pb2.DIGEST_ALGORITHM_SHA256, os.urandom(32 * items)
        numbers = iter(range(self.serial, self.serial + count))
        self.serial += count

        async def one() -> None:
            for number in numbers:
                id_ = f"{items}-{number}"
                if items == 1:
                    value = types_pb2.Digest(algorithm=algorithm, value=number.to_bytes(32))
                    ask = pb.SignRequest(request_id=id_, key=PROOF, digest=value, grant_id=self.grant)
                    await self._stub.Sign(ask)
                else:
                    many = pb.SignBatchRequest(
                        request_id=id_, key=PROOF, algorithm=algorithm, digests=digests, grant_id=self.grant
                    )
                    await self._stub.SignBatch(many)

        async def all_of_them() -> None:
            await asyncio.gather(*(one() for _ in range(IN_FLIGHT if items == 1 else BATCHES_IN_FLIGHT)))

        self.loop.run_until_complete(all_of_them())


@contextmanager
def daemons() -> Iterator[tuple[tuple[Node, Asker], tuple[Node, Asker]]]:
    """A governed one and one that is not."""
    with Node(start=False) as governed, Node(start=False) as plain:
        grant = govern(governed, PROOF, f"uri:{dev.BUILDER}", 50_000_000)
        made = []
        for node in (governed, plain):
            node.start("signer")
            node.start("serve")
            made.append((node, Asker(node, grant if node is governed else "")))
        yield made[0], made[1]
        for _, asker in made:
            asker.close()


@pytest.mark.parametrize(("name", "count", "items", "turns"), [("unary", 3_000, 1, 10), ("batch", 120, BATCH_ITEMS, 6)])
def test_a_request(ratio: Ratios, tiny: bool, name: str, count: int, items: int, turns: int) -> None:
    """Governance costs at most 5 % of the daemon's CPU seconds for a request."""
    count, items, turns = (20, min(items, 50), 2) if tiny else (count, items, turns)
    theirs, shares = [], []
    for _ in range(1 if tiny else PROCESSES):
        spent = _spent(count, items, turns)
        theirs += spent[False]
        shares += [one / other for one, other in zip(spent[True], spent[False], strict=True) if other]
    share = statistics.median(shares) if shares else 0.0  # of pairs measured side by side: a busy machine hits both
    plain = statistics.median(theirs) * 1e6
    ratio.row(
        f"governed {name}, CPU of one request", share * plain, "us", "daemon without governance", plain,
        target=Target(ratio_max=OVERHEAD_MAX),
    )  # fmt: skip


def _spent(count: int, items: int, turns: int) -> dict[bool, list[float]]:
    """CPU seconds of a request in each turn, of a governed daemon (True) and of another; one turn more, to warm up."""
    spent: dict[bool, list[float]] = {True: [], False: []}
    with daemons() as (governed, plain):
        for turn in range(turns + 1):
            for node, asker in (governed, plain) if turn % 2 else (plain, governed):
                begun = cpu_s(node.children["serve"].process.pid)
                asker.sign(count, items)
                if turn:
                    spent[node is governed[0]].append((cpu_s(node.children["serve"].process.pid) - begun) / count)
    return spent


def test_a_fleet_of_jobs(ratio: Ratios, tiny: bool) -> None:
    """The first request of a job costs the same however many others are under way, and their grants little memory."""
    asyncio.run(_fleet(ratio, 500 if tiny else JOBS, 40 if tiny else 2_000))


async def _fleet(ratio: Ratios, jobs: int, count: int) -> None:
    place = Path(tempfile.mkdtemp(prefix="sp-bench-"))
    serial = iter(range(1 << 40))

    async def begin(node: Governed) -> None:
        number = next(serial)
        who = caller(certificate_sha256=number.to_bytes(32, "big"))
        await node.sign(ask(LOW, number.to_bytes(32, "big"), request_id=f"r{number}"), who)

    few, many = (
        Governed(place / name, lines={LOW: KeyClass.LOW}, segment_bytes=64 << 20, clock=SystemClock())
        for name in ("few", "many")
    )
    for node in (few, many):
        await node.open()
        await node.begin()
    gc.collect()
    before = anonymous_bytes(os.getpid())
    for at in range(0, jobs, 1_000):
        some = range(at, min(jobs, at + 1_000))
        holders = [hashlib.sha256(b"other %d" % number).hexdigest() for number in some]
        await many.write(*(many.grant(LOW, 10, change_id="", holder=holder) for holder in holders))
    gc.collect()
    grown = (anonymous_bytes(os.getpid()) - before) / jobs / 1_024
    spent: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(6):
        for node in (few, many):
            spent[node is many].append(await cpu_per_operation(lambda _, node=node: begin(node), count, IN_FLIGHT))
    crowded, alone = (statistics.median(spent[side][1:]) * 1e6 for side in (True, False))
    name = f"first request of a job, CPU, {jobs:,} others have grants"
    ratio.row(name, crowded, "us", "no others", alone, target=Target(ratio_max=FLEET_MAX))
    ratio.row("memory of an open grant", grown, "KiB", "bound", GRANT_KIB_MAX, target=Target(ratio_max=1))
    for node in (few, many):
        await node.close()
    shutil.rmtree(place, ignore_errors=True)


def test_the_flow_alone(ratio: Ratios, tiny: bool) -> None:
    """One digest a request, 64 at a time: what the steps themselves cost more."""
    asyncio.run(_compare(ratio, tiny, 40 if tiny else 4_000))


async def _compare(ratio: Ratios, tiny: bool, count: int) -> None:
    serial = 0
    async with pair(TEST, KeyClass.TEST) as (governed, plain):
        who = caller()

        async def sign(node: Governed) -> None:
            nonlocal serial
            serial += 1
            await node.sign(ask(TEST, os.urandom(32), request_id=f"r{serial}"), who)

        spent: dict[bool, list[float]] = {True: [], False: []}
        for turn in range(2 if tiny else 12):
            for side in (governed, plain) if turn % 2 else (plain, governed):
                cost = await cpu_per_operation(lambda number, side=side: sign(side), count, IN_FLIGHT)
                if turn:
                    spent[side is governed].append(cost)
        ours, theirs = (statistics.median(spent[side]) * 1e6 for side in (True, False))
        ratio.row("governed flow alone, CPU of one request", ours, "us", "flow without governance", theirs)
