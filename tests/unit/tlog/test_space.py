"""How full a log is, by one definition, and what its last room is kept for."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from kit.checkers import check_log
from kit.clock import VirtualClock
from kit.disk import FaultDisk
from kit.filesystems import tmpfs
from kit.scribe import Scribe
from sealpress.core.segment import segment_name
from sealpress.errors import Busy
from sealpress.tlog.draft import Draft
from sealpress.tlog.entry import Where
from sealpress.tlog.space import FILES_MS, LOOK_MS, RETRY_MS, USABLE, Level, Space
from sealpress.values import RecordType

SEGMENT = 64 << 10


class Disk:
    """A log directory of a given shape on a file system with `free` bytes."""

    def __init__(self, directory: Path, bytes_max: int = 0) -> None:
        """Segment 0 is active and empty."""
        self.directory, self.free, self.end, self.clock = directory, 100 * SEGMENT, Where(0, 0), VirtualClock()
        (directory / "journal").mkdir(parents=True)
        self.space = Space(directory, SEGMENT, bytes_max, self.clock, lambda: self.end, lambda: self.free)

    def fill(self, segments: int, offset: int = 0) -> None:
        """So many sealed segments and an active one written up to `offset`."""
        for number in range(segments + 1):
            with (self.directory / "journal" / segment_name(number)).open("wb") as file:
                file.truncate(SEGMENT)
        self.end = Where(segments, offset)


def test_share_is_written_over_all_that_can_be_written(tmp_path: Path) -> None:
    """Nine sealed segments, an empty active one and room for ten more: nine of twenty."""
    disk = Disk(tmp_path)
    disk.free = 10 * SEGMENT + 17
    disk.fill(9)
    room = disk.space.room()
    assert room.share() == pytest.approx(9 / 20)
    assert room.left == 11 * USABLE * SEGMENT
    assert room.share(int(room.left)) == 1.0


def test_a_budget_counts_like_a_smaller_disk(tmp_path: Path) -> None:
    """[journal] space_bytes_max limits the journal and the tree together, whatever the file system has."""
    disk = Disk(tmp_path, bytes_max=20 * SEGMENT)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "level-00").write_bytes(bytes(3 * SEGMENT))
    disk.fill(9)
    assert disk.space.room().left == (1 + 20 - 10 - 3) * USABLE * SEGMENT


def test_a_fresh_log_on_a_full_disk_uses_what_it_has_set_aside(tmp_path: Path) -> None:
    """Nothing is free, but the active segment is empty and the spare one stands ready: nothing is refused."""
    disk = Disk(tmp_path)
    disk.free = 0
    disk.fill(0)
    (tmp_path / "journal" / segment_name(1)).write_bytes(bytes(SEGMENT))
    disk.space.check()
    assert disk.space.level() is Level.ROOM


def test_alert_at_75_refusal_at_95_and_back_by_itself(tmp_path: Path) -> None:
    """The levels follow what is free; an alert ends only well below its line."""
    disk = Disk(tmp_path)
    disk.fill(75)
    levels = []
    for free in (25, 24, 25, 3, 2, 3, 26, 27):
        disk.free = free * SEGMENT
        disk.clock.advance(LOOK_MS / 1000)
        levels.append(disk.space.level())
    room, alert, full = Level
    assert levels == [room, alert, alert, alert, full, alert, alert, room]


def test_a_full_log_is_told_as_busy_with_a_delay(tmp_path: Path) -> None:
    """RESOURCE_EXHAUSTED / LOG_FULL, when to come back, and who can do something about it."""
    disk = Disk(tmp_path)
    disk.free = 0
    disk.fill(3, int(USABLE * SEGMENT))
    with pytest.raises(Busy) as refusal:
        disk.space.check()
    assert (refusal.value.reason, refusal.value.retry_after_ms) == ("LOG_FULL", RETRY_MS)
    assert "sealpress log archive" in refusal.value.hint


def test_a_disk_that_was_full_is_not_asked_for_every_request(tmp_path: Path) -> None:
    """After the core found no room, requests are refused for RETRY_MS, then one may try again."""
    disk = Disk(tmp_path)
    disk.fill(0)
    disk.space.filled()
    with pytest.raises(Busy):
        disk.space.check()
    disk.clock.advance(RETRY_MS / 1000)
    disk.space.check()


def test_room_that_was_found_is_forgotten_with_what_is_written(tmp_path: Path) -> None:
    """Asked again at once, the answer is of what stands there now; and of the disk of LOOK_MS ago at the oldest."""
    disk = Disk(tmp_path)
    disk.free = 0
    disk.fill(3)
    disk.space.check()
    disk.end = Where(3, int(USABLE * SEGMENT))
    with pytest.raises(Busy):
        disk.space.check()
    disk.free = 100 * SEGMENT
    disk.clock.advance(LOOK_MS / 1000)
    disk.space.check()
    disk.free = 0
    disk.clock.advance(LOOK_MS / 1000)
    with pytest.raises(Busy):
        disk.space.check()


def looks(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many files are looked at, by themselves or in a list, once the sizes of a second ago are too old."""
    disk.space.room()
    disk.clock.advance(FILES_MS / 1000)
    stat, scandir, listed, seen = os.stat, os.scandir, os.listdir, []
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", lambda path, **others: seen.append(path) or stat(path, **others))
        patch.setattr(os, "scandir", lambda path: seen.extend(listed(path)) or scandir(path))
        disk.space.room()
    return len(seen)


