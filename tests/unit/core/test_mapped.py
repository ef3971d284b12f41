"""What becomes of a process when the disk cannot give a page of a mapped log file back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from kit.logs import Writer, segment_path

READER = """
import os, sys
from pathlib import Path
from sealpress.core.segment import Segment
path = Path(sys.argv[1])
segment = Segment(path)
os.truncate(path, 8192)
segment.frame()
print("read")
"""


def test_a_reader_without_a_journal_is_told_as_a_writer_is(tmp_path: Path) -> None:
    """SIGBUS in a mapping of who only reads a log: one line on stderr, exit code 3, nothing read."""
    with Writer(tmp_path / "log").start() as log:
        log.commit()
    path = segment_path(tmp_path / "log", 0)
    done = subprocess.run(
        [sys.executable, "-c", READER, os.fspath(path)], capture_output=True, text=True, check=False, timeout=60
    )

    assert (3, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    assert "SIGBUS" in done.stderr
