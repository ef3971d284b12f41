"""A front end that lies: whatever shape it sends, no token operation takes place and the mark stays where it was."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit import shim
from kit.front import NOW, accepted
from kit.governed import until
from kit.liar import KEYS_USED, SHAPES, Liar, told
from kit.signer import ORIGIN, Node, make_node
from sealpress.errors import Refusal


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """A provisioned node that tests copy."""
    directory = tmp_path_factory.mktemp("hostile")
    return make_node(directory / "n", keys=KEYS_USED, module=str(shim.built()), signer="leaves_per_minute_max = 1000")


def fill_up(path: Path) -> None:
    """This process has the file open once: from now on nothing can be written there."""
    (descriptor,) = [int(name.name) for name in Path("/proc/self/fd").iterdir() if name.resolve() == path.resolve()]
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, descriptor)
    os.close(full)


@pytest.fixture
async def front(template: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Liar]:
    """A guard with an accepted head that holds one direct leaf; no token operation so far."""
    async with accepted(Liar, template, tmp_path, monkeypatch) as made:
        yield made


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_lie_reaches_no_token(front: Liar, shape: str) -> None:
    """Refused with its reason and counted; the module sees no C_Sign; the mark moves only by honest growth."""
    reason, attempt = SHAPES[shape]
    before = front.signer.guard.refused[reason]
    with pytest.raises(Refusal) as caught:
        await attempt(front)

    assert caught.value.reason == reason
    assert front.signer.guard.refused[reason] == before + 1
    assert (front.counters["C_Sign"], front.counters["C_SignInit"]) == (0, 0)
    mark = (await front.link.status()).logs[ORIGIN]
    assert (mark.size, mark.root) == (front.log.told, front.log.tree.root(front.log.told))


async def test_a_leaf_gets_one_signature(front: Liar) -> None:
    """Asked twice at once and once more: one token operation, one signature."""
    answers = await asyncio.gather(
        *(front.link.direct("direct-p256", [front.item()] * 2, front.log.told) for _ in "ab")
    )
    results = [one for answer in answers for one in answer]
    (late,) = await front.link.direct("direct-p256", [front.item()], front.log.told)

    assert sorted(one.reason for one in results) == ["", "IN_FLIGHT", "IN_FLIGHT", "IN_FLIGHT"]
    assert (late.reason, front.counters["C_Sign"]) == ("ALREADY_SIGNED", 1)


async def test_a_leaf_of_an_earlier_accepted_head_is_signed(front: Liar) -> None:
    """The log may have grown since: an older head, if it was accepted, still shows the leaf."""
    item, size = front.item(), front.log.told
    front.log.event(NOW, 10)
    await told(front)

    (result,) = await front.link.direct("direct-p256", [item], size)
    assert result.signature


async def test_a_mark_that_cannot_be_written_ends_all_signing(front: Liar) -> None:
    """The disk fails under the mark: no signature leaves, then or later, and the process is told to end."""
    fill_up(front.signer.guard._books[ORIGIN]._file.path)
    for _ in range(2):
        with pytest.raises(Refusal) as caught:
            await front.link.seal(ORIGIN, front.log.told, ["proof-p256"])
        assert caught.value.reason == "SIGNER_STOPPING"
    assert (await front.signer.guard.failure).reason == "MARK_FAILED"


async def test_what_a_token_signed_beside_a_mark_that_failed_is_unknown(front: Liar) -> None:
    """A direct leaf went to the token while the disk failed: nobody gets the signature, nor asks again for it."""
    item, told_before = front.item(), front.log.told
    fill_up(front.signer.guard._books[ORIGIN]._file.path)
    front.log.event(NOW)
    size, root, path = front.log.growth()
    calls = [
        front.link.advance(ORIGIN, size, root, path, NOW),
        front.link.direct("direct-p256", [item], told_before),
    ]
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert ["SIGNER_STOPPING", "OUTCOME_UNKNOWN"] == [getattr(one, "reason", one) for one in ended]
    await until(lambda: front.counters["C_Sign"] == 1)  # the disk may have been quicker
    with pytest.raises(Refusal) as caught:
        await front.link.direct("direct-p256", [item], told_before)
    assert (caught.value.reason, front.counters["C_Sign"]) == ("SIGNER_STOPPING", 1)


async def test_a_stop_beats_a_signature_under_way(front: Liar) -> None:
    """The token is busy when the stop comes: what it returns is thrown away."""
    front.counters.delay("C_Sign", 300)
    asked = asyncio.create_task(front.link.direct("direct-p256", [front.item()], front.log.told))
    sealing = asyncio.create_task(front.link.seal(ORIGIN, front.log.told, ["proof-p256"]))
    await asyncio.sleep(0.1)
    await front.link.stop("direct-p256")
    await front.link.stop("proof-p256")

    assert [(one.signature, one.reason) for one in await asked] == [(b"", "STOPPED")]
    line = (await sealing).lines["proof-p256"]
    assert (line.line, line.reason) == (b"", "STOPPED")
