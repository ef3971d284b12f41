"""One process of the load generator: reads its plan, connects, says so, and begins when it is told.

    stdin    the plan, one line of JSON; then the moment to begin, seconds of CLOCK_MONOTONIC
    stdout   "ready"; then what it saw, one line of JSON

Guarantees: it ends with its standard input, so it cannot outlive the one who started it; at most `in_flight` calls are
under way, and one that must wait for that is counted from its intended moment all the same.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import resource
import secrets
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import grpc
import msgspec

from bench.load.histogram import Histogram
from bench.load.plan import Part, Plan, is_local
from sealpress import loop
from sealpress.client import load_client
from sealpress.client.answers import item_error
from sealpress.client.errors import from_rpc
from sealpress.client.tls import credentials
from sealpress.errors import Busy, Refusal, SealpressError, Unavailable
from sealpress.v1 import signing_pb2 as pb
from sealpress.v1 import signing_pb2_grpc, types_pb2

CONNECT_S_MAX = 60.0
HANDSHAKES = 16  # at a time
BYTES_MAX = 64 << 20
SHA256 = types_pb2.DIGEST_ALGORITHM_SHA256


class Load:
    """The calls of one process and what became of them."""

    def __init__(self, plan: Plan) -> None:
        """Not connected yet. ValueError: another machine, and the plan does not allow it."""
        config = load_client(Path(plan.client))
        self._address = plan.address or config.signing
        if not plan.remote and not is_local(self._address):
            raise ValueError(f"{self._address} is another machine: say --remote if you mean it")
        self._plan = plan
        self._trust = credentials(config)
        self._dice = random.Random(plan.seed)
        self._prefix = f"l{secrets.token_hex(8)}"  # not of the seed: a node answers ids that it knows from memory
        self._numbers = itertools.count()
        self._channels: list[grpc.aio.Channel] = []
        self._stubs: list[Any] = []
        self._clock = time.monotonic  # not the loop's, which counts milliseconds
        self._from = self._until = 0.0
        self._answers, self._refusals, self._late = Histogram(), Histogram(), Histogram()
        self._seen = Part(per_second=[0] * max(1, round(plan.seconds)), refused={}, failed={})

    async def connect(self) -> None:
        """Every connection is there, TLS and all; TimeoutError."""
        options = (
            ("grpc.use_local_subchannel_pool", 1),  # otherwise all channels of a process share one connection
            ("grpc.max_receive_message_length", BYTES_MAX),
            ("grpc.max_send_message_length", BYTES_MAX),
            ("grpc.enable_retries", 0),
        )
        turn = asyncio.Semaphore(HANDSHAKES)

        async def one() -> None:
            async with turn:
                channel = grpc.aio.secure_channel(self._address, self._trust, options=options)
                self._channels.append(channel)
                await channel.channel_ready()
                self._stubs.append(signing_pb2_grpc.SigningServiceStub(channel))  # type: ignore[no-untyped-call]

        async with asyncio.timeout(CONNECT_S_MAX), asyncio.TaskGroup() as group:
            for _ in range(self._plan.connections):
                group.create_task(one())

    async def run(self, begin: float) -> Part:
        """From `begin` on, for the plan's time; calls under way at its end are waited for, as they arrived in time."""
        plan = self._plan
        self._from, self._until = begin + plan.warmup_s, begin + plan.warmup_s + plan.seconds
        await asyncio.sleep(max(0.0, begin - self._clock()))
        if plan.kind == "stream":
            await self._streams(begin)
        elif plan.rate:
            await self._arrivals(begin)
        else:
            await asyncio.gather(*(self._again_and_again(number) for number in range(plan.in_flight)))
        for channel in self._channels:
            await channel.close()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        seen = self._seen
        seen.cpu_s = usage.ru_utime + usage.ru_stime
        seen.answers, seen.refusals, seen.late = (
            histogram.pairs() for histogram in (self._answers, self._refusals, self._late)
        )
        return seen

    # ---- when to call ----

    async def _moments(self, begin: float, rate: float) -> AsyncIterator[float]:
        """Moments of a Poisson process, each when it has come, late ones at once."""
        at = begin
        while (at := at + self._dice.expovariate(rate)) < self._until:
            await asyncio.sleep(max(0.0, at - self._clock()))
            yield at

    async def _arrivals(self, begin: float) -> None:
        """Open loop, unary or batch: a task per call."""
        room = asyncio.Semaphore(self._plan.in_flight)
        stubs = itertools.cycle(self._stubs)

        async def one(at: float) -> None:
            try:
                await self._call(next(stubs), at)
            finally:
                room.release()

        async with asyncio.TaskGroup() as group:
            async for at in self._moments(begin, self._plan.rate):
                await room.acquire()
                group.create_task(one(at))

    async def _again_and_again(self, number: int) -> None:
        """Closed loop: the next call when the last one was answered."""
        stub = self._stubs[number % len(self._stubs)]
        while (now := self._clock()) < self._until:
            await self._call(stub, now)

    # ---- how ----

    async def _call(self, stub: Any, at: float) -> None:
        if at >= self._from:
            self._late.add(_us(self._clock() - at))
        try:
            if self._plan.kind == "batch":
                answer = await stub.SignBatch(self._batch(), timeout=self._plan.timeout_s)
                good = bool(answer.checkpoint or answer.signatures)
            else:
                answer = await stub.Sign(self._request(), timeout=self._plan.timeout_s)
                good = bool(answer.proof or answer.signature)
        except grpc.RpcError as error:
            self._refused(at, from_rpc(error, connected=True))
        else:
            self._answered(at, good)

    async def _streams(self, begin: float) -> None:
        """One stream per connection; its items arrive by themselves, or each answer brings the next one."""
        plan = self._plan
        each = max(1, plan.in_flight // len(self._stubs))
        await asyncio.gather(*(self._stream(stub, begin, plan.rate / len(self._stubs), each) for stub in self._stubs))

    async def _stream(self, stub: Any, begin: float, rate: float, in_flight: int) -> None:
        room = asyncio.Semaphore(in_flight)
        sent: dict[str, float] = {}
        call = stub.SignStream(timeout=self._until - self._clock() + self._plan.timeout_s)

        async def write() -> None:
            async for at in self._moments(begin, rate) if rate else self._each_turn(room):
                if rate:
                    await room.acquire()
                request = self._request()
                sent[request.request_id] = at
                await call.write(request)
            await call.done_writing()

        writing = asyncio.create_task(write())
        try:
            async for answer in call:
                room.release()
                at = sent.pop(answer.request_id)
                if (error := item_error(answer)) is not None:
                    self._refused(at, error)
                else:
                    self._answered(at, bool(answer.proof or answer.signature))
        except grpc.RpcError as error:
            self._refused(self._clock(), from_rpc(error, connected=True))
        finally:
            writing.cancel()
            for at in sent.values():
                self._count(self._seen.failed, at, "UNANSWERED")

    async def _each_turn(self, room: asyncio.Semaphore) -> AsyncIterator[float]:
        while self._clock() < self._until:
            await room.acquire()
            yield self._clock()

    def _request(self) -> pb.SignRequest:
        number = next(self._numbers)
        digest = types_pb2.Digest(algorithm=SHA256, value=number.to_bytes(32))
        return pb.SignRequest(request_id=f"{self._prefix}-{number}", key=self._plan.line, digest=digest)

    def _batch(self) -> pb.SignBatchRequest:
        digests = self._dice.randbytes(32) * self._plan.items
        request_id = f"{self._prefix}-{next(self._numbers)}"
        return pb.SignBatchRequest(request_id=request_id, key=self._plan.line, algorithm=SHA256, digests=digests)

    # ---- what became of it ----

    def _answered(self, at: float, good: bool) -> None:
        if not good and not self._plan.empty:
            self._count(self._seen.failed, at, "EMPTY_ANSWER")
            return
        now = self._clock()
        if self._from <= at:
            self._answers.add(_us(now - at))
            if now < self._until:
                self._seen.per_second[min(int(now - self._from), len(self._seen.per_second) - 1)] += 1

    def _refused(self, at: float, error: Exception) -> None:
        reason = getattr(error, "reason", type(error).__name__)
        if isinstance(error, Busy | Unavailable):
            if self._count(self._seen.refused, at, reason):
                self._refusals.add(_us(self._clock() - at))
                delay_ms = error.retry_after_ms if isinstance(error, Refusal) else 0
                self._seen.delays += delay_ms > 0
                self._seen.waited_ms += delay_ms
        else:
            self._count(self._seen.failed, at, reason)

    def _count(self, counts: dict[str, int], at: float, reason: str) -> bool:
        counted = at >= self._from
        if counted:
            counts[reason] = counts.get(reason, 0) + 1
        return counted


def _us(seconds: float) -> int:
    return int(seconds * 1_000_000)


async def _main() -> int:
    lines: asyncio.Queue[str] = asyncio.Queue()
    running = asyncio.get_running_loop()
    threading.Thread(target=_read, args=(running.call_soon_threadsafe, lines.put_nowait), daemon=True).start()
    try:
        load = Load(msgspec.json.decode(await lines.get(), type=Plan))
        await load.connect()
    except (SealpressError, ValueError, TimeoutError) as error:
        print(
            str(error) or f"no connection within {CONNECT_S_MAX:.0f} seconds: is the daemon running?", file=sys.stderr
        )
        return 1
    loop.settled()
    print("ready", flush=True)
    begin = float(await lines.get())
    seen = await load.run(begin)
    print(msgspec.json.encode(seen).decode(), flush=True)
    return 0


def _read(call: Callable[..., object], put: Callable[[str], None]) -> None:
    for line in sys.stdin:
        call(put, line)
    os._exit(1)  # whoever started us has gone


if __name__ == "__main__":
    main: Coroutine[Any, Any, int] = _main()
    sys.exit(loop.run(main))