def test_a_look_at_a_long_log_costs_as_much_as_at_a_short_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a second, on the event loop: 10,000 segments must not be counted anew each time."""
    short, long = Disk(tmp_path / "short"), Disk(tmp_path / "long")
    short.fill(2)
    long.fill(200)
    assert looks(long, monkeypatch) == looks(short, monkeypatch)


def test_segments_count_while_they_are_there(tmp_path: Path) -> None:
    """Those that are sealed meanwhile are used room, those that are archived room again, as for one who begins now."""
    disk = Disk(tmp_path)
    for sealed, archived in ((5, 0), (5, 3), (9, 3), (12, 10), (12, 12), (14, 12)):
        disk.fill(sealed)
        for number in range(archived):
            (tmp_path / "journal" / segment_name(number)).unlink()
        disk.clock.advance(FILES_MS / 1000)
        fresh = Space(tmp_path, SEGMENT, 0, disk.clock, lambda: disk.end, lambda: disk.free)
        assert disk.space.room() == fresh.room()
        assert disk.space.room().used == USABLE * SEGMENT * (sealed - archived)
        assert disk.space.segments_bytes() == SEGMENT * (sealed - archived + 1)


def event_of(scribe: Scribe, *, reserve: bool) -> Draft:
    """A draft as large as a quarter of a segment may be."""
    draft = scribe.log.draft()
    if reserve:
        draft.use_reserve()
    draft.event(RecordType.GOVERNANCE, scribe.fact(b"x" * (SEGMENT // 4 - 2_048)))
    return draft


def test_outcomes_and_stops_have_a_segment_that_requests_cannot_take(tmp_path: Path) -> None:
    """On a full disk requests get LOG_FULL and write nothing; what may use the reserve goes on for a whole segment."""
    disk = FaultDisk()
    scribe = Scribe(tmp_path / "log")
    log = scribe.open(disk.address)
    scribe.request(3)
    wait_for_files(tmp_path / "log", {"reserve", segment_name(1)})
    disk.fail("allocate", forever=True, error=errno.ENOSPC)
    with pytest.raises(Busy):
        for _ in range(100):
            log.commit_now(event_of(scribe, reserve=False))
    size, segment = log.size, log.reader.end.segment
    written = 0
    with pytest.raises(Busy):
        while written < 100:
            log.commit_now(event_of(scribe, reserve=True))
            written += 1
            with pytest.raises(Busy):  # the reserve is not for requests, though there is room in it
                log.commit_now(event_of(scribe, reserve=False))
    assert written >= 3
    assert (log.size, log.reader.end.segment) == (size + written, segment + 1)
    disk.heal("allocate")
    log.commit_now(event_of(scribe, reserve=False))
    wait_for_files(tmp_path / "log", {"reserve"})
    log.close()
    check_log(tmp_path / "log")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root")
def test_a_log_opens_on_a_full_disk_and_still_has_its_reserve(tmp_path: Path) -> None:
    """A start needs no new room: the RECOVERY record and stops go into what was set aside before."""
    with tmpfs(tmp_path / "disk", 40) as place:
        scribe = Scribe(place / "log")
        log = scribe.open()
        wait_for_files(place / "log", {"reserve", segment_name(1)})
        log.close()
        with (place / "filler").open("wb") as file:
            found = os.statvfs(place)
            os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize)
        log = scribe.open()
        for _ in range(7):  # the rest of the active segment, the spare, and some of the reserve
            log.commit_now(event_of(scribe, reserve=True))
        assert not (place / "log" / "journal" / "reserve").exists()
        with pytest.raises(Busy):
            log.commit_now(event_of(scribe, reserve=False))
        (place / "filler").unlink()
        log.commit_now(event_of(scribe, reserve=False))
        log.close()
        check_log(place / "log")


def wait_for_files(directory: Path, names: set[str]) -> None:
    """Until the helper thread has made them."""
    deadline = time.monotonic() + 10
    while not names <= {path.name for path in (directory / "journal").iterdir()}:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_tree_that_cannot_grow_is_a_full_disk(tmp_path: Path) -> None:
    """At the end of a step of the level files: LOG_FULL, nothing written; events have their reserve; it goes on."""
    disk = FaultDisk()
    scribe = Scribe(tmp_path / "log", segment_bytes=1 << 20)
    log = scribe.open(disk.address)
    steps = 8 << 20  # bytes of level 0 until it must grow
    while log.size < steps // 32 - 16_000:
        scribe.request(7_000)
    wait_for_files(tmp_path / "log", {"reserve", segment_name(log.reader.end.segment + 1)})
    disk.fail("allocate", forever=True, error=errno.ENOSPC)
    size = log.size
    with pytest.raises(Busy):
        for _ in range(3):
            scribe.request(7_000)
    assert log.size - size in (0, 7_000, 14_000)
    log.commit_now(event_of(scribe, reserve=True))
    disk.heal("allocate")
    scribe.request(7_000)
    scribe.request(7_000)
    log.close()
    check_log(tmp_path / "log")
