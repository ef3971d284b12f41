"""How long does one Sign take on an idle node, beside the parts that no design can leave out?

    fdatasync of the journal + max(token operation, fdatasync of the mark) + one empty call + 1 ms

The four parts and the whole are measured in turns of 50 in one run: the syncs on the node's file system, with as many
bytes as the node writes; the token operation as the signer reports it for the calls of this very run; the empty call on
a server of the same options, TLS and loop. Each side of the comparison is a sum of, or a single, 99th percentile.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.bench_calls import Caller, empty_server
from bench.harness import compiled
from bench.run import Target
from kit.node import PROOF, Node
from sealpress.tlog.reader import committed
from sealpress.values import RecordType

if TYPE_CHECKING:
    from bench.harness import Ratios

CALLS = 1_000
TURN = 50
SLACK_S = 0.001
JOURNAL_BYTES = 2_048  # a REQUEST, the OUTCOME before it and the COMMIT
MARK_BYTES = 4_096
FILE_BYTES = 4 << 20
CACHE_LINES = 4_096  # 256 KiB
ASLEEP_NS = 35_000_000  # about as long as a node has nothing to do between two turns of its own


class Synced:
    """A file that was written whole before, as a segment or a mark is; each step overwrites the next bytes."""

    def __init__(self, path: Path, step: int) -> None:
        """`step` bytes are written and synced at a time."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.write(self._descriptor, bytes(FILE_BYTES))
        os.fsync(self._descriptor)
        self._data = os.urandom(step)
        self._at = 0

    def step(self) -> None:
        """Write and fdatasync."""
        os.pwrite(self._descriptor, self._data, self._at)
        os.fdatasync(self._descriptor)
        self._at = (self._at + len(self._data)) % (FILE_BYTES - len(self._data))

    def close(self) -> None:
        """Give it back."""
        os.close(self._descriptor)


def p99(seconds: list[float]) -> float:
    """The 99th percentile."""
    return sorted(seconds)[len(seconds) * 99 // 100]


def token_seconds(node: Node) -> list[float]:
    """What the token took for each head, as the log has it."""
    outcomes = (one.head.event for one in committed(node.log_directory) if one.type is RecordType.OUTCOME)
    return [event.latency_us / 1_000_000 for event in outcomes]


@pytest.fixture
def node() -> Iterator[Node]:
    """An idle node, its journal where the benchmark's files are."""
    with Node() as node:
        yield node


def test_idle_latency(ratio: Ratios, tiny: bool, node: Node) -> None:
    """One Sign on an idle node costs what must be, and at most a millisecond more, at the 99th percentile."""
    calls = TURN if tiny else CALLS
    journal, mark = Synced(node.place / "journal", JOURNAL_BYTES), Synced(node.place / "mark", MARK_BYTES)
    with empty_server(node) as address:
        ours, theirs = Caller(node, node.ready["signing"]), Caller(node, address)
        work = {
            "sign": lambda: ours.unary(PROOF, 1),
            "empty": lambda: theirs.unary(PROOF, 1),
            "journal": journal.step,
            "mark": mark.step,
        }
        took: dict[str, list[float]] = {name: [] for name in work}
        for counted in [False] + [True] * (calls // TURN):
            for name, step in work.items():
                for _ in range(TURN):
                    began = time.perf_counter()
                    step()
                    if counted:
                        took[name].append(time.perf_counter() - began)
        ours.close()
        theirs.close()
    journal.close()
    mark.close()
    node.stop("serve")
    token = token_seconds(node)
    parts = {name: p99(seconds) for name, seconds in took.items()}
    floor = parts["journal"] + max(p99(token[-calls:]), parts["mark"]) + parts["empty"]
    name = "one Sign, idle, p99 (floor: journal {:.2f}, token {:.2f}, mark {:.2f}, empty call {:.2f})".format(
        *(1_000 * part for part in (parts["journal"], p99(token[-calls:]), parts["mark"], parts["empty"]))
    )
    allowed = Target(value_max=round(1_000 * (floor + SLACK_S), 3))
    ratio.row(name, 1_000 * parts["sign"], "ms", "floor", 1_000 * floor, target=allowed)
    assert len(token) >= calls


def test_what_sleep_costs(ratio: Ratios, tiny: bool, tmp_path: Path) -> None:
    """What a machine's caches have lost of 256 KiB after a turn's pause: the first call of each turn pays for that."""
    read = compiled("caches.c", tmp_path).read_again_ns
    read.argtypes, read.restype = [ctypes.c_uint32, ctypes.c_uint64], ctypes.c_double
    turns = range(1 if tiny else 30)
    after, at_once = (statistics.median(read(CACHE_LINES, pause) for _ in turns) for pause in (ASLEEP_NS, 0))
    assert after > 0
    assert at_once > 0
    ratio.row("a line of 256 KiB, read again 35 ms later", after, "ns", "read again at once", at_once)
