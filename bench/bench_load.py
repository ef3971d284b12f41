"""How do throughput and the slowest answers move with what is asked? The points of the plot.

The load generator asks a whole node from processes of its own; the baseline of each row is the least load. A client is
a connection with one Sign under way, as a CI job is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from bench.load.plan import Plan, Result
from bench.load.run import run
from bench.run import Target
from bench.usage import cpu_s
from kit.node import PROOF, Node

if TYPE_CHECKING:
    from bench.harness import Ratios

BATCHES_IN_FLIGHT = 4


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A whole node."""
    with Node() as running:
        yield running


def ask(node: Node, tiny: bool, **settings: object) -> Result:
    """A load on this node; every call is answered."""
    settings = {"seconds": 0.3 if tiny else 4.0, "warmup_s": 0.1 if tiny else 1.0} | settings
    plan = Plan(client=str(node.directory / "client.toml"), line=PROOF, **settings)  # type: ignore[arg-type]
    result = run(plan)
    assert not result.failed
    assert not result.refused
    return result


def curve(ratio: Ratios, name: str, results: dict[int, Result], label: str) -> None:
    """The points, and a row from one end to the other."""
    for x, result in results.items():
        latency = result.answers
        rate = result.per_s * result.plan.items
        ratio.point(name, x, rate, latency.quantile(0.5), latency.quantile(0.99))
    least, most = (results[x] for x in (min(results), max(results)))
    rates = [result.per_s * result.plan.items for result in (most, least)]
    ratio.row(label.format(max(results)), rates[0], "item/s", label.format(min(results)), rates[1])


def test_streams_by_clients(ratio: Ratios, tiny: bool, node: Node) -> None:
    """SignStream: items under way on one stream; from 64 on, one stream for each 64."""
    widths = (1, 4) if tiny else (1, 4, 16, 64, 256, 512)
    results = {
        width: ask(node, tiny, kind="stream", in_flight=width, connections=max(1, width // 64)) for width in widths
    }
    curve(ratio, "clients: SignStream", results, "SignStream, {} in flight")


def test_calls_by_clients(ratio: Ratios, tiny: bool, node: Node) -> None:
    """1 to 512 clients, each with a Sign under way on its own connection; none costs the daemon more than the first."""
    serve, results, costs = node.children["serve"].process.pid, {}, {}
    for clients in (1, 4) if tiny else (1, 4, 16, 64, 256, 512):
        before = cpu_s(serve)
        result = ask(node, tiny, in_flight=clients, connections=clients, processes=min(2, clients), warmup_s=0.0)
        results[clients], costs[clients] = result, (cpu_s(serve) - before) / result.answers.total * 1e6
    curve(ratio, "clients: Sign", results, "Sign, clients: {}")
    for clients in list(costs)[1:]:
        name = f"CPU of serve for a Sign, {clients} clients"
        ratio.row(name, costs[clients], "us", "1 client", costs[1], target=Target(ratio_max=1))


def test_batches_by_size(ratio: Ratios, tiny: bool, node: Node) -> None:
    """SignBatch, four under way: digests of one call."""
    sizes = (1, 100) if tiny else (1, 10, 100, 1_000, 10_000)
    results = {size: ask(node, tiny, kind="batch", items=size, in_flight=BATCHES_IN_FLIGHT) for size in sizes}
    curve(ratio, "batch: SignBatch", results, "SignBatch of {}")


def test_arrivals_at_random(ratio: Ratios, tiny: bool, node: Node) -> None:
    """Half of what 64 callers reach, arriving at random on 64 connections: the p99, against the median."""
    closed = ask(node, tiny, in_flight=8 if tiny else 64)
    opened = ask(node, tiny, rate=closed.per_s / 2, in_flight=4_096, connections=4 if tiny else 64, processes=2)
    p50, p99 = (opened.answers.quantile(share) for share in (0.5, 0.99))
    ratio.row("Sign p99, open loop at half the peak", p99, "ms", "its p50", p50)
