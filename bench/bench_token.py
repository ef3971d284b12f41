"""Can one slow token serve a fleet? A shim in front of it makes every operation take longer.

One session, so one operation at a time. The baseline is the same node with the token as it is, asked in turns.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from bench.load.plan import Plan, Result
from bench.load.run import run
from bench.run import Target
from kit.node import PROOF, Node

if TYPE_CHECKING:
    from bench.harness import Ratios

OPERATION_MS = 20
IN_FLIGHT = 512
CONNECTIONS = 8  # of 64 calls each
RATE_MIN = 0.9
OPERATIONS_MAX = 2.5
TURNS = 5


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """One session, behind the shim."""
    with Node(shim=True, settings={"slot": {"soft": {"sessions": 1}}}) as running:
        yield running


def ask(node: Node, tiny: bool, in_flight: int, operation_ms: float) -> Result:
    """A closed loop of unary calls."""
    node.shim.clear()
    if operation_ms:
        node.shim.delay("C_Sign", operation_ms)
    plan = Plan(
        client=str(node.directory / "client.toml"),
        line=PROOF,
        in_flight=in_flight,
        connections=max(1, in_flight * CONNECTIONS // IN_FLIGHT),
        seconds=0.5 if tiny else 3.0,
        warmup_s=0.1 if tiny else 1.0,
    )
    result = run(plan)
    assert not result.failed
    assert not result.refused
    return result


def test_a_slow_token_serves_as_many(ratio: Ratios, tiny: bool, node: Node) -> None:
    """512 calls in flight: answers a second with 20 ms an operation, against none."""
    rates: dict[int, list[float]] = {OPERATION_MS: [], 0: []}
    for _ in range(1 if tiny else TURNS):
        for operation_ms, found in rates.items():
            found.append(ask(node, tiny, 16 if tiny else IN_FLIGHT, operation_ms).per_s)
    slow, quick = (statistics.median(found) for found in rates.values())
    name, target = f"Sign, {IN_FLIGHT} in flight, {OPERATION_MS} ms token", Target(ratio_min=RATE_MIN)
    ratio.row(name, slow, "call/s", "same token, 0 ms", quick, target=target)


def test_nobody_waits_for_many_operations(ratio: Ratios, tiny: bool, node: Node) -> None:
    """64 calls in flight: the median answer, in operations of 20 ms."""
    results = [ask(node, tiny, 8 if tiny else 64, OPERATION_MS) for _ in range(1 if tiny else TURNS)]
    p50_ms = statistics.median(result.answers.quantile(0.5) for result in results)
    name, target = f"Sign p50, 64 in flight, {OPERATION_MS} ms token", Target(ratio_max=OPERATIONS_MAX)
    ratio.row(name, p50_ms, "ms", "one operation", OPERATION_MS, target=target)


@pytest.mark.parametrize("in_flight", [64, IN_FLIGHT])
def test_by_token_latency(ratio: Ratios, tiny: bool, node: Node, in_flight: int) -> None:
    """The curve: 0 to 50 ms an operation, against 0."""
    found = {}
    for operation_ms in (0, 20) if tiny else (0, 5, 10, 20, 50):
        result = found[operation_ms] = ask(node, tiny, 8 if tiny else in_flight, operation_ms)
        p50_ms, p99_ms = result.answers.quantile(0.5), result.answers.quantile(0.99)
        ratio.point(f"token: {in_flight} in flight", operation_ms, result.per_s, p50_ms, p99_ms)
    slowest = max(found)
    ratio.row(
        f"Sign, {in_flight} in flight, {slowest} ms token", found[slowest].per_s, "call/s", "0 ms", found[0].per_s
    )
