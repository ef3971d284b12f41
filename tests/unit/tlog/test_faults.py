"""A failing disk: either nothing was written and it says try later, or the log stops for ever; never a lie."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from kit.checkers import check_log
from kit.disk import FaultDisk
from kit.scribe import Scribe
from sealpress.errors import Busy, CannotStart, Damaged
from sealpress.tlog.log import Log


def test_a_failed_sync_latches_for_ever(tmp_path: Path) -> None:
    """Exit 3 for the batch, and the same for everything after it, though the disk would answer again."""
    disk = FaultDisk()
    scribe = Scribe(tmp_path / "log")
    scribe.open(disk.address)
    (kept,) = scribe.request(1)
    disk.fail("sync")
    with pytest.raises(Damaged) as caught:
        scribe.request(1)
    assert "LOG_FAILED" == caught.value.reason
    assert caught.value.hint
    assert scribe.log.failure is caught.value
    size = scribe.log.size
    with pytest.raises(Damaged):
        scribe.log.draft()
    assert size == kept.placed.first_leaf + 1
    scribe.log.close()
    scribe.open(FaultDisk().address)
    assert scribe.log.size >= size
    scribe.request(1)
    scribe.log.close()
    check_log(scribe.settings.directory)


@pytest.mark.parametrize("done", [False, True])
def test_every_failing_step_leaves_a_whole_log(tmp_path: Path, done: bool) -> None:
    """Each call of a commit fails once, undone or done but reported failed: after a restart nothing is lost."""
    for operation in ("pwrite", "sync", "allocate", "rename", "sync_all", "sync_dir", "open"):
        disk = FaultDisk()
        scribe = Scribe(tmp_path / f"{operation}-{done}")
        scribe.open(disk.address)
        durable = [scribe.request(9)[0]]
        disk.fail(operation, 3, errno.EIO, done=done)
        try:
            while scribe.log.reader.end.segment < 4:
                durable.append(scribe.request(400)[0])
        except (Damaged, Busy):
            pass
        scribe.log.close()
        scribe.open(FaultDisk().address)
        for act in durable:
            assert scribe.log.stored(act.where).event == act.event, operation
        scribe.request(1)
        scribe.log.close()
        check_log(scribe.settings.directory)


def test_a_full_disk_says_try_later_and_goes_on(tmp_path: Path) -> None:
    """Room for a new segment is missing: Busy LOG_FULL, nothing written; with room again the same requests pass."""
    disk = FaultDisk()
    scribe = Scribe(tmp_path / "log")
    scribe.open(disk.address)
    disk.fail("allocate", 1, errno.ENOSPC, forever=True)
    full: Busy | None = None
    for _ in range(200):
        before = (scribe.log.size, scribe.log.next_seq, len(scribe.log.recovered.known))
        try:
            scribe.request(200)
        except Busy as error:
            full = error
            break
    assert full is not None
    assert "LOG_FULL" == full.reason
    assert full.retry_after_ms > 0
    assert before == (scribe.log.size, scribe.log.next_seq, len(scribe.log.recovered.known))
    assert scribe.log.failure is None
    disk.heal("allocate")
    for _ in range(500):
        try:
            scribe.request(200)
            break
        except Busy:
            continue
    assert scribe.log.size == before[0] + 200
    scribe.log.close()
    check_log(scribe.settings.directory)


async def test_waiters_on_the_loop_get_the_error_once(tmp_path: Path) -> None:
    """The eventfd path raises the same errors."""
    disk = FaultDisk()
    scribe = Scribe(tmp_path / "log")
    log = Log.open(scribe.settings, scribe.clock, scribe.entropy, disk=disk.address)
    log.start(asyncio.get_running_loop())
    disk.fail("sync")
    draft = log.draft()
    draft.request(scribe.event(), None, bytes(32), b"", scribe.digests(1), 1)
    with pytest.raises(Damaged):
        await log.commit(draft)
    with pytest.raises(Damaged):
        log.draft()
    log.close()


def test_a_file_system_that_cannot_be_mapped_is_named(tmp_path: Path) -> None:
    """`map` refuses with the setting to change; `auto` changes it by itself."""
    disk = FaultDisk()
    disk.traits(0)
    scribe = Scribe(tmp_path / "log", write="map")
    with pytest.raises(CannotStart) as caught:
        scribe.open(disk.address)
    assert "LOG_FILESYSTEM" == caught.value.reason
    assert "pwrite" in caught.value.hint
    scribe = Scribe(tmp_path / "log", write="auto")
    scribe.open(disk.address)
    assert scribe.log.recovered.pwrite
    scribe.request(3)
    scribe.log.close()
    check_log(scribe.settings.directory)
