"""The published checkpoint: whole or absent, and never older."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from kit.scribe import NAME, HeadSigner
from sealpress.errors import Invalid
from sealpress.tlog import checkpoint
from sealpress.tlog.checkpoint import CheckpointFile


def note(size: int) -> bytes:
    """A head signed by the log."""
    return HeadSigner(f"{NAME}/1", NAME).note(size, hashlib.sha256(b"%d" % size).digest(), 1, line=False)


def test_the_newest_of_what_was_offered_is_written(tmp_path: Path) -> None:
    """What came in between is passed over; what is written is not written again; nothing else is left behind."""
    file = CheckpointFile(tmp_path)
    for size in (1, 2, 3):
        file.offer(note(size))
    assert file.waiting
    assert file.flush()
    assert not file.waiting
    assert not file.flush()
    found = checkpoint.read(tmp_path)

    assert found is not None
    assert note(3) == found.text
    assert ["checkpoint"] == [path.name for path in tmp_path.iterdir()]


def test_it_never_goes_back(tmp_path: Path) -> None:
    """Also over a restart, a smaller head is not published."""
    file = CheckpointFile(tmp_path)
    file.offer(note(5))
    file.flush()
    file = CheckpointFile(tmp_path)
    file.offer(note(4))

    assert 5 == file.size
    assert not file.flush()


def test_a_leftover_of_a_crash_does_no_harm(tmp_path: Path) -> None:
    """Killed before the rename: the old file stands, and the next write replaces both."""
    checkpoint.write(tmp_path, note(1))
    (tmp_path / ".checkpoint.new").write_bytes(b"half")
    file = CheckpointFile(tmp_path)
    assert 1 == file.size
    file.offer(note(2))
    file.flush()

    assert ["checkpoint"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("text", [b"", b"x", note(1)[:-5], note(1) + b"x", b"y" * 70_000])
def test_nonsense_is_refused_and_replaced(tmp_path: Path, text: bytes) -> None:
    """A damaged file is an error for who reads it, and gone with the next head."""
    (tmp_path / "checkpoint").write_bytes(text)
    with pytest.raises(Invalid):
        checkpoint.read(tmp_path)
    file = CheckpointFile(tmp_path)
    file.offer(note(1))
    assert file.flush()

    found = checkpoint.read(tmp_path)
    assert found is not None


def test_what_cannot_be_opened_is_refused_alike(tmp_path: Path) -> None:
    """A node starts beside it, and the judge names it."""
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(Invalid, match="checkpoint"):
        checkpoint.read(tmp_path)
    assert CheckpointFile(tmp_path).size == 0
