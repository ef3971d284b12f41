"""Does the daemon say on what it keeps its log, and outlive a published head that is none of it?"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kit.checkers import check_log
from kit.node import Node
from kit.witnessed import log_vkey
from sealpress.core.proof import parse_note

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


def larger(text: bytes) -> bytes:
    """A head of ten times as many leaves."""
    origin, size, rest = text.split(b"\n", 2)
    return b"\n".join((origin, size + b"0", rest))


def of_another(text: bytes) -> bytes:
    """A head of another log."""
    return text.replace(b"/1\n", b"/2\n", 1)


def unsigned(text: bytes) -> bytes:
    """One bit of the log's signature is another one."""
    at = text.rindex(b" ") + 20
    return text[:at] + (b"B" if text[at : at + 1] == b"A" else b"A") + text[at + 1 :]


@pytest.mark.parametrize("spoil", [larger, of_another, unsigned])
def test_a_published_head_that_is_none_of_the_log_goes(spoil: Callable[[bytes], bytes]) -> None:
    """Whatever became of the file: nobody is shown it after a start, and the next head takes its place."""
    with Node() as node:
        with node.client() as client:
            client.sign(hashlib.sha256(b"1").digest())
        node.stop("serve")
        path = node.log_directory / "checkpoint"
        spoilt = spoil(path.read_bytes())
        path.write_bytes(spoilt)
        node.start("serve")
        with node.client() as client:
            assert client.get_checkpoint() != spoilt
            client.sign(hashlib.sha256(b"2").digest())
            shown = client.get_checkpoint()
        node.stop("serve")

        assert parse_note(path.read_bytes()).size >= parse_note(shown).size
        check_log(node.log_directory, keys=[log_vkey(node)])
