"""Several commits in flight: are they still one log, in order, of which nothing counts before it is durable?"""

from __future__ import annotations

import errno
import shutil
import time
from pathlib import Path

import pytest

from kit import frames
from kit.disk import FaultDisk
from kit.logs import EVENT_SCOPE, Writer, judge, segment_path, segments_of
from sealpress.core import journal as core
from sealpress.core.batch import Batch
from sealpress.core.journal import COMMITS_IN_FLIGHT_MAX, CommitResult
from sealpress.errors import CoreError

SYNC_NS = 300_000_000
depths = pytest.mark.parametrize("depth", range(2, COMMITS_IN_FLIGHT_MAX + 1))


def write(directory: Path, depth: int, commits: int) -> None:
    """So many commits, as many of them in flight as may be, each of the size that its number says."""
    with Writer(directory, in_flight=depth).start() as log:
        for n in range(commits):
            if n >= depth:
                assert log.finish().status_name == "SP_OK"
            log.send(log.small(digests=1 + n * 7 % 60))
        for _ in range(depth):
            assert log.finish().status_name == "SP_OK"


def largest(log: Writer) -> Batch:
    """A batch as large as may be."""
    limit = log.journal.position().batch_bytes_max
    batch = Batch(limit)
    batch.event(frames.OUTCOME, 1, bytes(limit - 32), EVENT_SCOPE)
    return batch


@depths
def test_the_bytes_are_those_of_one_at_a_time(tmp_path: Path, depth: int) -> None:
    """Not a bit of a log says how many of its commits were in flight together."""
    write(tmp_path / "one", 1, 90)
    write(tmp_path / "many", depth, 90)

    assert segments_of(tmp_path / "many") == segments_of(tmp_path / "one")
    assert len(segments_of(tmp_path / "many")) > 2
    judge(tmp_path / "many")


def test_no_commit_is_written_before_the_one_before_is_durable(tmp_path: Path) -> None:
    """While the first of two batches syncs, the second has its frames in the segment and no COMMIT behind them."""
    disk = FaultDisk()
    with Writer(tmp_path / "log", in_flight=2, disk=disk.address).start() as log:
        log.commit()  # the one that opens the segment has nobody beside it
        end = log.journal.position()
        disk.delay("sync", SYNC_NS)
        writes = disk.calls("pwrite")
        log.send(log.small())
        log.send(log.small())
        deadline = time.monotonic() + 10
        while disk.calls("pwrite") < writes + 3:  # frames, COMMIT; frames
            assert time.monotonic() < deadline
            time.sleep(0.001)
        shutil.copytree(tmp_path / "log", tmp_path / "copy")
        assert log.journal.take() is None
        results = [log.finish(), log.finish()]
    assert [result.status_name for result in results] == ["SP_OK", "SP_OK"]
    assert results[0].first_seq == end.next_seq
    judge(tmp_path / "log")
    with Writer(tmp_path / "copy") as found:
        assert (found.state.commits, found.state.damage) == (2, core.DAMAGE_TORN)
        found.journal.repair("tail")
        found.start().commit()
    judge(tmp_path / "copy")


@depths
@pytest.mark.parametrize("done", [False, True], ids=["not done", "done but reported failed"])
def test_a_failed_sync_is_the_end_of_all_behind_it(tmp_path: Path, depth: int, done: bool) -> None:
    """Results come in order, none is good after the bad one, no other sync is tried, and a restart goes on."""
    disk = FaultDisk()
    with Writer(tmp_path / "log", in_flight=depth, disk=disk.address).start() as log:
        log.commit()
        disk.delay("sync", SYNC_NS // 10)
        syncs = disk.calls("sync")
        disk.fail("sync", 1, errno.EIO, done=done)
        for _ in range(depth):
            log.send(log.small())
        results = [log.finish() for _ in range(depth)]
        assert {(result.status_name, result.system_errno) for result in results} == {("SP_E_FAILED", errno.EIO)}
        assert disk.calls("sync") == syncs + 1
        with pytest.raises(CoreError) as caught:
            log.journal.position()
        assert caught.value.name == "SP_E_FAILED"
    with Writer(tmp_path / "log") as log:
        assert (log.state.commits, log.state.damage) == (2, core.DAMAGE_TORN)  # the page cache has the COMMIT of one
        log.journal.repair("tail")
        log.start().commit()
    judge(tmp_path / "log")


@depths
def test_full_behind_one_under_way_writes_nothing(tmp_path: Path, depth: int) -> None:
    """All behind the one that finds no room are told so, none before it is; with space again its place is free."""
    disk = FaultDisk()
    with Writer(tmp_path / "log", in_flight=depth, disk=disk.address).start() as log:
        log.commit()
        deadline = time.monotonic() + 10
        while not segment_path(tmp_path / "log", 1).exists():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        disk.fail("allocate", 1, errno.ENOSPC, forever=True)  # segment 1 is the last one
        full: list[CommitResult] = []
        while not full:
            for _ in range(depth):
                log.send(largest(log))
            results = [log.finish() for _ in range(depth)]
            good = [result for result in results if result.status_name == "SP_OK"]
            full = results[len(good) :]
        assert {(result.status_name, result.system_errno) for result in full[:1]} == {("SP_E_FULL", errno.ENOSPC)}
        assert {result.status_name for result in full} == {"SP_E_FULL"}
        at, before = log.journal.position(), segments_of(tmp_path / "log")
        assert (len(before), at.next_seq) == (2, full[0].first_seq)
        judge(tmp_path / "log")
        assert log.commit().status_name == "SP_E_FULL"
        assert (log.journal.position(), segments_of(tmp_path / "log")) == (at, before)
        disk.heal("allocate")
        again = log.commit()
        assert (again.status_name, again.first_seq) == ("SP_OK", at.next_seq)
    judge(tmp_path / "log")


def test_a_batch_too_many_is_turned_away(tmp_path: Path) -> None:
    """SP_E_BUSY until a result is taken; a depth out of range is refused."""
    with Writer(tmp_path / "log", in_flight=2).start() as log:
        late = log.small()
        log.send(log.small())
        log.send(log.small())
        with pytest.raises(CoreError) as caught:
            log.send(late)
        assert caught.value.name == "SP_E_BUSY"
        log.finish()
        log.send(late)
        assert [log.finish().status_name, log.finish().status_name] == ["SP_OK", "SP_OK"]
    for depth in (0, COMMITS_IN_FLIGHT_MAX + 1):
        with pytest.raises(CoreError):
            Writer(tmp_path / "log", in_flight=depth)
