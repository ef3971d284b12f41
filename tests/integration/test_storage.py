"""Does the daemon say on what it keeps its log?"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.checkers import check_log
from kit.node import Node

MEMORY = Path("/dev/shm")


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory on a tmpfs."""
    found = subprocess.run(["stat", "-f", "-c", "%T", MEMORY], capture_output=True, text=True, check=False)
    if found.stdout.strip() != "tmpfs" or not os.access(MEMORY, os.W_OK):
        pytest.skip("no tmpfs here")
    with tempfile.TemporaryDirectory(prefix="sp-", dir=MEMORY) as place:
        yield Path(place)


def test_a_log_in_memory_is_warned_of(memory: Path) -> None:
    """tmpfs is accepted, with a warning that nothing outlives the machine."""
    with Node(settings={"node": {"data": str(memory)}}) as node:
        assert "log_not_durable" in node.words
        assert "log_pwrite" not in node.words


def test_a_log_written_with_pwrite_is_said() -> None:
    """Where a mapping cannot be trusted pwrite is used: the log is the same, and the daemon says so."""
    with Node(settings={"journal": {"write": "pwrite"}}) as node:
        with node.client() as client:
            for number in range(3):
                client.sign(hashlib.sha256(bytes([number])).digest())
        assert "log_pwrite" in node.words
        assert node.stop("serve") == 0
        check_log(node.log_directory)
        node.start("serve")
