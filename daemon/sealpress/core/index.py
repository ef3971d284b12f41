"""The index of one segment: keys lead to the frames that hold a value; made and searched in C, kept beside the journal.

Guarantees: a frame that holds the value is among those found, or an error is raised: every page of the file that is
looked at is checked and bound to its very segment. Does not: say that a frame found holds the value (others may have
the same key): look at it. Any thread may search.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from sealpress.core._native import ffi, lib
from sealpress.core.arguments import c_path
from sealpress.core.segment import Segment
from sealpress.core.status import check

_U64_MAX = (1 << 64) - 1
_ROOM = 64
_VALUE, _ASKED, _REQUEST, _OUTCOME, _OPEN, _LAST = range(6)


def value_key(value: bytes) -> int:
    """Of a digest, an event id, or the SHA-256 of a signature: at least 8 bytes."""
    return _key(_VALUE, int.from_bytes(value[:8], "little"))


def asked_key(who: bytes) -> int:
    """Leads to the REQUESTs of who asked so (core.known: identity and request id)."""
    return _key(_ASKED, int.from_bytes(hashlib.sha256(who).digest()[:8], "little"))


def request_key(seq: int) -> int:
    """Leads to the REQUEST with this seq."""
    return _key(_REQUEST, seq)


def outcome_key(seq: int) -> int:
    """Leads to the OUTCOMEs about the REQUEST with this seq."""
    return _key(_OUTCOME, seq)


def _key(kind: int, value: int) -> int:
    return int(lib.sp_index_key(kind, value))


OPEN_KEY = _key(_OPEN, 0)  # leads to REQUESTs without an OUTCOME in their own segment
LAST_KEY = _key(_LAST, 0)  # to the last REQUEST, REFUSAL, GOVERNANCE, policy, and the OUTCOME of the largest head


class Index:
    """Of the frames of one segment, mapped from its file or in memory."""

    def __init__(self, pointer: Any) -> None:
        """Use `build` or `open`."""
        self.pointer = ffi.gc(pointer, lib.sp_index_free)

    @classmethod
    def build(cls, segment: Segment, end: int = _U64_MAX) -> Index:
        """From the frames below `end`, in memory; about three times the size of the file is needed meanwhile.

        CoreError SP_E_VERSION: a record of a later format. SP_E_CORRUPT, SP_E_ENCODING, SP_E_BOUNDS: damage.
        """
        slot = ffi.new("sp_index **")
        check(lib.sp_index_build(segment.pointer, min(end, segment.header.segment_bytes), slot))
        return cls(slot[0])

    @classmethod
    def open(cls, directory: Path, segment: Segment) -> Index:
        """The saved one. CoreError: there is none (SP_E_SYSTEM), or it is damaged, of another segment or format."""
        slot = ffi.new("sp_index **")
        check(lib.sp_index_open(segment.disk, c_path(directory), segment.pointer, slot))
        return cls(slot[0])

    def save(self, directory: Path, segment: Segment) -> None:
        """To `<directory>/index/<number>.idx`, whole or not at all. Of a sealed segment, built without `end`."""
        check(lib.sp_index_save(self.pointer, segment.disk, c_path(directory)))

    def find(self, key: int) -> list[int]:
        """Offsets of frames with this key, ascending. CoreError SP_E_CORRUPT: a page that was looked at is damaged."""
        found: list[int] = []
        offsets, count = ffi.new("uint64_t[]", _ROOM), ffi.new("uint32_t *")
        while True:
            check(lib.sp_index_find(self.pointer, key, len(found), offsets, _ROOM, count))
            found += ffi.unpack(offsets, count[0])
            if count[0] < _ROOM:
                return sorted(found)

    def check(self) -> None:
        """Look at all but what `value_key` leads to: later searches for it neither wait for the disk nor fail."""
        check(lib.sp_index_check(self.pointer))

    def __len__(self) -> int:
        """Entries."""
        return int(lib.sp_index_entries(self.pointer))
