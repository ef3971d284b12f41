"""Several commits of one log in flight: numbers are known ahead, ends come in order, and no room is no room for all."""

from __future__ import annotations

import asyncio
import errno
from itertools import pairwise
from pathlib import Path

import pytest

from kit.checkers import check_log
from kit.disk import FaultDisk
from kit.scribe import Scribe
from sealpress.errors import Busy, Damaged
from sealpress.tlog.draft import Committed, Draft
from sealpress.tlog.log import Log

DEPTH = 3


def drafted(scribe: Scribe, digests: int) -> Draft:
    """One request."""
    draft = scribe.log.draft()
    draft.request(scribe.event(), None, scribe.entropy.bytes(32), b"", scribe.digests(digests), digests)
    return draft


async def begun(scribe: Scribe, counts: list[int]) -> list[asyncio.Task[Committed]]:
    """A commit of one request for each count, all in flight."""
    tasks = []
    for count in counts:
        tasks.append(asyncio.get_running_loop().create_task(scribe.log.commit(drafted(scribe, count))))
        await asyncio.sleep(0)
    return tasks


def opened(scribe: Scribe, disk: FaultDisk | None = None) -> Log:
    """With the running loop."""
    scribe.log = Log.open(scribe.settings, scribe.clock, scribe.entropy, disk=None if disk is None else disk.address)
    scribe.log.start(asyncio.get_running_loop())
    return scribe.log


async def test_numbers_go_on_behind_what_is_in_flight(tmp_path: Path) -> None:
    """Through several segments: each draft begins where the one before it ends, and the log is whole."""
    disk = FaultDisk()
    scribe = Scribe(tmp_path / "log", commits_in_flight_max=DEPTH)
    log = opened(scribe, disk)
    disk.delay("sync", 20_000_000)
    ended: list[Committed] = []
    for _ in range(12):
        size = log.size
        tasks = await begun(scribe, [1, 200, 30])
        assert (log.size, log.may_draft, log.idle) == (size, False, False)
        with pytest.raises(RuntimeError):
            log.draft()
        ended += await asyncio.gather(*tasks)
        assert (log.size, log.may_draft, log.idle) == (ended[-1].tree_size, True, True)
    for earlier, later in pairwise(ended):
        assert (earlier.tree_size, earlier.start) == (later.first_leaf, min(earlier.start, later.start))
        assert earlier.time_ns <= later.time_ns
    assert log.reader.end.segment > 1
    log.close()
    check_log(scribe.settings.directory)


async def test_a_failed_sync_ends_all_in_flight(tmp_path: Path) -> None:
    """Each gets the same Damaged, and nothing is drafted any more."""
    disk = FaultDisk()
    scribe = Scribe(tmp_path / "log", commits_in_flight_max=DEPTH)
    log = opened(scribe, disk)
    await asyncio.gather(*await begun(scribe, [1]))
    size = log.size
    disk.delay("sync", 50_000_000)
    disk.fail("sync", 1)
    ended = await asyncio.gather(*await begun(scribe, [1, 2, 3]), return_exceptions=True)
    assert {str(error) for error in ended} == {str(log.failure)}
    assert isinstance(log.failure, Damaged)
    assert log.size == size
    with pytest.raises(Damaged):
        log.draft()
    log.close()
    scribe.open()
    scribe.request(1)
    scribe.log.close()
    check_log(scribe.settings.directory)


async def test_no_room_for_one_is_no_room_for_those_behind_it(tmp_path: Path) -> None:
    """All get Busy LOG_FULL, the drafts behind are void, and with room again the numbers begin where the log ends."""
    disk = FaultDisk()
    scribe = Scribe(tmp_path / "log", commits_in_flight_max=DEPTH)
    log = opened(scribe, disk)
    disk.fail("allocate", 1, errno.ENOSPC, forever=True)
    ended: list[Committed | BaseException] = []
    while not any(isinstance(one, Busy) for one in ended):
        ended = await asyncio.gather(*await begun(scribe, [300] * DEPTH), return_exceptions=True)
    good = [one for one in ended if isinstance(one, Committed)]
    # One that was void before the loop handed it over is a RuntimeError: the answer of the first was quicker.
    assert {type(one) for one in ended[len(good) :]} <= {Busy, RuntimeError}
    assert log.idle
    assert log.may_draft
    disk.heal("allocate")
    size, seq = log.size, log.next_seq
    (again,) = await asyncio.gather(*await begun(scribe, [1]))
    assert (again.first_leaf, again.first_seq) == (size, seq)
    log.close()
    check_log(scribe.settings.directory)


async def test_close_ends_what_is_in_flight(tmp_path: Path) -> None:
    """Commits under way are finished, and found by the next start."""
    scribe = Scribe(tmp_path / "log", commits_in_flight_max=DEPTH)
    log = opened(scribe)
    tasks = await begun(scribe, [1, 50, 7])
    log.close()
    ended = await asyncio.gather(*tasks)
    scribe.open()
    assert scribe.log.size >= ended[-1].tree_size
    scribe.log.close()
    check_log(scribe.settings.directory)
