"""One segment file, read: its header and its frames, each with its checksum verified (DESIGN 3.1).

Guarantees: what is returned was copied out of the file and passed its checks. Does not: know what a head means, or
where the last COMMIT stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sealpress.core._native import ffi, lib
from sealpress.core.arguments import U64_MAX, bytes32, c_fields, c_path, u64
from sealpress.core.status import check, check_version, statuses

FORMAT_VERSION = 1  # of segments and frames; as in csrc/sp_segment.h and sp_frame.h
FRAME_HEADER_SIZE = 32
FIRST_FRAME = 8192
SEGMENT_BYTES_MIN = 64 << 10

_STATUS = statuses()


def segment_name(number: int) -> str:
    """The file name of a segment, below `journal/`."""
    return f"{number:020d}.seg"


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """The log's state where a segment begins."""

    number: int
    first_seq: int
    tree_size: int
    created_ns: int
    segment_bytes: int
    version: int
    log_id: bytes
    root: bytes
    chain: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """One record as it stands in a segment, checksum verified. The columns are empty for all but REQUEST."""

    seq: int
    time_ns: int
    offset: int
    next_offset: int
    batch: int
    type: int
    flags: int
    version: int
    head: bytes
    salt_seed: bytes
    names: bytes
    digests: bytes
    header: bytes


class Segment:
    """One segment file, mapped read-only; frames are copied out, so they outlive it."""

    def __init__(self, path: Path, log_id: bytes | None = None, *, disk: Any = None) -> None:
        """SP_E_CORRUPT: no valid header, or not of its stated size. SP_E_MISMATCH: of another log. VersionError."""
        self.disk = lib.sp_disk_linux() if disk is None else ffi.cast("const sp_disk *", disk)
        slot = ffi.new("sp_segment **")
        self.native_header: Any = ffi.new("sp_segment_header *")
        owner = ffi.NULL if log_id is None else bytes32(log_id)
        status = lib.sp_segment_open(self.disk, c_path(path), owner, slot, self.native_header)
        check_version(status, self.native_header)
        self._segment: Any = ffi.gc(slot[0], lib.sp_segment_free)
        self.header = SegmentHeader(**c_fields(SegmentHeader, self.native_header))

    @property
    def pointer(self) -> Any:
        """For the core; SP_E_ARGUMENT once it is closed."""
        if self._segment is None:
            check(_STATUS["SP_E_ARGUMENT"])
        return self._segment

    def frame(self, offset: int = 0) -> Frame | None:
        """The frame at `offset` (0: the first one); None where nothing was written. SP_E_CORRUPT otherwise."""
        u64(offset)
        out = ffi.new("sp_frame *")
        status = lib.sp_segment_frame(self.pointer, offset, out)
        if status == _STATUS["SP_E_END"]:
            return None
        check(status)
        return self._copied(out)

    def seek(self, seq: int, offset: int = 0, end: int = U64_MAX) -> int | None:
        """Offset of the first frame in [offset, end) whose seq is not below `seq`; None if there is none.

        SP_E_CORRUPT also for zeros in front of `end`, but behind a SEAL: what stood there is lost.
        """
        u64(seq, offset, end)
        out = ffi.new("sp_frame *")
        status = lib.sp_segment_seek(self.pointer, offset, end, seq, out)
        if status == _STATUS["SP_E_END"]:
            return None
        check(status)
        return int(out.offset)

    def find(self, needle: bytes, type_mask: int, offset: int = 0, end: int = U64_MAX) -> Frame | None:
        """The first frame in [offset, end) of a type in `type_mask` (bit = type) whose payload holds `needle`.

        None and SP_E_CORRUPT as of `seek`.
        """
        u64(offset, end)
        out = ffi.new("sp_frame *")
        status = lib.sp_segment_find(self.pointer, offset, end, type_mask, needle, len(needle), out)
        if status == _STATUS["SP_E_END"]:
            return None
        check(status)
        return self._copied(out)

    def frames(self, start: int = 0, end: int = U64_MAX, *, whole: bool = False) -> Iterator[Frame]:
        """Frames from `start` (0: the first one) up to `end` or to where nothing was written, COMMIT and SEAL too.

        `whole`: SP_E_CORRUPT unless it ends there, as of `seek`.
        """
        offset = start or FIRST_FRAME
        while offset < end:
            frame = self.frame(offset)
            if frame is None:
                if whole:
                    self.seek(0, offset, end)
                return
            yield frame
            offset = frame.next_offset

    def _copied(self, frame: Any) -> Frame:
        columns = ffi.new("sp_columns *")
        check(lib.sp_frame_columns(frame, columns))
        salted = columns.salt_seed != ffi.NULL
        return Frame(
            seq=int(frame.seq),
            time_ns=int(frame.time_ns),
            offset=int(frame.offset),
            next_offset=int(frame.next_offset),
            batch=int(frame.batch),
            type=int(frame.type),
            flags=int(frame.flags),
            version=int(frame.version),
            head=bytes(ffi.buffer(columns.head, columns.head_size)),
            salt_seed=bytes(ffi.buffer(columns.salt_seed, 32)) if salted else b"",
            names=bytes(ffi.buffer(columns.names, columns.names_size)) if salted else b"",
            digests=bytes(ffi.buffer(columns.digests, columns.digests_size)) if salted else b"",
            header=bytes(ffi.buffer(frame.header, FRAME_HEADER_SIZE)),
        )

    def close(self) -> None:
        """Unmaps it."""
        if self._segment is not None:
            ffi.release(self._segment)
            self._segment = None

    def __enter__(self) -> Self:
        """The segment itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Closes it."""
        self.close()
