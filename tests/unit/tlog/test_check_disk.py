"""What `log verify` says of a disk that fails under it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from kit.logs import segment_path
from kit.scribe import NAME, Scribe
from sealpress.tlog.check import check_log

VERIFIER = """
import os, sys
from pathlib import Path
from sealpress.tlog.check import check_log
directory, name, size = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
cut = lambda done, total: os.truncate(directory / "journal" / f"{0:020}.seg", size)
print(check_log(directory, name, 1, progress=cut).ok)
"""


def test_a_segment_that_is_cut_behind_its_records_meanwhile_is_no_signal(scribe: Scribe) -> None:
    """All that was committed was read by then: the verdict on it is told."""
    scribe.request(3)
    scribe.log.close()
    directory, size = scribe.settings.directory, 16 << 10
    assert not any(segment_path(directory, 0).read_bytes()[size:])
    done = subprocess.run(
        [sys.executable, "-c", VERIFIER, os.fspath(directory), NAME, str(size)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert (0, "True\n", "") == (done.returncode, done.stdout, done.stderr)


def test_a_block_that_cannot_be_read_is_a_frame_that_cannot(scribe: Scribe, monkeypatch: pytest.MonkeyPatch) -> None:
    """FRAME, in the segment where it is: a copy of that segment helps."""
    scribe.request(3)
    scribe.log.close()

    def failing(_file: int, _size: int, _offset: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", failing)
        report = check_log(scribe.settings.directory, NAME, 1)

    assert report.bad is not None
    assert ("FRAME", 0) == (report.bad.reason, report.bad.where.segment)


@pytest.mark.parametrize("size", [0, 100, 8_191])
@pytest.mark.parametrize("number", [0, 1])
def test_a_file_that_is_cut_into_its_header_is_no_segment(scribe: Scribe, number: int, size: int) -> None:
    """Neither one that holds records nor the spare one: HEADER, where it is, and what is before it is told."""
    scribe.request(3)
    scribe.wait_for_files()
    scribe.log.close()
    directory = scribe.settings.directory
    os.truncate(segment_path(directory, number), size)
    report = check_log(directory, NAME, 1)

    assert report.bad is not None
    assert ("HEADER", (number, 0)) == (report.bad.reason, report.bad.where)
    assert report.bad.message == "the segment is shorter than its header"
    assert report.segments == number
