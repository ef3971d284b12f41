"""The table of known requests, in C: found by who asked with which id, and by seq while outcomes may still come.

Guarantees: at most `entries_max` requests, 104 bytes each, no memory before they come; every operation looks at a few
entries, however many there are. Does not: know what a state means (tlog/known.py), or look at the journal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sealpress.core._native import ffi, lib
from sealpress.core.status import check, statuses

SAME_BYTES = 16
SECRET_BYTES = 16
LOOKS_MAX = 1024
_END = statuses()["SP_E_END"]

# who (identity, zero byte, request id), same, seq, first leaf, count, segment, offset, whether direct
Row = tuple[bytes, bytes, int, int, int, int, int, bool]


def who_asked(identity: str, request_id: str) -> bytes:
    """What a request is found by."""
    return f"{identity}\0{request_id}".encode()


class KnownTable:
    """Owned by one thread."""

    def __init__(self, entries_max: int, secret: bytes) -> None:
        """Empty. `secret`: 16 bytes that no caller knows, so that no choice of ids makes a search slow."""
        slot = ffi.new("sp_known **")
        check(lib.sp_known_new(entries_max, secret, slot))
        self._pointer = ffi.gc(slot[0], lib.sp_known_free)
        self._found = ffi.new("sp_known_request *")
        self._gone = ffi.new("uint64_t[]", LOOKS_MAX)
        self._gone_count = ffi.new("uint32_t *")
        self._former = ffi.new("uint32_t[2]")

    def __len__(self) -> int:
        """How many there are."""
        return int(lib.sp_known_count(self._pointer))

    def find(self, who: bytes) -> Any | None:
        """The `sp_known_request` of identity, zero byte and request id, valid until the next call; None: not known."""
        status = lib.sp_known_find(self._pointer, who, len(who), self._found)
        if status == _END:
            return None
        check(status)
        return self._found

    def add(self, rows: Sequence[Row], time_ns: int) -> list[int]:
        """Requests of one time without outcomes, each for whatever stood under its `who`.

        The seqs of those that are known no more.
        """
        gone, gone_count, forgotten = self._gone, self._gone_count, list[int]()
        for who, same, seq, first_leaf, count, segment, offset, direct in rows:
            status = lib.sp_known_add(
                self._pointer, who, len(who), same, seq, first_leaf, count, time_ns, segment, offset, direct,
                gone, gone_count,
            )  # fmt: skip
            if status:
                check(status)
            if gone_count[0]:
                forgotten.extend(gone[0 : gone_count[0]])
        return forgotten

    def settle(self, seq: int, state: int, done: int, segment: int, offset: int) -> tuple[int, int] | None:
        """An outcome about a request; where the one before it stands, if there is one.

        Nothing changes for a request that is not open, or was told this outcome or a later one.
        """
        status = lib.sp_known_settle(self._pointer, seq, state, done, segment, offset, self._former)
        if status == _END:
            return None
        check(status)
        former = self._former
        return (former[0], former[1]) if former[1] else None

    def forget(self, who: bytes) -> list[int]:
        """The seq of the request, if there was one: it is known no more."""
        status = lib.sp_known_forget(self._pointer, who, len(who), self._gone)
        if status == _END:
            return []
        check(status)
        return [int(self._gone[0])]

    def leave(self, segment: int, since_ns: int, settled_ns: int, looks: int) -> list[int]:
        """Look at so many (LOOKS_MAX at most) from the oldest on; the seqs of those that are known no more.

        These are from before `since_ns`; or they and their outcomes stand in segments below `segment`, and they are
        over, or have an outcome and are from before `settled_ns`.
        """
        gone, gone_count = self._gone, self._gone_count
        since_ns, settled_ns, looks = max(0, since_ns), max(0, settled_ns), min(looks, LOOKS_MAX)
        lib.sp_known_leave(self._pointer, segment, since_ns, settled_ns, looks, gone, gone_count)
        return list(gone[0 : gone_count[0]])
