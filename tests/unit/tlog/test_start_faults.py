"""Does a start on a failing disk begin with a repaired log, or not at all?"""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from kit.checkers import check_log
from kit.disk import FaultDisk
from kit.logs import segment_path
from kit.scribe import Scribe
from sealpress.errors import CannotStart, Damaged
from sealpress.tlog.entry import RecoveryEvent
from sealpress.tlog.log import Log

CALLS = 6  # of an operation that a start makes, at most, before it goes on as any log does


def torn(directory: Path) -> Scribe:
    """A closed log with half of a batch behind its last COMMIT."""
    scribe = Scribe(directory)
    scribe.open()
    scribe.request(3)
    end = scribe.log.reader.end
    scribe.log.close()
    with segment_path(directory, end.segment).open("r+b") as file:
        file.seek(end.offset + 160)  # behind the COMMIT
        file.write(b"half of a frame" * 9)
    return scribe


def repairs(log: Log) -> int:
    """How many it tells of."""
    return sum(isinstance(record.event, RecoveryEvent) for record in log.records())


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("operation", ["open", "pwrite", "sync", "sync_all", "sync_dir", "rename", "allocate", "map"])
def test_what_a_start_cannot_repair_it_does_not_pass_over(tmp_path: Path, operation: str, error: int) -> None:
    """Each call fails in its turn: refused by name, or the tail is zeroed and told of; the next start has it whole."""
    scribe = torn(tmp_path / "log")
    size = scribe.log.size
    for nth in range(1, CALLS + 1):
        disk, again = FaultDisk(), Scribe(shutil.copytree(tmp_path / "log", tmp_path / f"{nth}"))
        again.clock = scribe.clock
        log = again.log = Log.open(again.settings, again.clock, again.entropy, disk=disk.address)
        disk.fail(operation, nth, error)
        try:
            log.start(None)
            assert repairs(log) == 1
        except (Damaged, CannotStart) as refusal:
            assert isinstance(refusal, Damaged) or (error, refusal.reason) == (errno.ENOSPC, "LOG_FULL")
            assert isinstance(refusal, CannotStart) or error == errno.EIO or operation in ("pwrite", "sync")
            assert refusal.hint
            assert log.size == size
        log.close()
        again.clock.advance(1)
        log = again.open(FaultDisk().address)
        assert repairs(log) >= 1  # of each copy that was begun
        again.request(1)
        log.close()
        check_log(again.settings.directory)
