"""A real disk that fails: ext4 on a loop device whose writes answer EIO from a random moment on.

Method: callers at work on a real node; the disk's switch is thrown (moments from a fixed seed); the daemon must end
with exit code 3. What had reached the disk by then is mounted as after a power cut, and the next daemon starts on it:
it must hold everything that was acknowledged and answer the same request ids as before. That disk fails next.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kit.checkers import check_log
from kit.filesystems import Failing, failing, make_image, mounted
from kit.node import DIRECT, PROOF, Node
from sealpress.client import AsyncClient, Signed
from sealpress.errors import Damaged, OutcomeUnknown, SealpressError, TransportError
from sealpress.hsm.mark import HeadMark, MarkFile
from sealpress.tlog.reader import committed
from sealpress.values import RecordType

MOMENTS = int(os.environ.get("SEALPRESS_FAILURES", "10"))
SEED = int(os.environ.get("SEALPRESS_SEED", "6"))
DISK_MIB = 96
SEGMENT = 256 << 10  # so that segments are made and sealed all the time
LINES = (PROOF, PROOF, PROOF, PROOF, DIRECT, DIRECT)
ASKED_AGAIN = 10
DAMAGED = 3

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root"),
    pytest.mark.skipif(shutil.which("nbdkit") is None, reason="no nbdkit: .ci/setup disks installs it"),
    pytest.mark.slow,
]


@dataclass
class Ledger:
    """What callers asked for and were told, by request id."""

    acknowledged: dict[str, tuple[str, Signed]] = field(default_factory=dict)
    unanswered: dict[str, str] = field(default_factory=dict)  # the line
    refusals: list[SealpressError] = field(default_factory=list)


def digest_of(request_id: str) -> bytes:
    """What is signed under an id."""
    return hashlib.sha256(request_id.encode()).digest()


async def caller(client: AsyncClient, ledger: Ledger, name: str, line: str) -> None:
    """Sign one after the other until nobody answers."""
    count = 0
    while True:
        count += 1
        request_id = f"{name}-{count}"
        try:
            signed = await client.sign(digest_of(request_id), line=line, request_id=request_id)
        except SealpressError as error:
            ledger.unanswered[request_id] = line
            if isinstance(error, TransportError):
                return
            ledger.refusals.append(error)
        else:
            ledger.acknowledged[request_id] = line, signed


async def until_it_fails(node: Node, disk: Failing, after_s: float, ledger: Ledger, name: str) -> None:
    """All callers at work; the disk fails; the daemon is gone."""
    clients = [node.aclient(attempts_max=1, timeout_s=10) for _ in range(2)]
    callers = [caller(clients[n % 2], ledger, f"{name}-{n}", line) for n, line in enumerate(LINES)]
    tasks = [asyncio.create_task(one) for one in callers]
    await asyncio.sleep(after_s)
    disk.fail()
    await asyncio.gather(*tasks)
    for client in clients:
        await client.close()


def ask_again(node: Node, ledger: Ledger, dice: random.Random) -> None:
    """The same ids: recorded answers for what was acknowledged, some answer for what was not."""
    with node.client(timeout_s=20) as client:
        for request_id in dice.sample(sorted(ledger.acknowledged), min(ASKED_AGAIN, len(ledger.acknowledged))):
            line, former = ledger.acknowledged[request_id]
            again = client.sign(digest_of(request_id), line=line, request_id=request_id)
            assert again.leaf_index == former.leaf_index
            assert line == PROOF or again.signature == former.signature
        for request_id, line in sorted(ledger.unanswered.items()):
            try:
                ledger.acknowledged[request_id] = (
                    line,
                    client.sign(digest_of(request_id), line=line, request_id=request_id),
                )
            except OutcomeUnknown:
                assert line == DIRECT  # the token may have signed; it stays unknown
    ledger.unanswered.clear()


def check_acknowledged(node: Node, ledger: Ledger) -> None:
    """The log verifies, and every acknowledged request has its one leaf where it was said to be."""
    check_log(node.log_directory)
    found: dict[str, list[int]] = {}
    for record in committed(node.log_directory):
        if record.type is RecordType.REQUEST:
            found.setdefault(record.event.request_id, []).append(record.head.first_leaf)
    for request_id, (_, signed) in ledger.acknowledged.items():
        assert found[request_id] == [signed.leaf_index]


def test_a_failing_disk_ends_the_node_and_loses_no_acknowledgement(tmp_path: Path) -> None:
    """10 times: exit code 3, callers hear that the outcome is unknown, and what reached the disk holds every answer."""
    dice, ledger = random.Random(SEED), Ledger()
    place, image, kept = tmp_path / "disk", tmp_path / "image", tmp_path / "kept"
    make_image(image, DISK_MIB)
    journal = {"segment_bytes": SEGMENT, "release": "outcome"}  # an answer is recorded before it is given
    settings = {"node": {"data": str(place / "data")}, "journal": journal}
    with Node(settings=settings, start=False) as node:
        node.start("signer")
        for moment in range(MOMENTS):
            with failing(image, place) as disk:
                node.start("serve")
                ask_again(node, ledger, dice)
                asyncio.run(until_it_fails(node, disk, dice.uniform(0.05, 0.5), ledger, f"moment-{moment}"))
                assert node.children["serve"].process.wait(20) == DAMAGED
                node.stop("serve")
                disk.copy(kept)
            kept.replace(image)
        with mounted(image, place):
            node.start("serve")
            ask_again(node, ledger, dice)
            assert node.stop("serve") == 0
            check_acknowledged(node, ledger)
    assert len(ledger.acknowledged) > 20 * MOMENTS
    told = {(error.reason, "outcome is unknown" in error.message) for error in ledger.refusals}
    assert ("LOG_UNAVAILABLE", True) in told
    assert {reason for reason, _ in told} <= {"LOG_UNAVAILABLE", "SLOT_DOWN"}


def test_a_failing_disk_under_the_mark_lets_no_signature_out(tmp_path: Path) -> None:
    """The signer's state is on the disk that fails: it ends with 3, and a whole mark of what it signed is there."""
    ledger = Ledger()
    place, image, kept = tmp_path / "disk", tmp_path / "image", tmp_path / "kept"
    make_image(image, DISK_MIB)
    with Node(settings={"signer": {"state": str(place / "state")}}, start=False, shim=True) as node:
        with failing(image, place) as disk:
            node.start("signer")
            node.start("serve")
            asyncio.run(until_the_signer_ends(node, disk, ledger))
            assert node.children["signer"].process.wait(20) == DAMAGED
            node.stop("signer")
            disk.copy(kept)
        operations = node.shim["C_Sign"]
        with node.client(attempts_max=1, timeout_s=3) as client, pytest.raises(SealpressError) as refusal:
            client.sign(digest_of("after"), line=PROOF)
        assert refusal.value.reason == "SLOT_DOWN"
        assert node.shim["C_Sign"] == operations
        with mounted(kept, place):
            node.start("signer")
            ask_again(node, ledger, random.Random(SEED))
            assert node.stop("serve") == 0
            check_acknowledged(node, ledger)
            node.stop("signer")


