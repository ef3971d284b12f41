"""Does a leaf that was never signed give its use back once, and only where nobody can have its signature?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.acme import LOW, RELEASE, ask, digest
from kit.governed import Governed, grant_for, until
from sealpress.errors import OutcomeUnknown, Refusal, Unavailable
from sealpress.hsm.outcomes import DirectResult
from sealpress.tlog.entry import OutcomeStatus
from sealpress.values import KeyClass, RecordType

LINES = {LOW: KeyClass.LOW, RELEASE: KeyClass.RELEASE}


async def test_what_lapses_gives_its_use_back(tmp_path: Path) -> None:
    """A leaf that was not sealed in 300 s never counts; its use is free again, also for the next start."""
    node = Governed(tmp_path, lines=LINES)
    await node.open()
    await node.begin()
    grant = await grant_for(node, RELEASE, uses=1)
    node.signer.gate.clear()
    asked = asyncio.create_task(node.sign(ask(RELEASE, digest(1), grant_id=grant)))
    await asyncio.sleep(0.05)
    assert node.office.ledger.grants == {grant: 1}
    await node.crash()
    asked.cancel()
    node.clock.advance(400)
    async with node.again() as later:
        for _ in range(1_000):  # until the record of the lapse is durable
            if later.office.ledger.grants == {grant: 0}:
                break
            await asyncio.sleep(0.01)
        assert later.office.ledger.grants == {grant: 0}
        await later.sign(ask(RELEASE, digest(2), grant_id=grant))


async def test_direct_leaves_that_failed_cleanly_lapse_too(tmp_path: Path) -> None:
    """What nobody asks for again in time: recorded once, its uses alone are free again, and the id begins anew."""
    async with Governed(tmp_path, lines={RELEASE: KeyClass.RELEASE}, direct=True) as node:
        await node.begin()
        grant = await grant_for(node, RELEASE, uses=9)
        left = ask(RELEASE, digest(1), digest(2), digest(3), grant_id=grant)
        again = ask(RELEASE, digest(1), digest(4), grant_id=grant)
        with failing(node, digest(1), digest(3)):
            for one in (left, again):
                with pytest.raises(Unavailable) as caught:
                    await node.sign(one)
                assert caught.value.reason == "PARTIAL"
        await until(lambda: not node.shared.live)
        assert len((await node.sign(again)).signatures) == 2
        assert node.office.ledger.grants == {grant: 5}
        first = lapsed_leaves(node)
        node.clock.advance(400)
        await until(lambda: node.office.ledger.grants != {grant: 5})
        line = next(line for line in node.shared.keys if line.name == RELEASE)
        assert (first, lapsed_leaves(node), len(line.left)) == ([], [0, 2], 0)
        assert node.office.ledger.grants == {grant: 3}
        assert len((await node.sign(left)).signatures) == 3
        assert node.office.ledger.grants == {grant: 6}
    async with node.again() as later:
        assert later.office.ledger.grants == {grant: 6}


async def test_what_a_former_process_may_have_signed_is_unknown_and_does_not_lapse(tmp_path: Path) -> None:
    """Asked for again and not signed in time: whether it was signed before nobody knows, so its use is spent."""
    node = Governed(tmp_path, lines={RELEASE: KeyClass.RELEASE}, direct=True)
    await node.open()
    await node.begin()
    grant = await grant_for(node, RELEASE, uses=9)
    one = ask(RELEASE, digest(1), grant_id=grant)
    with failing(node, digest(1)), pytest.raises(Unavailable):
        await node.sign(one)
    await until(lambda: not node.shared.live)
    await node.crash()
    async with node.again() as later:

        async def away(key: str, items: list[Any], size: int) -> list[DirectResult]:
            raise Unavailable("the token is away", reason="SLOT_DOWN")

        later.signer.direct = away  # type: ignore[method-assign]
        asked = asyncio.create_task(later.sign(one))
        await until(lambda: bool(later.shared.live))
        later.clock.advance(400)
        with pytest.raises(Refusal):
            await asked
        await until(lambda: not later.shared.live)
        assert (lapsed_leaves(later), later.office.ledger.grants) == ([], {grant: 1})
        with pytest.raises(OutcomeUnknown):
            await later.sign(one)


async def test_a_retry_that_comes_at_the_last_moment_lapses_once(tmp_path: Path) -> None:
    """Its leaves grow too old while their record is read: they are given back once, and the retry hears of it."""
    async with Governed(tmp_path, lines={RELEASE: KeyClass.RELEASE}, direct=True) as node:
        await node.begin()
        grant = await grant_for(node, RELEASE, uses=9)
        one = ask(RELEASE, digest(1), grant_id=grant)
        with failing(node, digest(1)), pytest.raises(Unavailable):
            await node.sign(one)
        await until(lambda: not node.shared.live)
        real, log = node.logs["gov"].stored, node.shared.logs["gov"]

        def stored(where: Any) -> Any:
            act = real(where)
            node.clock.advance(400)
            asyncio.run_coroutine_threadsafe(settled(), loop).result(10)
            return act

        async def settled() -> None:
            await until(lambda: node.office.ledger.grants == {grant: 0})

        loop = asyncio.get_running_loop()
        log.log.stored = stored  # type: ignore[method-assign]
        with pytest.raises(Unavailable) as caught:
            await node.sign(one)
        log.log.stored = real  # type: ignore[method-assign]
        assert caught.value.reason == "LAPSED"
        await node.sign(one)
        assert node.office.ledger.grants == {grant: 1}
        assert lapsed_leaves(node) == [0]


def lapsed_leaves(node: Governed) -> list[int]:
    """The positions in their requests of all leaves that are recorded as lapsed."""
    first = {record.seq: record.head.first_leaf for record in node.records(RecordType.REQUEST)}
    outcomes = [record.head.event for record in node.records(RecordType.OUTCOME)]
    runs = [run for event in outcomes if event.status is OutcomeStatus.LAPSED for run in event.requests]
    return [run.first_leaf - first[run.seq] + at for run in runs for at in range(run.count)]


@contextlib.contextmanager
def failing(node: Governed, *digests: bytes) -> Iterator[None]:
    """The token is not there for these."""
    real = node.signer.direct

    async def direct(key: str, items: list[Any], size: int) -> list[DirectResult]:
        signed = iter(await real(key, [item for item in items if item.digest not in digests], size))
        down = DirectResult(b"", 0, 0, "", "SLOT_DOWN")
        return [down if item.digest in digests else next(signed) for item in items]

    node.signer.direct = direct  # type: ignore[method-assign]
    yield
    node.signer.direct = real  # type: ignore[method-assign]


async def test_what_a_later_head_has_in_hand_does_not_lapse_with_an_earlier_one_that_failed(tmp_path: Path) -> None:
    """Of two seals under way the first fails, late: the second covers its leaves too, which are signed, in time."""
    async with Governed(tmp_path, lines=LINES) as node:
        await node.begin()
        grant = await grant_for(node, RELEASE, uses=3)
        line, real = next(line for line in node.shared.keys if line.name == RELEASE), node.signer.seal
        begun: list[asyncio.Event] = []

        async def seal(origin: str, size: int, keys: list[str], *, hold: bool = False) -> Any:
            answer = await real(origin, size, keys, hold=hold)  # made now, heard later
            begun.append(asyncio.Event())
            number = len(begun)
            if number < 4:
                await begun[-1].wait()
            if number == 2:
                raise Unavailable("the token failed")
            return answer

        node.signer.seal = seal  # type: ignore[method-assign]
        asked, requests = [], [ask(RELEASE, digest(number), grant_id=grant) for number in range(3)]
        for number, request in enumerate(requests):  # the first one shows how long a seal takes
            asked.append(asyncio.create_task(node.sign(request)))
            await until(lambda number=number: len(begun) == number + 1)  # type: ignore[misc]
            node.clock.advance(1)
            if number == 0:
                begun[0].set()
                await asked[0]
        node.clock.advance(300)
        begun[1].set()
        await asyncio.sleep(0.3)  # more than the pause before the next try
        begun[2].set()
        await asyncio.gather(*asked, return_exceptions=True)  # they were told that it takes longer, and ask again
        again = [await node.sign(request) for request in requests]
        leaves = [record for record in node.records(RecordType.REQUEST) if record.head.event.line == RELEASE]
        assert [one.act.first_leaf for one in again] == [one.head.first_leaf for one in leaves]
        assert node.office.ledger.grants == {grant: 3}
        assert len(begun) == 3
        assert line.asking == []
