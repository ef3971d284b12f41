"""Opens a log's directory: the lock, the scan, and the reasons why it is not opened here and now.

Order: lock and scan (core.journal) → refuse what is not a torn tail → refuse a clock that went back → what the records
tell (recovery.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealpress.core.journal import DAMAGE_INTERIOR, DAMAGE_TORN, Journal, JournalState
from sealpress.core.known import SECRET_BYTES
from sealpress.core.merkle import Tree
from sealpress.core.segment import FORMAT_VERSION
from sealpress.errors import CannotStart, CoreError, Damaged, VersionError
from sealpress.ports import Clock, Entropy
from sealpress.tlog.entry import Where
from sealpress.tlog.reader import LogReader, newer_format
from sealpress.tlog.record import NANOSECONDS
from sealpress.tlog.recovery import Progress, Recovered, Recovery
from sealpress.tlog.settings import LogSettings
from sealpress.tlog.unopened import cannot_open, cause, not_read


@dataclass(slots=True)
class Opened:
    """A log that is locked and whole, not yet started."""

    journal: Journal
    state: JournalState
    tree: Tree
    reader: LogReader
    recovered: Recovered


def open_log(settings: LogSettings, clock: Clock, entropy: Entropy, progress: Progress | None, disk: Any) -> Opened:
    """Lock, scan, rebuild, verify, fold. CannotStart: somebody else has it, or the clock. Damaged: exit 3."""
    try:
        settings.directory.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as error:
        raise cannot_open(settings.directory, error.strerror or str(error)) from error
    journal = _open_journal(settings, entropy, disk)
    tree: Tree | None = None
    try:
        state = journal.state
        _refuse_damage(settings.directory, state)
        _refuse_clock(settings, clock, state)
        reader = LogReader(settings.directory, settings.name, settings.log_id, disk)
        reader.end = Where(state.active, state.end_offset)
        tree = Tree(settings.directory / "tree", disk)
        recovered = Recovery(settings, state, reader, tree, clock.now_ns(), entropy.bytes(SECRET_BYTES), progress).run()
        recovered.pwrite, recovered.memory_only = journal.pwrite, state.volatile_files
        return Opened(journal, state, tree, reader, recovered)
    except BaseException as error:
        if tree is not None:
            tree.close()
        journal.close()
        if isinstance(error, CoreError):
            raise not_read(settings.directory, Where(0, 0), error) from error
        raise


def _open_journal(settings: LogSettings, entropy: Entropy, disk: Any) -> Journal:
    pwrite = settings.write == "pwrite"
    while True:
        try:
            return Journal(
                settings.directory,
                settings.log_id,
                entropy.bytes(32),
                settings.segment_bytes,
                log_name=settings.name,  # hash every batch twice before its head may be signed
                pwrite=pwrite,
                scan_recent=True,  # sealed segments are read when they are replayed or indexed, and by `log verify`
                keep_reserve=True,
                commits_in_flight_max=settings.commits_in_flight_max,
                disk=disk,
            )
        except CoreError as error:
            if error.name == "SP_E_FILESYSTEM" and settings.write == "auto" and not pwrite:
                pwrite = True
                continue
            raise _refused(settings.directory, error) from error


def _refused(directory: Path, error: CoreError) -> CannotStart | Damaged:
    if error.name == "SP_E_LOCKED":
        return CannotStart(
            f"{directory}: another process has this log open",
            reason="LOG_IN_USE",
            hint="one daemon per log directory: stop the other one, or give this one its own [node] data",
        )
    if error.name == "SP_E_FILESYSTEM":
        return CannotStart(
            f"{directory}: this file system may run out of space where space was set aside, and that would end the log",
            reason="LOG_FILESYSTEM",
            hint='use ext4 or xfs, or set [journal] write = "pwrite"',
        )
    if isinstance(error, VersionError):
        return newer_format(directory, f"the journal has version {error.version} of its format", FORMAT_VERSION)
    if error.name == "SP_E_MISMATCH":
        return Damaged(
            f"{directory}: a segment belongs to another log or stands under another number",
            reason="LOG_DAMAGED",
            hint="compare [log] name and number with the directory; run `sealpress log verify`",
        )
    return cannot_open(directory, cause(error))


def _refuse_damage(directory: Path, state: JournalState) -> None:
    if state.damage <= DAMAGE_TORN:
        return
    what = "a valid COMMIT follows" if state.damage == DAMAGE_INTERIOR else "in a sealed segment or a header"
    found = f"damaged from byte {state.damage_from} to {state.damage_to} ({what})" if state.damage_to else "missing"
    raise Damaged(
        f"{directory}: segment {state.damage_segment} is {found}; nothing was changed",
        reason="LOG_DAMAGED",
        hint="keep the directory as it is; restore the segment from a copy that holds every record, then run "
        "`sealpress log verify`; if there is none, close the log with the root quorum and go on with its next number; "
        "see daemon/DAMAGED-LOG.md",
    )


def _refuse_clock(settings: LogSettings, clock: Clock, state: JournalState) -> None:
    behind_ns = state.last_time_ns - clock.now_ns()
    if behind_ns > settings.back_max_s * NANOSECONDS:
        raise CannotStart(
            f"{settings.directory}: the clock is {behind_ns // NANOSECONDS} s behind the last COMMIT",
            reason="CLOCK_BEHIND",
            hint="set the clock (NTP), or wait; [clock] back_max_s is the tolerance",
        )
