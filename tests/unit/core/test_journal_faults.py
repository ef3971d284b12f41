"""The journal on a disk that fails: a full disk loses nothing and heals, a failed write or sync is the end."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kit import frames
from kit.disk import FaultDisk
from kit.logs import EVENT_SCOPE, Writer, judge, segment_path, segments_of
from sealpress.core import journal as core
from sealpress.core.batch import Batch
from sealpress.core.merkle import Tree
from sealpress.errors import CoreError

TESTS = Path(__file__).resolve().parents[2]
both_modes = pytest.mark.parametrize("pwrite", [False, True], ids=["map", "pwrite"])


def fill_segment(log: Writer) -> None:
    """Commits until the active segment is sealed."""
    while True:
        limit = log.journal.position().batch_bytes_max
        batch = Batch(limit)
        batch.event(frames.OUTCOME, 1, bytes(limit - 32), EVENT_SCOPE)
        if log.commit(batch).sealed:
            return


def spare_is_ready(directory: Path, number: int) -> None:
    """Waits for the helper thread."""
    deadline = time.monotonic() + 10
    while not segment_path(directory, number).exists():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@both_modes
@pytest.mark.parametrize("operation", ["allocate", "open", "rename"])
def test_no_new_segment_means_full_and_nothing_written(tmp_path: Path, pwrite: bool, operation: str) -> None:
    """SP_E_FULL as often as it is asked; with space again the same batch goes in at the same place."""
    disk = FaultDisk()
    with Writer(tmp_path / "log", pwrite=pwrite, disk=disk.address).start() as log:
        spare_is_ready(tmp_path / "log", 0)
        log.commit()
        spare_is_ready(tmp_path / "log", 1)
        fill_segment(log)
        disk.fail(operation, 1, errno.ENOSPC, forever=True)
        if log.commit().status == 0:  # that was the spare
            fill_segment(log)
        at, before = log.journal.position(), segments_of(tmp_path / "log")
        batch = log.small()
        for _ in range(3):
            result = log.commit(batch)
            assert (result.status_name, result.system_errno) == ("SP_E_FULL", errno.ENOSPC)
            assert segments_of(tmp_path / "log") == before
            assert log.journal.position() == at
        disk.heal(operation)
        result = log.commit(batch)
        assert (result.status_name, result.first_seq) == ("SP_OK", at.next_seq)
    judge(tmp_path / "log")


@both_modes
@pytest.mark.parametrize("done", [False, True], ids=["not done", "done but reported failed"])
def test_a_failed_sync_is_the_end(tmp_path: Path, pwrite: bool, done: bool) -> None:
    """SP_E_FAILED for ever, also when later syncs would succeed; a restart finds the batch whole or not at all."""
    disk = FaultDisk()
    with Writer(tmp_path / "log", pwrite=pwrite, disk=disk.address).start() as log:
        good = [log.commit() for _ in range(3)][-1]
        disk.fail("sync", 1, errno.EIO, done=done)
        batch = log.small()
        result = log.commit(batch)
        assert (result.status_name, result.system_errno) == ("SP_E_FAILED", errno.EIO)
        syncs = disk.calls("sync")
        for call in (
            lambda: log.journal.submit(batch, log.time_ns, result.first_seq, result.first_leaf),
            lambda: log.journal.seal(log.time_ns),
            log.journal.position,
        ):
            with pytest.raises(CoreError) as caught:
                call()
            assert caught.value.name == "SP_E_FAILED"
        assert disk.calls("sync") == syncs
    with Writer(tmp_path / "log", pwrite=pwrite) as log:
        assert log.state.commits in (3, 4)
        assert log.state.tree_size >= good.tree_size
        log.start().commit()
    judge(tmp_path / "log")


@both_modes
def test_a_sync_covers_the_whole_batch(tmp_path: Path, pwrite: bool) -> None:
    """COMMIT included: where the sync did its work and only said that it failed, a restart finds the batch whole."""
    disk = FaultDisk()
    with Writer(tmp_path / "log", pwrite=pwrite, disk=disk.address).start() as log:
        log.commit()
        disk.fail("sync", 1, done=True)
        assert log.commit().status_name == "SP_E_FAILED"
    with Writer(tmp_path / "log", pwrite=pwrite) as log:
        assert (log.state.damage, log.state.commits) == (core.DAMAGE_NONE, 2)


def test_the_name_of_a_segment_is_durable_before_it_is_used(tmp_path: Path) -> None:
    """Every file that the helper renames into place has its bytes synced before and its directory after."""
    disk = FaultDisk()
    with Writer(tmp_path / "log", disk=disk.address).start() as log:
        spare_is_ready(tmp_path / "log", 0)
        calls = {operation: disk.calls(operation) for operation in ("sync_all", "rename", "sync_dir")}
        for _ in range(3):
            fill_segment(log)
            log.commit()
    made = {operation: disk.calls(operation) - before for operation, before in calls.items()}
    assert made["rename"] >= 3
    assert made["sync_all"] >= made["rename"]
    assert made["sync_dir"] >= made["rename"]


def test_a_failed_write_is_the_end(tmp_path: Path) -> None:
    """Also ENOSPC in the middle of a batch, since bytes may be out already."""
    for error in (errno.EIO, errno.ENOSPC):
        disk = FaultDisk()
        directory = tmp_path / f"log-{error}"
        with Writer(directory, pwrite=True, disk=disk.address).start() as log:
            log.commit()
            spare_is_ready(directory, 1)
            disk.fail("pwrite", 2, error)
            assert log.commit().status_name == "SP_E_FAILED"
            with pytest.raises(CoreError):
                log.journal.position()


def test_a_bit_that_flips_on_the_way_never_reaches_the_tree(tmp_path: Path) -> None:
    """Leaves are hashed from what stands in the segment, and that must be what was meant: else FAILED, no COMMIT."""
    disk = FaultDisk()
    with Writer(tmp_path / "log", pwrite=True, disk=disk.address).start() as log:
        log.commit()
        spare_is_ready(tmp_path / "log", 1)
        size = log.tree.size
        disk.bend(1)
        assert log.commit().status_name == "SP_E_FAILED"
        assert log.tree.size == size
    with Writer(tmp_path / "log", pwrite=True) as log:
        assert (log.state.damage, log.state.commits) == (core.DAMAGE_TORN, 1)


def test_frames_that_somebody_clears_before_their_commit_are_the_end(tmp_path: Path) -> None:
    """Zeros over a batch that waits for the sync of the one before: FAILED, not a thread that reads them for ever."""
    program = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from pathlib import Path
from kit.disk import FaultDisk
from kit.logs import Writer, segment_path
disk = FaultDisk()
directory = Path({str(tmp_path / "log")!r})
with Writer(directory, in_flight=2, disk=disk.address).start() as log:
    assert log.commit().status == 0
    disk.delay("sync", 400_000_000)
    first, second = log.small(), log.small()
    log.send(first)
    log.send(second)
    with segment_path(directory, 0).open("r+b") as file:
        places = []
        while len(places) < 2:
            data = file.seek(0) or file.read()
            places = [at for at in range(0, len(data), 8) if data[at + 32 : at + 40] == b"outcome "][1:]
        file.seek(places[1])
        file.write(bytes(32))
    print(log.finish().status_name, log.finish().status_name)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert done.stdout.split() == ["SP_OK", "SP_E_FAILED"], done.stderr


def test_a_file_system_that_does_not_keep_what_is_allocated_is_refused(tmp_path: Path) -> None:
    """SP_E_FILESYSTEM unless pwrite is asked for; memory-only ones are taken and flagged."""
    disk = FaultDisk()
    disk.traits(0)
    with pytest.raises(CoreError) as caught:
        Writer(tmp_path / "log", disk=disk.address)
    assert caught.value.name == "SP_E_FILESYSTEM"
    with Writer(tmp_path / "log", pwrite=True, disk=disk.address) as log:
        assert log.start().commit().status == 0
    disk.traits(3)
    with Writer(tmp_path / "log", disk=disk.address) as log:
        assert log.state.volatile_files


def test_one_batch_is_one_sync(tmp_path: Path) -> None:
    """However many frames: two writes, of the frames and of their COMMIT, and one sync."""
    disk = FaultDisk()
    with Writer(tmp_path / "log", disk=disk.address).start() as log:
        log.commit()
        spare_is_ready(tmp_path / "log", 1)
        syncs, writes = disk.calls("sync"), disk.calls("pwrite")
        for n in range(5):
            log.commit(log.small(digests=20 * n + 1))
        assert (disk.calls("sync") - syncs, disk.calls("pwrite") - writes) == (5, 10)


def test_start_makes_the_accepted_tail_durable_or_refuses(tmp_path: Path) -> None:
    """It is written and synced again before anything else; an error there is an error of start."""
    with Writer(tmp_path / "log").start() as log:
        log.commit()
    before = segments_of(tmp_path / "log")
    disk = FaultDisk()
    for operation in ("pwrite", "sync_all", "sync_dir"):
        with Writer(tmp_path / "log", disk=disk.address) as log:
            disk.fail(operation)
            with pytest.raises(CoreError) as caught:
                log.start()
            assert (caught.value.name, caught.value.system_errno) == ("SP_E_SYSTEM", errno.EIO)
    assert segments_of(tmp_path / "log") == before
    with Writer(tmp_path / "log", disk=disk.address) as log:
        writes, syncs = disk.calls("pwrite"), disk.calls("sync_all")
        log.start()
        assert disk.calls("pwrite") >= writes + 2
        assert disk.calls("sync_all") > syncs


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "opened"])
def test_a_header_vouches_for_no_tree_that_a_start_has_not_synced(tmp_path: Path, sealed: bool) -> None:
    """Levels made at this start are durable before the next header, or the one that is there, is trusted with them."""
    with Writer(tmp_path / "log").start() as log:
        fill_segment(log)
        if not sealed:
            log.commit()
    disk = FaultDisk()
    with Writer(tmp_path / "log", disk=disk.address) as log:
        log.tree = Tree(tmp_path / "log/tree", disk.address)
        disk.fail("sync")
        with pytest.raises(CoreError) as caught:
            log.start()
            log.commit()
        assert caught.value.name == "SP_E_FAILED"
    assert len(segments_of(tmp_path / "log")) == (1 if sealed else 2)


def test_leftovers_of_a_stopped_helper_are_removed(tmp_path: Path) -> None:
    """A temp file, and a spare of another size, as a changed setting leaves it."""
    directory = tmp_path / "log"
    with Writer(directory).start() as log:
        log.commit()
        spare_is_ready(directory, 1)
    (directory / "journal/next.tmp").write_bytes(b"half a segment")
    with Writer(directory, segment_bytes=128 << 10) as log:
        assert log.state.damage == core.DAMAGE_NONE
        log.start()
        assert not (directory / "journal/next.tmp").exists() or (directory / "journal/next.tmp").stat().st_size != 14
        fill_segment(log)
        log.commit()
    assert [len(segment) for segment in segments_of(directory)] == [64 << 10, 128 << 10]
    judge(directory)


def with_holes(directory: Path) -> list[Path]:
    """Makes a log of one commit, then holes of all zeros behind what was written; its files: active, spare, reserve."""
    with Writer(directory, keep_reserve=True).start() as log:
        assert log.commit().status == 0
        spare_is_ready(directory, 1)
    files = [segment_path(directory, 0), segment_path(directory, 1), directory / "journal/reserve"]
    for path in files:
        data = path.read_bytes()
        with path.open("wb") as file:
            file.write(data.rstrip(b"\0"))
            file.truncate(len(data))
        assert path.stat().st_blocks * 512 < len(data)
    return files


def test_a_copy_with_holes_has_its_room_again_after_start(tmp_path: Path) -> None:
    """A backup, or a tool that copied it, may leave holes: no later commit finds the disk full in one of them."""
    files = with_holes(tmp_path / "log")
    with Writer(tmp_path / "log", keep_reserve=True).start():
        assert [path.stat().st_blocks * 512 >= 64 << 10 for path in files] == [True] * 3
    judge(tmp_path / "log")


@pytest.mark.parametrize("nth", [1, 2, 3], ids=["active", "spare", "reserve"])
def test_a_hole_that_cannot_be_filled_is_known_before_a_batch_stands_in_it(tmp_path: Path, nth: int) -> None:
    """The active segment: no start. The others: they are not there, and a batch that needs them is SP_E_FULL."""
    with_holes(tmp_path / "log")
    disk = FaultDisk()
    disk.fail("allocate", nth, errno.ENOSPC, forever=True)
    with Writer(tmp_path / "log", keep_reserve=True, disk=disk.address) as log:
        if nth == 1:
            with pytest.raises(CoreError) as caught:
                log.start()
            assert caught.value.name == "SP_E_FULL"
            return
        log.start()
        assert log.commit().status_name == "SP_E_FULL"
        disk.heal("allocate")
        fill_segment(log)
        assert log.commit().status == 0
    judge(tmp_path / "log")


@pytest.mark.parametrize("operation", ["allocate", "pwrite", "sync", "sync_all", "rename", "sync_dir", "map"])
@pytest.mark.parametrize("done", [False, True], ids=["not done", "done but reported failed"])
@pytest.mark.parametrize("pwrite", [False, True], ids=["map", "pwrite"])
def test_whichever_call_fails_no_acknowledged_commit_is_lost(
    tmp_path: Path, operation: str, done: bool, pwrite: bool
) -> None:
    """The k-th call of each kind, for every k up to the end of the story: a restart finds all that was acknowledged."""
    disk = FaultDisk()
    for nth in range(1, 40):
        directory = tmp_path / f"log-{nth}"
        calls = disk.calls(operation)
        disk.fail(operation, nth, done=done)
        acknowledged = story(directory, disk.address, pwrite)
        disk.heal(operation)
        with Writer(directory, pwrite=pwrite) as log:
            if log.state.damage == core.DAMAGE_TORN:
                log.journal.repair("tail")
            assert log.journal.state.damage == core.DAMAGE_NONE
            assert log.journal.state.tree_size >= acknowledged, nth
            assert log.start().commit().status == 0
        judge(directory)
        shutil.rmtree(directory)
        if disk.calls(operation) - calls < nth:
            return
    pytest.fail("the story never ended without the fault")


def story(directory: Path, disk: int, pwrite: bool) -> int:
    """Opens, commits, rotates, closes; the tree size of the last acknowledged commit."""
    acknowledged = 0
    try:
        with Writer(directory, pwrite=pwrite, disk=disk) as log:
            log.start()
            for n in range(12):
                result = log.commit(log.small(digests=40 * n))
                if result.status == 0:
                    acknowledged = result.tree_size
    except CoreError:
        pass
    return acknowledged


def test_a_page_that_the_disk_cannot_give_ends_the_process(tmp_path: Path) -> None:
    """SIGBUS in a mapping: one line on stderr, exit code 3, nothing read."""
    program = f"""
import os, sys
sys.path.insert(0, {str(TESTS)!r})
from pathlib import Path
from kit.logs import Writer, segment_path
from sealpress.core.segment import Segment
directory = Path({str(tmp_path / "log")!r})
log = Writer(directory).start()
log.commit()
segment = Segment(segment_path(directory, 0))
os.truncate(segment_path(directory, 0), 8192)
segment.frame()
print("read")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1
    assert "SIGBUS" in done.stderr


def test_a_segment_that_was_cut_short_is_not_written_on(tmp_path: Path) -> None:
    """The commit after somebody truncated the file fails: it does not bury what is missing under a longer file."""
    with Writer(tmp_path / "log").start() as log:
        log.commit()
        os.truncate(segment_path(tmp_path / "log", 0), 12 << 10)
        assert log.commit().status_name == "SP_E_FAILED"
    assert segment_path(tmp_path / "log", 0).stat().st_size == 12 << 10
