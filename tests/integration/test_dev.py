"""Does `sealpress dev` hold its two processes together, whatever ends first?"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sealpress.client import Client, load_client

READY_S = 60
END_S = 30


class Dev:
    """`sealpress dev --json` in a process group of its own, as under a terminal."""

    def __init__(self, directory: Path) -> None:
        """Start and wait for the ready line."""
        self.directory = directory
        self.words = directory.with_name("words")
        self._words_before = self.words.stat().st_size if self.words.exists() else 0
        arguments = [sys.executable, "-m", "sealpress", "dev", "--dir", str(directory), "--listen", "127.0.0.1:0"]
        with self.words.open("ab") as words:
            self.process = subprocess.Popen(
                [*arguments, "--json"], stdout=subprocess.PIPE, stderr=words, process_group=0
            )
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], READY_S)[0], self.told()
        line = self.process.stdout.readline()
        assert line, self.told()
        self.ready: dict[str, Any] = json.loads(line)

    def told(self) -> str:
        """What this run said on standard error."""
        return self.words.read_bytes()[self._words_before :].decode(errors="replace")

    def family(self) -> dict[str, int]:
        """The processes below it by command: signer, serve, worker."""
        found: dict[str, int] = {}
        parents = [self.process.pid]
        while parents:
            for pid in children(parents.pop()):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                name = next((name for name in ("signer", "serve") if name.encode() in words), "worker")
                found[name] = pid
                parents.append(pid)
        return found

    def end(self, number: int) -> int:
        """Send a signal to the whole group; the exit code."""
        os.killpg(self.process.pid, number)
        return self.process.wait(END_S)

    def close(self) -> None:
        """Whatever happened, nothing stays."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(END_S)
        if self.process.stdout is not None:
            self.process.stdout.close()


def children(pid: int) -> list[int]:
    """Of a process."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def alive(pid: int) -> bool:
    """Still running; a zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def survivors(pids: dict[str, int]) -> list[str]:
    """Which of them still run after a moment; they are killed, so that a failing test leaves nothing either."""
    until = time.monotonic() + 5
    while time.monotonic() < until and any(alive(pid) for pid in pids.values()):
        time.sleep(0.05)
    left = {name: pid for name, pid in pids.items() if alive(pid)}
    for pid in left.values():
        os.kill(pid, signal.SIGKILL)
    return list(left)


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """Where the node lives; a short path, as a Unix socket needs it."""
    with tempfile.TemporaryDirectory(prefix="sp-dev-", dir="/tmp") as place:
        yield Path(place) / "node"


@pytest.fixture
def dev(directory: Path) -> Iterator[Dev]:
    """A running one; the first makes the node, the others go on with it."""
    running = Dev(directory)
    yield running
    running.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_asked_to_end_it_ends_all(dev: Dev, number: int) -> None:
    """Exit 0, no warning, no process left; the node can be started again and goes on with its log."""
    with Client(load_client(dev.directory / "client.toml")) as client:
        signed = client.sign(bytes(32))
    family = dev.family()

    assert sorted(family) == ["serve", "signer", "worker"]
    assert dev.end(number) == 0, dev.told()
    assert '"warning"' not in dev.told()
    assert survivors(family) == []
    assert signed.leaf_index > 0


def test_killed_it_leaves_no_orphan(dev: Dev) -> None:
    """kill -9 of dev: signer, worker and daemon die with it."""
    family = dev.family()

    dev.process.kill()  # it alone, not its group
    dev.process.wait()

    assert survivors(family) == []


@pytest.mark.parametrize("victim", ["serve", "signer"])
def test_a_child_that_ends_ends_it_all(dev: Dev, victim: str) -> None:
    """A child killed: dev says which one, stops the other and does not exit with 0."""
    family = dev.family()
    os.kill(family[victim], signal.SIGKILL)

    assert dev.process.wait(END_S) not in (0, None)
    assert survivors(family) == []


@pytest.mark.parametrize("name", ["/proc/node", "file"])
def test_where_no_node_can_be_it_says_so(tmp_path: Path, name: str) -> None:
    """A directory that cannot be made, or is a file: exit 4 and one line."""
    (tmp_path / "file").touch()
    arguments = [sys.executable, "-m", "sealpress", "dev", "--dir", str(tmp_path / name)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=READY_S, check=False)

    assert done.returncode == 4
    assert done.stderr.startswith("sealpress: DIRECTORY: ")
    assert done.stderr.count("\n") == 1


def test_a_damaged_node_is_told_from_one_that_cannot_start(directory: Path) -> None:
    """The exit code of a child is dev's: 3 for a damaged mark, and nothing is left running."""
    for mark in (directory / "signer").glob("*mark*"):
        mark.write_bytes(b"\xff" * mark.stat().st_size)
    arguments = [sys.executable, "-m", "sealpress", "dev", "--dir", str(directory), "--listen", "127.0.0.1:0"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=READY_S, check=False)

    assert done.returncode == 3, done.stderr
    assert "mark" in done.stderr


def test_a_foreign_directory_is_left_alone(tmp_path: Path) -> None:
    """A directory that holds something else: said, nothing touched."""
    (tmp_path / "mine").write_text("mine")
    arguments = [sys.executable, "-m", "sealpress", "dev", "--dir", str(tmp_path), "--json"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=READY_S, check=False)

    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["hint"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
