"""Why a log has failed, and what to do: nothing is ever committed again by a process that was told so (DESIGN L10)."""

from __future__ import annotations

import os
from pathlib import Path

from sealpress.errors import Damaged


def failed(directory: Path, system_errno: int, differs: bool) -> Damaged:
    """A write or a sync failed; or, with `differs`, what is stored is not what was hashed."""
    if differs:
        return Damaged(
            f"{directory}: the stored records are not what was hashed (a bit flipped in memory or on "
            "the way to the disk); nothing is signed any more",
            reason="LOG_FAILED",
            hint="test memory and disk of this machine, then start again: nobody was answered from this batch, and "
            "recovery cuts it away",
        )
    cause = os.strerror(system_errno) if system_errno else "the commit thread failed"
    return Damaged(
        f"{directory}: the log could not be written or synced ({cause}); nothing is signed any more",
        reason="LOG_FAILED",
        hint="look at the disk and the kernel's log, then start again: recovery compares what is really there; "
        "see daemon/DAMAGED-LOG.md",
    )
