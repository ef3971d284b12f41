"""What stands in a segment where its whole batches end: whether a crash explains it, as the scan of a start says, too.

Guarantees: no more than a batch that was being written is called torn; its own COMMIT may have reached the disk before
its frames. Does not: judge what is whole (check.py).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from sealpress.core.digests import crc32c
from sealpress.core.segment import FIRST_FRAME, Segment
from sealpress.errors import CoreError

HEADER = 4096
_COMMIT_BYTES = 128
_COMMIT_LENGTH = b"\x7c\0\0\0"
_COMMIT_KIND = b"\x06\0\x01\0"  # type, flags, version
_LOOK_BYTES = 20  # from the length to behind the kind
_BATCH_SHARE = 4  # a batch takes at most this part of a segment
_STRIDE = 1 << 20
_ZEROS = bytes(_STRIDE + _LOOK_BYTES)


class FileBytes:
    """A file by slices, each read as it is asked for: of a mapping a disk that fails would end the process."""

    def __init__(self, file: BinaryIO) -> None:
        """As long as it is now."""
        self._file = file.fileno()
        self._size = os.fstat(self._file).st_size

    def __len__(self) -> int:
        """Its bytes."""
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        """OSError; less than was asked for where it was cut meanwhile."""
        start, stop, _ = part.indices(self._size)
        return os.pread(self._file, max(0, stop - start), start)


def first_nonzero(data: FileBytes, start: int) -> int | None:
    """The first byte from `start` on that is not zero."""
    for at in range(start, len(data), _STRIDE):
        part = data[at : at + _STRIDE]
        if part != _ZEROS[: len(part)]:
            return at + len(part) - len(part.lstrip(b"\0"))
    return None


def header_whole(page: bytes) -> bool:
    """Whether a copy of a segment's header passes its checksum."""
    cleared = page[:12] + bytes(4) + page[16:]
    return len(page) == HEADER and bool(crc32c(cleared) == struct.unpack_from("<I", page, 12)[0])


def more_than_a_batch(data: FileBytes) -> bool:
    """Whether a segment without a header held more than its first batch; there is no salt to ask checksums with."""
    if first_nonzero(data, FIRST_FRAME + len(data) // _BATCH_SHARE) is not None:
        return True
    numbers = (int.from_bytes(data[at + 20 : at + 24], "little") for at in _commits(data, FIRST_FRAME))
    return any(0 < number < len(data) // _COMMIT_BYTES for number in numbers)


def last_commit(segment: Segment, data: FileBytes, start: int) -> int | None:
    """The greatest number of a batch whose whole COMMIT stands at or behind `start`."""
    found: int | None = None
    for at in _commits(data, start):
        try:
            if (frame := segment.frame(at)) is not None:
                found = frame.batch if found is None else max(found, frame.batch)
        except CoreError:
            continue
    return found


def batches(segment: Segment, end: int) -> int:
    """How many stand in front of `end`, where the last of them ends."""
    last = segment.frame(end - _COMMIT_BYTES) if end > FIRST_FRAME else None
    return 0 if last is None else last.batch + 1


def _commits(data: FileBytes, start: int) -> Iterator[int]:
    """Where something looks like one. Zeros are passed over at the speed of memory."""
    for begin in range(start, len(data), _STRIDE):
        part = data[begin : begin + _STRIDE + _LOOK_BYTES]
        at = part.find(_COMMIT_LENGTH) if part != _ZEROS[: len(part)] else -1
        while 0 <= at < _STRIDE:
            if (begin + at) % 8 == 0 and part[at + 16 : at + _LOOK_BYTES] == _COMMIT_KIND:
                yield begin + at
            at = part.find(_COMMIT_LENGTH, at + 1)
