"""What a scan says of whole frames, checksum and all, that no writer and no crash makes: nothing is cut off."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from kit import frames
from kit.logs import Writer, segment_path
from sealpress.core.journal import DAMAGE_INTERIOR, DAMAGE_NONE


@pytest.fixture(name="path")
def segment_with_a_seal(tmp_path: Path) -> Path:
    """Two batches, and a last one that ends the segment."""
    with Writer(tmp_path / "log").start() as log:
        for _ in range(2):
            log.commit()
        log.journal.seal(log.time_ns)
        log.finish()
    return segment_path(tmp_path / "log", 0)


def lengthen(path: Path, frame: frames.RawFrame) -> None:
    """Eight bytes more of payload, in a frame that its checksum covers."""
    data = path.read_bytes()
    whole = bytearray(data[frame.offset : frame.offset + frame.length] + bytes(8))
    whole += bytes(-len(whole) % 8)
    struct.pack_into("<I", whole, 0, frame.length + 8)
    place = frames.salt_of(data) + struct.pack("<Q", frame.offset)
    struct.pack_into("<I", whole, 4, frames.crc32c(place + whole[:4] + whole[8:]))
    end = frame.offset + len(whole)
    path.write_bytes(data[: frame.offset] + whole + bytes(128) + data[end + 128 :])


@pytest.mark.parametrize("type_", [frames.COMMIT_TYPE, frames.SEAL])
def test_a_last_commit_or_seal_of_another_length_is_no_torn_tail(path: Path, type_: int) -> None:
    """Nobody cuts it off: it is damage that begins at that very frame."""
    last = [frame for frame in frames.frames(path.read_bytes()) if frame.type == type_][-1]
    with Writer(path.parents[1]) as log:
        assert log.state.damage == DAMAGE_NONE
    lengthen(path, last)
    with Writer(path.parents[1]) as log:
        assert (DAMAGE_INTERIOR, last.offset) == (log.state.damage, log.state.damage_from)
