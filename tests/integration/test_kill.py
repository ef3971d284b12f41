"""What is left when a process dies at any moment: everything that was acknowledged, and nothing twice.

Method: callers (kit.crowd) ask a real node for everything all the time; its processes are killed with SIGKILL at random
moments, also while they start, and started again. Each caller then asks again for all that he was told. At the end the
judge reads the whole log, and every checkpoint that anybody ever saw is compared with the tree.

SIGKILL leaves the page cache: what a power cut does is shown on a simulated disk, in tests/native.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter

import pytest

from kit.checkers import check_log
from kit.crowd import KEPT, LINES, PROOFS, Crowd
from kit.node import Node
from sealpress.core.merkle import Tree
from sealpress.tlog import checkpoint
from sealpress.tlog.entry import OutcomeEvent, RequestEvent
from sealpress.tlog.explain import ulid_text
from sealpress.tlog.reader import committed
from sealpress.tlog.report import Report
from sealpress.wiring.dev import LOG_NAME

CYCLES = int(os.environ.get("SEALPRESS_KILL_CYCLES", "100"))
SEED = int(os.environ.get("SEALPRESS_KILL_SEED") or random.SystemRandom().getrandbits(32))
CALLERS = 8
LIFE_S_MAX = 0.25  # of a daemon that serves
START_S_MAX = 0.3  # of one that is killed while it starts
CHECKS = 5  # of the whole log under way
VICTIMS = ("serve",) * 12 + ("start",) * 3 + ("signer",) * 2 + ("worker",) * 1 + ("both",) * 2
# Small segments end and begin under the kills, and the published checkpoint is written under them.
SETTINGS = {"journal": {"segment_bytes": 1 << 20}, "checkpoint": {"interval_ms": 50}}


@pytest.mark.slow
async def test_kills_at_any_moment_lose_nothing() -> None:
    """kill -9 of daemon, signer or both under mixed load: every answer stands, every start works, no fork is signed."""
    print(f"SEALPRESS_KILL_SEED={SEED}")  # noqa: T201 - to replay a failure
    started = time.monotonic()
    with Node(settings=SETTINGS, start=False) as node:
        node.configure({"line": {KEPT: {"release": "outcome"}}}, "policy.toml")
        killed = Counter[str]()
        crowd = Crowd(node, f"{LOG_NAME}/1", random.Random(SEED + 1))
        try:
            await killing(node, crowd, random.Random(SEED), killed)
        finally:
            await crowd.leave()
        assert node.stop("serve") == 0
        see_published(node, crowd)
        trust = [node.trust(line) for line in PROOFS]
        keys = {one.line_key.vkey for one in trust} | {log.vkey for one in trust for log in one.logs.values()}
        report = check_log(node.log_directory, keys=sorted(keys))
        check_requests(node, crowd)
        crowd.heads.check(tree_of(node, report))
    print(summary(crowd, killed, report, time.monotonic() - started))  # noqa: T201 - the figures are what we are here for


async def killing(node: Node, crowd: Crowd, dice: random.Random, killed: Counter[str]) -> None:
    """All cycles; at the end a whole node, whose callers have compared everything."""
    for command in ("signer", "serve"):
        node.stand_by(command)
        node.start(command)
    crowd.start(CALLERS)
    await crowd.connect()
    for cycle in range(CYCLES):
        victim = dice.choice(VICTIMS)
        killed[victim] += 1
        await crowd.watch(dice.uniform(0, LIFE_S_MAX))
        if victim == "worker":
            node.kill_worker()
        if victim in ("signer", "both"):
            node.kill("signer")
        if victim in ("serve", "both", "start"):
            crowd.disconnect()
            node.kill("serve")
            see_published(node, crowd)
            if cycle % (CYCLES // CHECKS or 1) == 0:
                await asyncio.to_thread(check_log, node.log_directory, torn=True)
        if victim == "start":
            await asyncio.to_thread(node.start_and_kill, "serve", dice.uniform(0, START_S_MAX))
        if victim in ("signer", "both"):
            await asyncio.to_thread(node.start, "signer")
        if victim in ("serve", "both", "start"):
            await asyncio.to_thread(node.start, "serve")
            await crowd.connect()
    crowd.disconnect()
    node.kill("serve")
    await asyncio.to_thread(node.start, "serve")
    await crowd.connect()
    await crowd.finish()


def see_published(node: Node, crowd: Crowd) -> None:
    """The checkpoint file is whole or absent."""
    published = checkpoint.read(node.log_directory)
    if published is not None:
        crowd.heads.saw(published.text)


def check_requests(node: Node, crowd: Crowd) -> None:
    """The log holds each id once, with the leaves that its caller was told of; a stranger's never."""
    found: dict[str, tuple[int, int, str]] = {}
    for record in committed(node.log_directory):
        event = record.event
        if isinstance(event, RequestEvent):
            assert event.request_id not in found, f"{event.request_id} has two leaves"
            found[event.request_id] = (record.head.first_leaf, record.head.count, ulid_text(event.event_id))
        assert not isinstance(event, OutcomeEvent) or event.status != "lapsed"
    told = {act.request_id: act for act in crowd.acknowledged}
    for request_id, act in told.items():
        place = (act.first_leaf, len(act.digests) // act.algorithm.size, act.event_id)
        assert found.get(request_id) == place, f"{act} stands elsewhere: {found.get(request_id)}"
    assert "stranger" not in found
    assert found.keys() <= told.keys() | crowd.unknown  # every caller got an answer in the end


def tree_of(node: Node, report: Report) -> Tree:
    """The leaves that the judge has re-derived from the records, as a tree to ask for older roots."""
    assert report.tree_files == "match"
    tree = Tree()
    tree.append((node.log_directory / "tree" / "level-00").read_bytes()[: 32 * report.tree_size])
    assert tree.root() == report.root
    return tree


def summary(crowd: Crowd, killed: Counter[str], report: Report, seconds: float) -> str:
    """One line of figures."""
    assert {act.line for act in crowd.acknowledged} == set(LINES)
    counts = crowd.counts
    return (
        f"kill: {killed.total()} cycles in {seconds:.0f} s ({dict(killed)}), "
        f"{len(crowd.acknowledged)} acknowledged acts, {counts['compared']} compared after a restart, "
        f"{counts['proofs']} proofs verified offline, {counts['refused']} refusals, {counts['conflicts']} conflicts, "
        f"{len(crowd.unknown)} never acknowledged and unknown, {counts['loose']} loose ones unknown, "
        f"{len(crowd.heads.roots)} checkpoints compared, {report.tree_size} leaves, {report.segments} segments, "
        f"{report.signatures} signatures in the log; 0 lost, 0 unverifiable, 0 refused starts, 0 forks"
    )
