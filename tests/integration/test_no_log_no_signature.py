"""No log, no signature (law L1): whatever happens to the disk, the token signs nothing that is not durable.

The shim in front of the token counts C_Sign. A disk of our own (tests/native/fault_disk.c) fails the commit thread; a
file system that is too small fails the creation of segments under the real daemon.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.disk import FaultDisk
from kit.inside import start_inside
from kit.node import DIRECT, PROOF, Node
from sealpress.client import Client
from sealpress.errors import Busy, Damaged, SealpressError

SEGMENT = 64 << 10


def digest(number: int) -> bytes:
    """Of a number."""
    return hashlib.sha256(b"%d" % number).digest()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MiB (the tree's first step is 16 MiB and more)."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    place = tmp_path / "small"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(place)], check=False)
    if made.returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def at_rest(client: Client) -> int:
    """The tree's size once it has not grown for half a second: the last outcome is recorded after its answer."""
    size, since = -1, 0.0
    while time.monotonic() < since + 0.5 or size < 0:
        found = client.get_status().logs[0].tree_size
        if found != size:
            size, since = found, time.monotonic()
        time.sleep(0.02)
    return size


@pytest.mark.parametrize("line", [PROOF, DIRECT])
def test_a_full_disk_signs_nothing(small: Path, line: str) -> None:
    """No room for another segment: no signature comes back and no C_Sign for what is not durable; room: it goes on."""
    settings = {"node": {"data": str(small / "data")}, "journal": {"segment_bytes": SEGMENT}}
    with Node(settings=settings, shim=True) as node, node.client(attempts_max=1, timeout_s=3) as client:
        client.sign(digest(0), line=line)
        filler = small / "filler"
        with filler.open("wb") as file:
            free = os.statvfs(small)
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)
        signed = 0
        with pytest.raises(SealpressError) as refusal:
            for number in range(1, 2_000):  # what is allocated already is used up first
                client.sign(digest(number), line=line)
                signed += 1
        with node.client(attempts_max=1, timeout_s=3) as other:
            leaves = at_rest(other)
            before = node.shim["C_Sign"]
            for number in range(10):
                with pytest.raises(SealpressError):
                    client.sign(digest(10_000 + number), line=line)
            assert other.get_status().logs[0].tree_size == leaves  # nothing became durable ...
            assert node.shim["C_Sign"] == before  # ... and nothing was signed
        assert signed < 1_999
        assert isinstance(refusal.value, Busy) or refusal.value.reason in ("DEADLINE", "LOG_FULL")
        filler.unlink()
        with node.client(timeout_s=20) as again:
            again.sign(digest(99_999), line=line)


@pytest.mark.parametrize("operation", ["sync", "allocate"])
@pytest.mark.parametrize("line", [PROOF, DIRECT])
def test_a_failing_disk_signs_nothing(operation: str, line: str) -> None:
    """The commit thread is told that its sync failed, or that no segment can be made: nothing is signed."""
    settings = {"journal": {"segment_bytes": SEGMENT, "write": "pwrite"}}
    with Node(settings=settings, shim=True, start=False) as node:
        node.start("signer")
        asyncio.run(fail_under(node, operation, line))


async def fail_under(node: Node, operation: str, line: str) -> None:
    """The daemon in this process, on a disk that fails from now on."""
    disk = FaultDisk()
    daemon, life = await start_inside(node, disk)
    async with node.aclient(attempts_max=1, timeout_s=3) as client:
        await client.sign(digest(0), line=line)
        await asyncio.sleep(0.3)  # its outcome is recorded, so that no commit is under way
        disk.fail(operation, forever=True)
        before, refused = node.shim["C_Sign"], 0
        answered = 0
        while refused < 5:  # the spare segment may still take some
            try:
                await client.sign_batch(digest(1) * 100, line=line)
                answered += 1
            except SealpressError:
                refused += 1
        durable = daemon.tree_size
        assert node.shim["C_Sign"] - before <= answered * (100 if line == DIRECT else 1)
        assert operation != "sync" or answered == 0
    if operation == "sync":
        with pytest.raises(Damaged):  # exit 3
            await life
        assert durable == daemon.tree_size
        return
    disk.heal(operation)
    async with node.aclient(timeout_s=20) as client:
        await client.sign(digest(2), line=line)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await life == 0
