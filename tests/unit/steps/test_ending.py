"""Does everybody hear how it is when a node ends: nobody waits for a log that nothing is written to any more?"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kit.acme import TEST, ask, caller, digest
from kit.governed import Governed
from sealpress.errors import Damaged, NotPermitted, Unavailable
from sealpress.governance import facts as f
from sealpress.values import KeyClass


async def fail(node: Governed) -> None:
    """As a failed sync ends it: the loops are over, and the node says so."""
    for task in node.flow._tasks:
        task.cancel()
    await asyncio.gather(*node.flow._tasks, return_exceptions=True)
    node.flow._fail(node.shared.governance, Damaged("the disk is gone", reason="LOG_FAILED"))


async def test_a_refusal_after_the_log_failed_waits_for_no_record(tmp_path: Path) -> None:
    """No right is no right: it is told at once, without a record, while the node goes down."""
    async with asyncio.timeout(2), Governed(tmp_path, lines={TEST: KeyClass.TEST}, governed=False) as node:
        await fail(node)
        with pytest.raises(NotPermitted) as caught:
            await node.sign(ask(TEST, digest(1)), caller("uri:stranger"))

    assert (caught.value.reason, caught.value.event_id) == ("NOT_PERMITTED", "")


async def test_an_act_after_the_log_failed_waits_for_no_record(tmp_path: Path) -> None:
    """Nobody would ever write it: who acts hears so, and so does the next."""
    async with asyncio.timeout(2), Governed(tmp_path, lines={TEST: KeyClass.TEST}) as node:
        await node.begin()
        await fail(node)
        for _ in range(2):
            with pytest.raises(Damaged):
                await node.write(f.AlertRaised(name="alert.log.space", subject="gov", text="full"))


async def test_who_still_waits_when_a_node_stops_hears_that_it_stops(tmp_path: Path) -> None:
    """Nothing is recorded of the request, and nothing is wrong with the log: it is asked again elsewhere, soon."""
    async with asyncio.timeout(2), Governed(tmp_path, lines={TEST: KeyClass.TEST}, governed=False) as node:
        next(task for task in node.flow._tasks if task.get_name().startswith("commits")).cancel()
        waiting = asyncio.create_task(node.sign(ask(TEST, digest(1))))
        await asyncio.sleep(0)
        assert not await node.flow.drain(10)
        with pytest.raises(Unavailable) as caught:
            await waiting

    assert caught.value.reason == "SHUTTING_DOWN"


async def test_a_policy_that_nobody_waits_for_any_more_stops_no_commit(tmp_path: Path) -> None:
    """Who had it adopted went away meanwhile: it is in force all the same, and requests are signed."""
    async with asyncio.timeout(1), Governed(tmp_path, lines={TEST: KeyClass.TEST}, governed=False) as node:
        adopting = asyncio.create_task(node.flow.adopt(node.shared.snapshot))
        await asyncio.sleep(0)
        adopting.cancel()
        seq = node.shared.snapshot.governance_seq
        settled = await node.sign(ask(TEST, digest(1)))

        assert settled.act.count == 1
        assert node.shared.snapshot.governance_seq != seq