async def until_the_signer_ends(node: Node, disk: Failing, ledger: Ledger) -> None:
    """Callers at work; the disk under the mark fails; the first refusal of each caller is his last word."""
    clients = [node.aclient(attempts_max=1, timeout_s=15) for _ in LINES]
    tasks = [
        asyncio.create_task(caller(client, ledger, f"mark-{n}", line))
        for n, (client, line) in enumerate(zip(clients, LINES, strict=True))
    ]
    await asyncio.sleep(0.3)
    disk.fail()
    await asyncio.to_thread(node.children["signer"].process.wait, 20)
    await asyncio.sleep(0.2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for client in clients:
        await client.close()


def test_a_mark_that_is_believed_is_on_the_disk(tmp_path: Path) -> None:
    """After a failed sync the kernel shows what it did not write, and the next sync is good: so it is written again."""
    image, copy = tmp_path / "image", tmp_path / "copy"
    make_image(image, 32)
    with failing(image, tmp_path / "disk") as disk:
        file = MarkFile(tmp_path / "disk", "sign.example/ci/1")
        file.begin(HeadMark("sign.example/ci/1", size=1))
        file.ended()
        disk.fail()
        file.begin(HeadMark("sign.example/ci/1", size=2))
        with pytest.raises(Damaged):
            file.ended()
        file.close()
        disk.heal()
        believed = MarkFile(tmp_path / "disk", "sign.example/ci/1")
        disk.copy(copy)
        believed.close()
    with mounted(copy, tmp_path / "after"):
        found = MarkFile(tmp_path / "after", "sign.example/ci/1")
        assert believed.mark == found.mark
        found.close()
