"""How many digests a second does a node sign in batches: durable, proved, mutual TLS, governed, its client beside it?

One client process keeps 16 SignBatch calls of 10,000 digests in flight for a minute; with fewer, commit and seal wait
for one another. Of every answer it compares count, place in the tree and head with all others: no leaf is handed out
twice, and no size has two roots. Each VERIFIED_EVERY-th answer is verified whole, down to every digest, in the same
process: verifying all would take a core of the two. With `expand` an answer also holds 10,000 proof texts, which must
be those that the compact answer gives; without, nobody writes them.

The baseline is the empty handler of bench_calls: the same messages, thrown away. A run leaves 96 bytes an item on the
disk until it ends (journal 32, tree 64). One that ends before its time, because the disk has no more room, fails, and
says what it would have taken; FREE_MIN is enough for a minute of what is promised.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from bench.bench_calls import empty_server
from bench.run import Target
from kit.governing import govern
from kit.node import PROOF, Node
from sealpress.client import load_client
from sealpress.client.answers import check_batch, compact, line_info
from sealpress.client.tls import credentials
from sealpress.core.proof import parse_note
from sealpress.v1 import signing_pb2 as pb
from sealpress.v1 import signing_pb2_grpc, types_pb2
from sealpress.values import DigestAlgorithm
from sealpress.verify.batch import verify_batch
from sealpress.wiring import dev

if TYPE_CHECKING:
    from bench.harness import Ratios

ITEMS = 10_000
IN_FLIGHT = 16
SECONDS = float(os.environ.get("SEALPRESS_BATCH_SECONDS", "60"))
WARM_S = 2.0
VERIFIED_EVERY = 32
USES = 1 << 40
MESSAGE_BYTES_MAX = 64 << 20
BYTES_PER_ITEM = 96
FREE_KEPT = 3 << 30
FREE_MIN = 20 << 30
ITEMS_PER_S_MIN = 3_000_000
EXPANDED_PER_S_MIN = 200_000


@dataclass
class Tally:
    """What came back."""

    items: int = 0
    answers: int = 0
    verified: int = 0
    latencies: list[float] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)  # first leaf, one past the last
    roots: dict[int, bytes] = field(default_factory=dict)  # by tree size

    def judge(self) -> None:
        """No leaf was handed out twice, every leaf is under its head."""
        self.places.sort()
        assert all(end <= start for (_, end), (start, _) in zip(self.places, self.places[1:], strict=False))


class Batches:
    """One connection, and IN_FLIGHT callers on it."""

    def __init__(self, node: Node, address: str, grant: str, items: int) -> None:
        """Connect; `grant` "" where nothing is answered."""
        self._grant = grant
        self._items = items
        self._digests = os.urandom(32 * items)
        self._loop = asyncio.new_event_loop()
        self._serial = 0
        trust = credentials(load_client(node.directory / "client.toml"))
        limits = tuple((f"grpc.max_{way}_message_length", MESSAGE_BYTES_MAX) for way in ("receive", "send"))
        self._loop.run_until_complete(self._connect(trust, limits, address))

    async def _connect(self, trust: grpc.ChannelCredentials, limits: tuple[tuple[str, int], ...], address: str) -> None:
        self._channel = grpc.aio.secure_channel(address, trust, options=limits)
        await self._channel.channel_ready()
        self._stub = signing_pb2_grpc.SigningServiceStub(self._channel)  # type: ignore[no-untyped-call]
        if self._grant:
            self._line = line_info((await self._stub.GetKey(pb.GetKeyRequest(key=PROOF))).key)

    def close(self) -> None:
        """Hang up."""
        self._loop.run_until_complete(self._channel.close())
        self._loop.close()

    def run(self, seconds: float, expand: bool = False, answers_max: int = 1 << 60) -> tuple[Tally, float]:
        """Ask for so long, or so often; what came back and the seconds that it took."""
        tally = Tally()
        begun = time.perf_counter()

        async def callers() -> None:
            await asyncio.gather(*(self._ask(tally, begun + seconds, expand, answers_max) for _ in range(IN_FLIGHT)))

        self._loop.run_until_complete(callers())
        taken = time.perf_counter() - begun
        tally.judge()
        return tally, taken

    async def _ask(self, tally: Tally, until: float, expand: bool, answers_max: int) -> None:
        while (sent := time.perf_counter()) < until and tally.answers < answers_max:
            self._serial += 1
            answer = await self._stub.SignBatch(
                pb.SignBatchRequest(
                    request_id=f"{expand}-{self._serial}", key=PROOF, algorithm=types_pb2.DIGEST_ALGORITHM_SHA256,
                    digests=self._digests, grant_id=self._grant, expand=expand,
                )
            )  # fmt: skip
            tally.latencies.append(time.perf_counter() - sent)
            tally.answers += 1
            tally.items += self._items
            if self._grant:
                self._compare(tally, answer, expand)
                if tally.answers % VERIFIED_EVERY == 1:
                    tally.verified += 1
                    await self._loop.run_in_executor(None, self._verify, answer, expand)

    def _verify(self, answer: pb.SignBatchResponse, expand: bool) -> None:
        if expand:
            check_batch(self._line, DigestAlgorithm.SHA256, self._digests, answer)
        else:
            assert self._line.policy is not None
            verify_batch(self._line.policy, DigestAlgorithm.SHA256, self._digests, compact(answer))

    def _compare(self, tally: Tally, answer: pb.SignBatchResponse, expand: bool) -> None:
        end = answer.first_leaf_index + answer.count
        assert answer.count == self._items and end <= answer.tree_size
        assert len(answer.proofs) == (self._items if expand else 0)
        tally.places.append((answer.first_leaf_index, end))
        note = parse_note(answer.checkpoint)
        assert note.size == answer.tree_size
        assert tally.roots.setdefault(note.size, note.root) == note.root


def answers_max(free: int, items: int) -> int:
    """How many answers the disk has room for."""
    return (free - FREE_KEPT) // (BYTES_PER_ITEM * items)


def memory_mib(node: Node, command: str) -> int:
    """Resident memory without mapped files, which the page cache can have back at any time."""
    status = Path(f"/proc/{node.children[command].process.pid}/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) >> 10


@contextmanager
def governed_node() -> Iterator[tuple[Node, str]]:
    """A node under governance, and a grant for its client that lasts."""
    with Node(start=False) as node:
        grant = govern(node, PROOF, f"uri:{dev.BUILDER}", USES)
        node.start("signer")
        node.start("serve")
        yield node, grant


@pytest.mark.parametrize("expand", [False, True], ids=["compact", "expanded"])
def test_sustained(ratio: Ratios, tiny: bool, expand: bool) -> None:
    """3 million items a second for a minute, 200,000 with their proofs written out, every one durable and proved."""
    items, seconds = (100, 0.5) if tiny else (ITEMS, SECONDS)
    free = shutil.disk_usage("/tmp").free
    assert tiny or free >= FREE_MIN, f"{free >> 30} GiB free in /tmp, {FREE_MIN >> 30} wanted"
    with governed_node() as (node, grant), empty_server(node) as address:
        ours, theirs = Batches(node, node.ready["signing"], grant, items), Batches(node, address, "", items)
        for side in (theirs, ours):
            side.run(0.1 if tiny else WARM_S, expand)
        empty, empty_s = theirs.run(seconds / 6)
        tally, taken = ours.run(seconds, expand, answers_max(free, items))
        p50 = statistics.median(tally.latencies) * 1e3
        used = sum(path.stat().st_blocks * 512 for path in node.log_directory.rglob("*") if path.is_file())
        print(  # what a run takes of the machine belongs beside its figure
            f"\n{tally.items:,} items in {taken:.1f} s, {tally.answers:,} answers, {tally.verified:,} verified whole, "
            f"p50 {p50:.1f} ms; disk: {used / 2**30:.1f} GiB used, {free >> 30} GiB were free; "
            f"memory of serve {memory_mib(node, 'serve')} MiB, of the signer {memory_mib(node, 'signer')} MiB"
        )
        for side in (ours, theirs):
            side.close()
    kind = "SignBatch with proofs" if expand else "SignBatch, governed"
    ratio.row(
        f"{kind}, {items:,} each, for {taken:.0f} s", tally.items / taken, "item/s",
        "empty handler", empty.items / empty_s,
        target=Target(value_min=EXPANDED_PER_S_MIN if expand else ITEMS_PER_S_MIN),
    )  # fmt: skip
    wanted = tally.items / taken * seconds * BYTES_PER_ITEM + FREE_KEPT
    assert taken >= seconds, f"ended after {taken:.0f} s: {wanted / 2**30:.0f} GiB free in /tmp are a whole run"
