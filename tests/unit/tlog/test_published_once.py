"""Is a published head looked at as often as it must be at a start, and not more?"""

from __future__ import annotations

from pathlib import Path

from kit.scribe import Scribe
from sealpress.core.proof import Note, NoteLine
from sealpress.tlog import checkpoint
from sealpress.tlog.checkpoint import CheckpointFile


def test_a_start_verifies_the_published_head_once(scribe: Scribe, tmp_path: Path) -> None:
    """The line that was found is kept beside the head: who goes on from it does not verify it again."""
    text = scribe.signer.note(scribe.log.size, scribe.log.root(), 0, line=False)
    checkpoint.write(tmp_path, text)
    looked: list[Note] = []

    def own(note: Note) -> NoteLine | None:
        looked.append(note)
        return note.lines[0]

    file = CheckpointFile(tmp_path, own)
    assert file.newest is not None
    assert file.newest.text == text
    assert file.line == file.newest.note.lines[0]
    assert len(looked) == 1


def test_a_head_without_our_signature_is_not_taken_up(scribe: Scribe, tmp_path: Path) -> None:
    """The next head replaces it, whatever its size was."""
    checkpoint.write(tmp_path, scribe.signer.note(scribe.log.size, scribe.log.root(), 0, line=False))
    file = CheckpointFile(tmp_path, lambda _: None)
    assert (file.newest, file.line, file.size) == (None, None, 0)
