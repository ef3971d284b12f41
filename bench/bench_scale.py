"""Does it cost more when there is more: leaves in the log, connections, requests that wait?

The baseline of each row is the same work where there is little. A log grows by requests of 10,000 digests, written by
the core alone; connections and waiting requests are a whole node's, and what is stated is memory of its daemon.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.bench_audit import Writer
from bench.harness import Target
from bench.load.plan import Plan
from bench.load.run import Running
from bench.memory import resident_bytes
from kit.node import PROOF, Node

if TYPE_CHECKING:
    from bench.harness import Ratios

BATCH = 10_000
GROWTH_MAX = 1.5
CONNECTIONS = 512
CONNECTION_KIB_MAX = 256
REQUEST_KIB_MAX = 32
PROOFS = 1_000


def appended_us(writer: Writer, commits: int) -> float:
    """Median time of a commit of one batch."""
    times = []
    for _ in range(commits):
        started = time.perf_counter()
        writer.request(BATCH)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e6


def proved_us(writer: Writer) -> float:
    """Time of an inclusion path, spread over the log."""
    size = writer.leaves
    started = time.perf_counter()
    for number in range(PROOFS):
        writer.tree.inclusion(number * (size - 1) // PROOFS, size)
    return (time.perf_counter() - started) / PROOFS * 1e6


@pytest.fixture
def log_directory(tmp_path: Path) -> Path:
    """Of a log that grows."""
    return tmp_path / "log"


def test_a_log_that_grows(ratio: Ratios, tiny: bool, log_directory: Path) -> None:
    """10^4 to 10^7 leaves: a commit of 10,000, an inclusion path, and the log's memory for each leaf."""
    targets = (20_000, 40_000) if tiny else (10_000, 100_000, 1_000_000, 10_000_000)
    writer = Writer(log_directory)
    before = resident_bytes(os.getpid())
    commits: dict[int, float] = {}
    paths: dict[int, float] = {}
    for target in targets:
        while writer.leaves < target - 5 * BATCH:
            writer.request(BATCH)
        commits[target] = appended_us(writer, 5)
        paths[target] = proved_us(writer)
    grown = resident_bytes(os.getpid()) - before
    leaves = writer.leaves
    writer.close()
    first, last = targets[0], targets[-1]
    flat, small = Target(ratio_max=GROWTH_MAX), Target(value_max=1)
    name = f"commit of {BATCH:,} at {last:,} leaves"
    ratio.row(name, commits[last], "us", f"at {first:,}", commits[first], target=flat)
    ratio.row(f"inclusion path at {last:,} leaves", paths[last], "us", f"at {first:,}", paths[first])
    ratio.row("memory of an open log", grown / leaves, "B/leaf", "a hash", 32, target=small)


def test_memory_of_connections_and_of_waiting_requests(ratio: Ratios, tiny: bool) -> None:
    """512 connections that say nothing; then 8 calls under way on each, held by a token that does not answer."""
    connections, calls = (8, 16) if tiny else (CONNECTIONS, 8 * CONNECTIONS)
    with Node(shim=True, settings={"slot": {"soft": {"deadline_ms": 60_000}}}) as node:
        serve = node.children["serve"].process.pid
        plan = Plan(client=str(node.directory / "client.toml"), line=PROOF, in_flight=calls, connections=connections,
                    processes=2, seconds=1.0 if tiny else 4.0, warmup_s=0.0)  # fmt: skip
        idle = resident_bytes(serve)
        with Running(plan) as running:
            connected = resident_bytes(serve)
            node.shim.delay("C_Sign", 500 if tiny else 3_000)
            running.begin()
            time.sleep(0.8 if tiny else 3.0)
            waiting = resident_bytes(serve)
            result = running.result()
    per_connection, per_request = (connected - idle) / connections / 1024, (waiting - connected) / calls / 1024
    within = Target(ratio_max=1)
    ratio.row("memory of a connection", per_connection, "KiB", "bound", CONNECTION_KIB_MAX, target=within)
    ratio.row("memory of a waiting request", per_request, "KiB", "bound", REQUEST_KIB_MAX, target=within)

    assert not result.failed
