"""Does it cost more when there is more: leaves in the log, connections, requests that wait?

The baseline of each row is the same work where there is little. Logs grow by requests of 10,000 digests, written by the
core alone, and are then asked in turns; what else is stated is memory of a whole node's daemon.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.bench_audit import Writer
from bench.load.plan import Plan
from bench.load.run import Running, run
from bench.run import Target
from bench.usage import anonymous_bytes
from kit.node import PROOF, Node

if TYPE_CHECKING:
    from bench.harness import Ratios

LOGS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
GROWTH = 10_000  # digests of a request while a log grows
COMMIT = 100
TURNS = 50
PATHS = 200
FLAT = 1.5
LOG_BYTES_MAX = 1
LEAF_BYTES_MAX = 256
INDEXED_BYTES_MAX = 64  # 3 of them for its id; the rest is what memory wavers by under load
CONNECTIONS = 512
CONNECTION_KIB_MAX = 256
REQUEST_KIB_MAX = 32


def grown(directory: Path, leaves: int) -> Writer:
    """A log with so many leaves."""
    writer = Writer(directory)
    while writer.leaves < leaves:
        writer.request(min(GROWTH, leaves - writer.leaves))
    return writer


def microseconds(work: Callable[[], object]) -> float:
    """That it takes."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e6


def prove(writer: Writer) -> None:
    """Inclusion paths of leaves all over the log."""
    size = writer.leaves
    for number in range(PATHS):
        writer.tree.inclusion(number * (size - 1) // PATHS, size)


def test_a_log_that_grows(ratio: Ratios, tiny: bool, tmp_path: Path) -> None:
    """10^3 to 10^7 leaves: a commit of 100 digests, an inclusion path, and what an open log takes of memory a leaf."""
    sizes = LOGS[:2] if tiny else LOGS
    before = anonymous_bytes(os.getpid())
    most = grown(tmp_path / "most", sizes[-1])
    memory = anonymous_bytes(os.getpid()) - before
    logs = {size: grown(tmp_path / str(size), size) for size in sizes[:-1]} | {sizes[-1]: most}
    os.sync()  # or the disk takes in what has grown while the turns run
    commits, paths = ({size: list[float]() for size in logs} for _ in range(2))
    for turn in range(3 if tiny else TURNS):
        for size, writer in logs.items():
            took = microseconds(lambda writer=writer: writer.request(COMMIT))  # type: ignore[misc]
            proved = microseconds(lambda writer=writer: prove(writer))  # type: ignore[misc]
            if turn:
                commits[size].append(took)
                paths[size].append(proved / PATHS)
    for writer in logs.values():
        writer.close()
    least, most_leaves = sizes[0], sizes[-1]
    for size in sizes[1:]:
        took, at_least = (statistics.median(commits[at]) for at in (size, least))
        name = f"commit of {COMMIT} digests at {size:,} leaves"
        ratio.row(name, took, "us", f"at {least:,}", at_least, target=Target(ratio_max=FLAT))
    took, at_least = (statistics.median(paths[at]) for at in (most_leaves, least))
    steps = Target(ratio_max=round(math.log(most_leaves, least), 2))  # a path has a hash for each level
    ratio.row(f"inclusion path at {most_leaves:,} leaves", took, "us", f"at {least:,}", at_least, target=steps)
    bound = Target(ratio_max=1)
    name = f"memory of an open log of {most_leaves:,} leaves"
    ratio.row(name, memory / most_leaves, "B/leaf", "bound", LOG_BYTES_MAX, target=bound)


def kept_bytes(node: Node, seconds: float) -> float:
    """Memory that the daemon keeps of each Sign that it answered under load."""
    serve = node.children["serve"].process.pid
    plan = Plan(client=str(node.directory / "client.toml"), line=PROOF, kind="stream", connections=2, processes=2,
                seconds=seconds, warmup_s=0.0)  # fmt: skip
    run(plan)  # what a first load leaves behind is not of its leaves
    before = anonymous_bytes(serve)
    answers = sum(run(plan).answers.total for _ in range(2))
    return (anonymous_bytes(serve) - before) / answers


def test_memory_of_leaves_that_were_asked_one_by_one(ratio: Ratios, tiny: bool) -> None:
    """Of a Sign that was answered the daemon keeps its id, until its segment has an index. A SignBatch has one, too."""
    seconds, bound = 0.3 if tiny else 8.0, Target(ratio_max=1)
    with Node() as node:
        kept = kept_bytes(node, seconds)
    with Node(settings={"journal": {"segment_bytes": 1 << 20}}) as node:
        indexed = kept_bytes(node, seconds)
    ratio.row("memory of a leaf of its own", kept, "B/leaf", "bound", LEAF_BYTES_MAX, target=bound)
    ratio.row("the same, segments of 1 MiB", indexed, "B/leaf", "bound", INDEXED_BYTES_MAX, target=bound)


def test_memory_of_connections_and_of_waiting_requests(ratio: Ratios, tiny: bool) -> None:
    """512 connections that say nothing; then 8 calls under way on each, held by a token that does not answer."""
    connections, calls = (8, 16) if tiny else (CONNECTIONS, 8 * CONNECTIONS)
    with Node(shim=True, settings={"slot": {"soft": {"deadline_ms": 60_000}}}) as node:
        serve = node.children["serve"].process.pid
        plan = Plan(client=str(node.directory / "client.toml"), line=PROOF, in_flight=calls, connections=connections,
                    processes=2, seconds=0.5 if tiny else 4.0, warmup_s=0.0)  # fmt: skip
        idle = anonymous_bytes(serve)
        with Running(plan) as running:
            connected = anonymous_bytes(serve)
            node.shim.delay("C_Sign", 1_000 if tiny else 5_000)
            running.begin()
            time.sleep(0.8 if tiny else 4.5)
            waiting = anonymous_bytes(serve)
            result = running.result()
    per_connection, per_request = (connected - idle) / connections / 1024, (waiting - connected) / calls / 1024
    within = Target(ratio_max=1)
    ratio.row("memory of a connection", per_connection, "KiB", "bound", CONNECTION_KIB_MAX, target=within)
    ratio.row("memory of a waiting request", per_request, "KiB", "bound", REQUEST_KIB_MAX, target=within)

    assert not result.failed
