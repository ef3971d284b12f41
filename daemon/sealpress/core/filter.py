"""Filters beside indexes, searched together: which of many may know who asked with which id.

Guarantees: the indexes that know are among those found; memory of 3 bytes a REQUEST, without a look at the disk. Does
not: say that an index found knows (of those that do not, about one in 5,000 is found): look.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sealpress.core._native import ffi, lib
from sealpress.core.index import Index
from sealpress.core.status import check, statuses

_END = statuses()["SP_E_END"]


class Filter:
    """Of the REQUESTs of some indexes. Immutable."""

    def __init__(self, indexes: Sequence[Index], secret: int) -> None:
        """`secret`: 64 bits that no caller knows. CoreError SP_E_CORRUPT: an index is damaged."""
        made: Any = ffi.new("sp_filter *")
        pointers = ffi.new("sp_index *[]", [index.pointer for index in indexes])
        check(lib.sp_filter_make(pointers, len(indexes), secret, made))
        self.pointer = ffi.gc(made, lib.sp_filter_free)

    @property
    def bytes(self) -> int:
        """Of memory."""
        return int(self.pointer.blocks) * 32


class Filters:
    """Several of one secret. Owned by one thread."""

    def __init__(self, filters: Sequence[Filter], secret: int) -> None:
        """Searched in this order."""
        self._kept = tuple(filters)
        self._secret = secret
        self._array = ffi.new("sp_filter[]", len(self._kept))
        for at, each in enumerate(self._kept):
            self._array[at] = each.pointer[0]
        self._position = ffi.new("uint32_t *")

    def first(self, who: bytes, start: int = 0) -> int | None:
        """The position, from `start` on, of the first whose index may know `who`: identity, zero byte, request id."""
        status = lib.sp_filter_first(
            self._array, start, len(self._kept), self._secret, who, len(who), self._position
        )  # fmt: skip
        if status == _END:
            return None
        check(status)
        return int(self._position[0])
