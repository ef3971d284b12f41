"""A disk that other processes fill and empty: nobody is lied to, nothing crashes, and service returns by itself.

Method: a real node on a file system of 64 MiB with segments of 1 MiB, callers at work all the time; at random moments
(the seed is fixed) another process writes until nothing is free and later deletes its file. Old segments are archived
all the time, as an operator would. Then every acknowledgement is looked for in what the log says after a kill.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kit.checkers import check_log
from kit.filesystems import ext4, tmpfs
from kit.node import DIRECT, PROOF, Node
from sealpress.client import AsyncClient
from sealpress.errors import Busy, CannotStart, SealpressError
from sealpress.tlog import archive
from sealpress.tlog.reader import committed
from sealpress.tlog.whole import whole
from sealpress.values import DigestAlgorithm, RecordType
from sealpress.verify.proof import verify_proof

MOMENTS = int(os.environ.get("SEALPRESS_FULL_MOMENTS", "50"))  # over both file systems
SEED = int(os.environ.get("SEALPRESS_SEED", "20"))
SIZE_MIB = 64
SEGMENT = 1 << 20
NAME = "x" * 1_000  # names fill segments and cost few leaves: the tree has its 16 MiB already
BACK_S = 10.0  # until a caller must be served again
SETTINGS = {"journal": {"segment_bytes": SEGMENT}, "idempotency": {"window_s": 1}}


@dataclass
class Ledger:
    """What callers were told."""

    acknowledged: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)  # digest → leaf index, proof
    full: int = 0  # answers LOG_FULL
    others: list[SealpressError] = field(default_factory=list)
    last_ns: int = 0  # monotonic: when the last acknowledged request was begun


async def singles(client: AsyncClient, ledger: Ledger, number: int, line: str, until: asyncio.Event) -> None:
    """One digest after the other."""
    count = 0
    while not until.is_set():
        count += 1
        begun_ns = time.monotonic_ns()
        digest = hashlib.sha256(f"{line} {number} {count} {begun_ns}".encode()).digest()
        try:
            signed = await client.sign(digest, line=line)
        except SealpressError as error:
            await told(ledger, error)
            continue
        ledger.acknowledged[digest] = (signed.leaf_index, signed.proof)
        ledger.last_ns = max(ledger.last_ns, begun_ns)


async def batches(client: AsyncClient, ledger: Ledger, until: asyncio.Event) -> None:
    """A hundred digests with long names at a time."""
    count = 0
    while not until.is_set():
        count += 1
        digests = [
            hashlib.sha256(f"batch {count} {item} {time.monotonic_ns()}".encode()).digest() for item in range(100)
        ]
        try:
            signed = await client.sign_batch(b"".join(digests), names=(NAME,) * 100, sizes=(1,) * 100)
        except SealpressError as error:
            await told(ledger, error)
            continue
        for item, digest in enumerate(digests):
            ledger.acknowledged[digest] = (signed.first_leaf_index + item, b"")


async def told(ledger: Ledger, error: SealpressError) -> None:
    """A refusal: of a full disk, or anything else."""
    if isinstance(error, Busy) and error.reason == "LOG_FULL":
        ledger.full += 1
    else:
        ledger.others.append(error)
    await asyncio.sleep(0.02)


async def fill_and_free(place: Path, ledger: Ledger, dice: random.Random) -> None:
    """One moment: another process takes all that is free, for a while; then somebody is served again."""
    await asyncio.sleep(dice.uniform(0, 0.1))
    filler = place / "filler"
    process = await asyncio.create_subprocess_exec(
        "dd", "if=/dev/zero", f"of={filler}", "bs=64k", stderr=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 1  # no space left
    full = ledger.full
    await happens(lambda: ledger.full > full, dice.choice((0.05, 0.2, 2)))
    await asyncio.sleep(dice.uniform(0, 0.1))
    filler.unlink()
    freed_ns = time.monotonic_ns()
    assert await happens(lambda: ledger.last_ns > freed_ns, BACK_S), "there is room, and nobody is served"


async def happens(what: Callable[[], bool], within_s: float) -> bool:
    """Whether it does, in time."""
    for _ in range(int(within_s / 0.01)):
        if what():
            return True
        await asyncio.sleep(0.01)
    return what()


async def under_load(node: Node, place: Path, ledger: Ledger, dice: random.Random, moments: int) -> None:
    """All moments, with the callers at work."""
    until = asyncio.Event()
    clients = [node.aclient(attempts_max=1, timeout_s=5) for _ in range(2)]
    tasks = [asyncio.create_task(singles(clients[n % 2], ledger, n, PROOF, until)) for n in range(3)]
    tasks.append(asyncio.create_task(singles(clients[0], ledger, 3, DIRECT, until)))
    tasks.append(asyncio.create_task(batches(clients[1], ledger, until)))
    tasks.append(asyncio.create_task(make_room(node, until)))
    for _ in range(moments):
        await fill_and_free(place, ledger, dice)
        assert node.children["serve"].process.poll() is None
    until.set()
    await asyncio.gather(*tasks)
    for client in clients:
        await client.close()


async def make_room(node: Node, until: asyncio.Event) -> None:
    """What an operator does with a log that fills its disk, be it full or not."""
    journal, cold = node.log_directory / "journal", node.place / "cold"
    while not until.is_set():
        if len(list(journal.glob("*.seg"))) > 12:
            with contextlib.suppress(CannotStart):  # no room for the list of what was archived: he tries again
                await asyncio.to_thread(
                    archive.archive, node.log_directory, cold, keep=4, older_s=0, window_s=1, now_s=int(time.time())
                )
        await asyncio.sleep(0.2)


def check_acknowledged(node: Node, ledger: Ledger, dice: random.Random) -> None:
    """Every acknowledged digest has its leaf in a log that verifies; a sample of the proofs does, too."""
    found: dict[bytes, int] = {}
    with whole(node.log_directory) as view:
        check_log(view)
        for record in committed(view):
            if record.type is RecordType.REQUEST:
                for item in range(record.head.count):
                    found[record.digests[32 * item : 32 * item + 32]] = record.head.first_leaf + item
    assert {digest: index for digest, (index, _) in ledger.acknowledged.items() if found.get(digest) != index} == {}
    proved = sorted(digest for digest, (_, proof) in ledger.acknowledged.items() if proof)
    for digest in dice.sample(proved, 50):
        verify_proof(node.trust(), DigestAlgorithm.SHA256, digest, ledger.acknowledged[digest][1])


@pytest.mark.slow
@pytest.mark.parametrize("make", [tmpfs, ext4])
def test_a_disk_that_others_fill_costs_no_crash_and_no_acknowledgement(
    tmp_path: Path, make: Callable[[Path, int], AbstractContextManager[Path]]
) -> None:
    """25 random moments on each file system: LOG_FULL while it is full, service by itself afterwards, nothing lost."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    dice, ledger = random.Random(SEED), Ledger()
    with make(tmp_path / "disk", SIZE_MIB) as place:
        with Node(settings={"node": {"data": str(place / "data")}, **SETTINGS}) as node:
            asyncio.run(under_load(node, place, ledger, dice, MOMENTS // 2))
            print(make.__name__, "acknowledged", len(ledger.acknowledged), "LOG_FULL", ledger.full)  # noqa: T201
            assert ledger.full > 0
            assert [error for error in ledger.others if error.reason not in ("SLOT_DOWN", "DEADLINE")] == []
            assert "SIGBUS" not in node.words
            node.kill("serve")
            node.start("serve")
            assert node.stop("serve") == 0
            check_acknowledged(node, ledger, dice)
