"""What does a node do when more is asked than can be had?

A direct line costs a token operation each, so its key is what runs out: a shim holds the token at a rate, and twice
that rate arrives, open loop. The unary peak is the processor's: twice the calls in flight must not cost answers.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from bench.load.plan import Plan, Result
from bench.load.run import Running, run
from bench.run import Target
from bench.usage import Memory
from kit.node import DIRECT, PROOF, Node

if TYPE_CHECKING:
    from bench.harness import Ratios

HELD_PER_S = 500
CONNECTIONS = 512
SECONDS = 300.0
GOODPUT_MIN = 0.9
REFUSAL_MS_MAX = 50
GROWTH_MAX = 1.05
WIDTHS = (32, 64, 128, 256, 512)
PAIRS = 5


def plan(node: Node, line: str, **settings: object) -> Plan:
    """For this node."""
    return Plan(client=str(node.directory / "client.toml"), line=line, **settings)  # type: ignore[arg-type]


def test_a_line_asked_for_twice_its_capacity(ratio: Ratios, tiny: bool) -> None:
    """512 connections offer 1,000/s to a key held at 500/s: goodput, refusals, memory."""
    seconds, connections = (2.0, 16) if tiny else (SECONDS, CONNECTIONS)
    with Node(shim=True) as node:
        node.shim.hold_rate("C_Sign", HELD_PER_S)
        load = plan(node, DIRECT, rate=2.0 * HELD_PER_S, in_flight=8_192, connections=connections, processes=2,
                    seconds=seconds, warmup_s=0.5 if tiny else 10.0)  # fmt: skip
        with Running(load) as running, Memory(node, 0.2 if tiny else 1.0) as memory:
            running.begin()
            result = running.result()
    name = f"{CONNECTIONS} connections offer {2 * HELD_PER_S:,}/s"
    refused_ms, (before, after) = result.refusals.quantile(0.99), memory.quarters()
    served, at_once, flat = Target(ratio_min=GOODPUT_MIN), Target(ratio_max=1), Target(ratio_max=GROWTH_MAX)
    ratio.row(f"{name}: goodput", result.per_s, "call/s", "capacity", HELD_PER_S, target=served)
    ratio.row(f"{name}: refusal p99", refused_ms, "ms", "bound", REFUSAL_MS_MAX, target=at_once)
    ratio.row(f"{name}: memory at the end", after, "MiB", "at the beginning", before, target=flat)

    assert not result.failed
    if not tiny:
        assert set(result.refused) == {"QUEUE_FULL"}
        assert result.delays == sum(result.refused.values()) > 0


def test_twice_the_calls_of_the_peak(ratio: Ratios, tiny: bool) -> None:
    """Unary calls, closed loop: answers a second with twice the calls in flight that give the most."""
    widths = (4, 8) if tiny else WIDTHS
    with Node() as node:

        def ask(width: int) -> Result:
            return run(plan(node, PROOF, in_flight=width, connections=max(1, width // 64), processes=1,
                            seconds=0.3 if tiny else 3.0))  # fmt: skip

        ask(widths[-1])  # warm
        found = {width: ask(width) for width in widths}
        peak = max(found, key=lambda width: found[width].per_s)
        pairs = [(ask(peak).per_s, ask(2 * peak).per_s) for _ in range(1 if tiny else PAIRS)]
    best, twice = (statistics.median(rates) for rates in zip(*pairs, strict=True))
    target = Target(ratio_min=GOODPUT_MIN)
    name, baseline = f"Sign, {2 * peak} in flight", f"peak, {peak} in flight"
    ratio.row(name, twice, "call/s", baseline, best, target=target)
