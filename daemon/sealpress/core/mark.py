"""The file of a mark as the C core writes it: slots of 4 KiB, one at a time, on a thread of its own.

Guarantees: the interpreter is not held while the disk works, nor needed when it has answered; nothing is written after
a write that failed. Does not: know what stands in a slot (hsm/mark.py).
"""

from __future__ import annotations

import os
from pathlib import Path

from sealpress.core._native import ffi, lib
from sealpress.core.status import check

SLOT_BYTES = 4096


class MarkWriter:
    """One file, which is there and has both slots."""

    def __init__(self, path: Path) -> None:
        """CoreError if it cannot be opened."""
        self.told = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)  # readable when a write has ended
        out = ffi.new("sp_mark **")
        try:
            check(lib.sp_mark_open(lib.sp_disk_linux(), bytes(path), self.told, out))
        except BaseException:
            os.close(self.told)
            raise
        self._mark = ffi.gc(out[0], lib.sp_mark_close)

    def begin(self, slot: int, data: bytes) -> None:
        """Write SLOT_BYTES to slot 0 or 1. CoreError: SP_E_BUSY before the last write has ended, SP_E_FAILED."""
        if len(data) != SLOT_BYTES:
            raise ValueError("a slot has 4,096 bytes")
        check(lib.sp_mark_begin(self._mark, slot, data))

    def ended(self) -> None:
        """What was begun is durable; waits if it is not yet. CoreError with its errno if it never will be."""
        check(lib.sp_mark_await(self._mark))

    def heard(self) -> None:
        """Make `told` unreadable again."""
        os.eventfd_read(self.told)

    def close(self) -> None:
        """Wait for a write under way, and give the file back."""
        ffi.release(self._mark)
        os.close(self.told)
