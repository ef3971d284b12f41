"""A backup of a log that lost a block is no good backup of what stands in front of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit import frames
from kit.logs import segment_path
from kit.scribe import Scribe
from sealpress.errors import Damaged
from sealpress.tlog.backup import backup


@pytest.mark.parametrize("live", [True, False])
def test_a_frame_that_was_lost_in_front_of_a_commit_ends_a_backup(
    scribe: Scribe, tmp_path: Path, *, live: bool
) -> None:
    """LOG_DAMAGED, and nothing says that the copy is good; a log that is whole is copied to its last COMMIT."""
    for counts in ((2,), (2, 3), (1,), (4, 1)):
        scribe.request(*counts)
    directory, size = scribe.settings.directory, scribe.log.size
    if not live:
        scribe.log.close()
    made, _ = backup(directory, tmp_path / "good")
    assert size == made.tree_size
    path = segment_path(directory, 0)
    lost = next(frame for frame in frames.frames(path.read_bytes()) if frame.batch == 1)
    with path.open("r+b") as file:
        file.seek(lost.offset)
        file.write(bytes(lost.length))
    with pytest.raises(Damaged) as caught:
        backup(directory, tmp_path / "short")

    assert "LOG_DAMAGED" == caught.value.reason
    assert not (tmp_path / "short" / "backup.json").exists()
