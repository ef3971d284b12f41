"""A bit that flips on its way into the log: the real daemon signs nothing of it, ends with 3, and a restart goes on."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from kit.checkers import check_log
from kit.disk import FaultDisk
from kit.inside import start_inside
from kit.node import PROOF, Node
from sealpress.cli.output import exit_code
from sealpress.errors import Damaged, SealpressError


def digest(number: int) -> bytes:
    """Of a number."""
    return hashlib.sha256(b"%d" % number).digest()


def test_a_flipped_bit_is_never_under_a_signed_head() -> None:
    """No token operation, exit 3, no checkpoint that the records do not reproduce; afterwards the node serves again."""
    with Node(settings={"journal": {"write": "pwrite"}}, shim=True, start=False) as node:
        node.start("signer")
        asyncio.run(bend_under(node))
        node.start("serve")
        with node.client() as client:
            client.sign(digest(3), line=PROOF)
        assert node.stop("serve") == 0
        check_log(node.log_directory)


async def bend_under(node: Node) -> None:
    """The daemon in this process; the next bytes that it writes lose a bit."""
    disk = FaultDisk()
    daemon, life = await start_inside(node, disk)
    async with node.aclient(attempts_max=1, timeout_s=5) as client:
        await client.sign(digest(0), line=PROOF)
        await asyncio.sleep(0.3)  # its outcome is recorded, so that no commit is under way
        before, size = node.shim["C_Sign"], daemon.tree_size
        disk.bend(1)
        with pytest.raises(SealpressError):
            await client.sign(digest(1), line=PROOF)
        with pytest.raises(Damaged, match="not what was hashed") as ended:
            await life
    assert exit_code(ended.value) == 3
    assert (before, size) == (node.shim["C_Sign"], daemon.tree_size)
