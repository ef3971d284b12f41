"""Zeros in the middle of a segment, as a block that was lost reads: nobody takes them for its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kit import frames
from kit.logs import segment_path
from kit.scribe import Scribe
from sealpress.core.index import Index
from sealpress.core.segment import Segment
from sealpress.errors import CoreError

READERS: dict[str, Callable[[Segment, int], object]] = {
    "seek": lambda segment, end: segment.seek(1 << 60, 0, end),
    "find": lambda segment, end: segment.find(b"what nobody wrote", 0xFF, 0, end),
    "index": Index.build,
    "frames": lambda segment, end: list(segment.frames(0, end, whole=True)),
}


def written(directory: Path, *, sealed: bool) -> Path:
    """A segment of three batches; with a SEAL it is to be read without an end."""
    scribe = Scribe(directory / "log")
    log = scribe.open()
    for counts in ((2,), (1, 3), (1,)):
        scribe.request(*counts)
    if sealed:
        log.seal_segment()
    log.close()
    return segment_path(scribe.settings.directory, 0)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("sealed", [True, False])
def test_whichever_frame_was_lost_a_reader_says_so(tmp_path: Path, reader: str, *, sealed: bool) -> None:
    """SP_E_CORRUPT, as for any other bytes in its place; a segment that is whole ends where it ends."""
    path = written(tmp_path, sealed=sealed)
    whole = path.read_bytes()
    found = list(frames.frames(whole))
    end = (1 << 64) - 1 if sealed else found[-1].offset + found[-1].length + 4
    with Segment(path) as segment:
        READERS[reader](segment, end)
    for frame in found:
        path.write_bytes(whole[: frame.offset] + bytes(frame.length) + whole[frame.offset + frame.length :])
        with Segment(path) as segment, pytest.raises(CoreError) as caught:
            READERS[reader](segment, end)

        assert caught.value.name == "SP_E_CORRUPT", frame
