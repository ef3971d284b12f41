"""Is the checkpoint that a log publishes held to its records and to its key?"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from kit.scribe import NAME, HeadSigner, Scribe
from sealpress.tlog import checkpoint
from sealpress.tlog.check import check_log

OTHER = HeadSigner(f"{NAME}/1", NAME, seed=9)


@pytest.fixture
def heads(scribe: Scribe) -> dict[str, bytes]:
    """What a closed log of five leaves may have published, good and bad."""
    roots = {}
    for counts in ((2,), (2,)):
        scribe.request(*counts)
        roots[scribe.log.size] = scribe.log.root()
    between = scribe.log.root(4)
    scribe.log.close()
    ours, two = scribe.signer, HeadSigner(f"{NAME}/2", NAME)
    return {
        "newest": ours.note(5, roots[5], 1, line=False),
        "earlier": ours.note(3, roots[3], 1, line=False),
        "another history": ours.note(5, bytes(32), 1, line=False),
        "records that are lost": ours.note(6, bytes(32), 1, line=False),
        "between two commits": ours.note(4, between, 1, line=False),
        "another log": two.note(5, roots[5], 1, line=False),
        "another key": OTHER.note(5, roots[5], 1, line=False),
        "no note": b"nonsense",
        "too long": ours.note(5, roots[5], 1, line=False) + b"x" * checkpoint.BYTES_MAX,
    }


GOOD = ("newest", "earlier")
BAD = ("another history", "records that are lost", "between two commits", "another log", "another key", "no note",
       "too long")  # fmt: skip


@pytest.mark.parametrize("name", [*GOOD, *BAD])
def test_what_is_published_is_judged(scribe: Scribe, heads: dict[str, bytes], name: str) -> None:
    """A head of these records, signed by the log's key; CHECKPOINT for all else, whatever its records are."""
    directory = scribe.settings.directory
    (directory / checkpoint.NAME).write_bytes(heads[name])
    report = check_log(directory, NAME, 1, keys=scribe.signer.vkeys)

    assert (report.ok, report.bad.reason if report.bad is not None else "") == (
        (True, "") if name in GOOD else (False, "CHECKPOINT")
    )
    assert (report.heads, report.signatures) == ((1, 1) if name in GOOD else (report.heads, report.signatures))


def test_a_file_that_cannot_be_one_is_no_checkpoint(scribe: Scribe, heads: dict[str, bytes]) -> None:
    """A fifo or a folder in its place: CHECKPOINT, and nobody waits."""
    place: Path = scribe.settings.directory / checkpoint.NAME
    assert heads
    for make in (os.mkfifo, os.mkdir):
        make(place)
        bad = check_log(scribe.settings.directory, NAME, 1).bad
        assert bad is not None
        assert bad.reason == "CHECKPOINT"
        place.unlink() if make is os.mkfifo else place.rmdir()


def test_a_log_that_keeps_no_tree_is_judged_by_its_records(scribe: Scribe, heads: dict[str, bytes]) -> None:
    """Where the file system cannot hold it the tree is in memory: said, and no damage."""
    assert heads
    shutil.rmtree(scribe.settings.directory / "tree")
    report = check_log(scribe.settings.directory, NAME, 1)

    assert (report.ok, report.tree_files, report.tree_size) == (True, "absent", 5)
