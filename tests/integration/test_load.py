"""Does the load generator ask what it says, and does a node that is asked too much say so at once?"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.load.plan import Plan
from bench.load.run import run
from kit.node import DIRECT, PROOF, Node

ROOT = Path(__file__).resolve().parents[2]
HELD_PER_S = 200


def test_every_kind_of_call_is_answered(node: Node) -> None:
    """Two processes, three kinds, open and closed loop: answers and nothing else, each with its latency."""
    for kind in ("unary", "stream", "batch"):
        for rate in (0.0, 40.0):
            plan = Plan(client=str(node.directory / "client.toml"), line=PROOF, kind=kind, items=3, rate=rate,
                        in_flight=8, connections=2, processes=2, seconds=0.5, warmup_s=0.1)  # fmt: skip
            result = run(plan)

            assert result.answers.total > 0
            assert not result.failed
            assert not result.refused
            assert result.answers.quantile(0.5) > 0


def test_the_command_line_says_what_it_saw(node: Node) -> None:
    """One document with --json; another machine is not asked by accident."""
    command = [sys.executable, "-m", "bench.load", "--client", str(node.directory / "client.toml"), "--json"]
    settings = ["--line", PROOF, "--in-flight", "2", "--seconds", "0.3", "--warmup-s", "0"]
    done = subprocess.run([*command, *settings], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    far = subprocess.run(
        [*command, *settings, "--address", "192.0.2.1:443"], cwd=ROOT, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip

    assert json.loads(done.stdout)["answers"] > 0
    assert "Traceback" not in far.stderr
    assert far.returncode == 1
    assert "is another machine" in far.stderr


def test_one_connection_may_have_as_many_calls_as_it_likes(node: Node) -> None:
    """300 calls on one connection, the next with each answer: those beyond the limit of streams wait for their turn."""
    plan = Plan(client=str(node.directory / "client.toml"), line=PROOF, in_flight=300, seconds=1.0, warmup_s=0.0)
    result = run(plan)

    assert not result.failed
    assert not result.refused
    assert result.answers.total > 300


def test_thousands_of_calls_that_come_at_once_are_answered(node: Node) -> None:
    """4,096 calls on 64 connections in one moment: the queue has room for them, so none is cut off before it."""
    plan = Plan(client=str(node.directory / "client.toml"), line=PROOF, in_flight=4_096, connections=64, processes=2,
                seconds=1.0, warmup_s=0.0)  # fmt: skip
    result = run(plan)

    assert not result.failed
    assert not result.refused
    assert result.answers.total >= 4_096


@pytest.mark.timing
def test_a_line_asked_for_twice_its_capacity_keeps_signing() -> None:
    """A key held at 200/s is offered 400/s: it does nearly what it can, the others hear at once when to come back."""
    with Node(shim=True, settings={"limits": {"line_wait_ms_max": 500}}) as node:
        node.shim.hold_rate("C_Sign", HELD_PER_S)
        plan = Plan(client=str(node.directory / "client.toml"), line=DIRECT, rate=2 * HELD_PER_S, in_flight=4_096,
                    connections=64, processes=2, seconds=5.0, warmup_s=2.0)  # fmt: skip
        result = run(plan)

    assert not result.failed
    assert set(result.refused) == {"QUEUE_FULL"}
    assert result.delays == sum(result.refused.values())
    assert result.per_s >= 0.8 * HELD_PER_S
    assert result.refusals.quantile(0.5) <= 100
