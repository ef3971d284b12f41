"""Why a log cannot be opened: the machine (room, permissions, memory), or what stands there."""

from __future__ import annotations

import os
from pathlib import Path

from sealpress.errors import CannotStart, CoreError, Damaged, Invalid
from sealpress.tlog.entry import Where
from sealpress.tlog.reader import unreadable


def cannot_open(directory: Path, why: str) -> CannotStart:
    """Here and now."""
    return CannotStart(
        f"{directory}: the log cannot be opened: {why}",
        reason="LOG_UNAVAILABLE",
        hint="see [node] data and [journal], permissions and free space",
    )


def not_read(directory: Path, where: Where, error: CoreError | Invalid) -> CannotStart | Damaged:
    """Sorted by what helps: the machine (room, permissions, memory), or a copy of the log."""
    if isinstance(error, CoreError) and error.name in ("SP_E_FULL", "SP_E_SYSTEM", "SP_E_MEMORY"):
        return cannot_open(directory, cause(error))
    return unreadable(directory, where, error)


def cause(error: CoreError) -> str:
    """What the machine said, where the core has nothing to add; or what the core says, with its name."""
    if error.name == "SP_E_SYSTEM" and error.system_errno:
        return os.strerror(error.system_errno)
    return f"{error.message} ({os.strerror(error.system_errno) if error.system_errno else error.name})"
