"""What happens between opening a log and its first request: the mark, the torn tail, the first records.

Guarantees: nothing is repaired before the mark was compared; a repair has its copy in broken/ and its RECOVERY record,
also if we are killed in between (a copy that no record names yet keeps the ending `.tail`).
Does not: fold records (recovery.py).
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from typing import Protocol

import msgspec

from sealpress.core.journal import Journal, JournalState
from sealpress.core.merkle import Tree
from sealpress.errors import Busy, CannotStart, CoreError, Damaged
from sealpress.tlog.draft import Committed, Draft
from sealpress.tlog.entry import GovernanceEvent, LogCreated, RecoveryEvent
from sealpress.tlog.reader import LogReader
from sealpress.tlog.recovery import Recovered
from sealpress.tlog.settings import LogSettings
from sealpress.values import RecordType

COPY = re.compile(r"(\d{20})\.(\d+)-(\d+)\.(\d+)\.tail")


class Log(Protocol):
    """The log as it is between the two (log.Log)."""

    settings: LogSettings
    name: str
    reader: LogReader
    recovered: Recovered
    tree: Tree

    @property
    def size(self) -> int:
        """Committed leaves."""
        ...

    @property
    def next_seq(self) -> int:
        """The seq that the next record gets."""
        ...

    def root(self, size: int | None = None) -> bytes:
        """Root of the first `size` leaves."""
        ...

    def draft(self) -> Draft:
        """An empty draft."""
        ...

    def commit_now(self, draft: Draft) -> Committed:
        """Make it durable, blocking."""
        ...

    def seal_segment(self) -> None:
        """End the active segment, blocking."""
        ...


def check_mark(log: Log, size: int, root: bytes) -> None:
    """Damaged unless the journal reproduces the mark and the mark covers every sealed head of the journal."""
    where = log.settings.directory
    if size > log.size:
        raise Damaged(
            f"{where}: the signer's mark is at {size} leaves, the journal holds {log.size}: records are lost",
            reason="LOG_BEHIND_MARK",
            hint="restore the log directory from a copy that holds them; nothing at or below the mark is ever repaired "
            "away; without a copy the root quorum closes this log and goes on with its next number; see "
            "daemon/DAMAGED-LOG.md",
        )
    if log.root(size) != root:
        raise Damaged(
            f"{where}: at {size} leaves the journal's tree differs from the signer's mark",
            reason="LOG_DIFFERS_FROM_MARK",
            hint="this is another history of the log: find out who wrote it; start with the directory that the signer "
            "knows, or close the log with the root quorum; see daemon/DAMAGED-LOG.md",
        )
    if size < log.recovered.sealed_size:
        raise Damaged(
            f"{where}: the journal holds a head signed at {log.recovered.sealed_size} leaves, the signer's mark is at "
            f"{size}: the mark was rolled back",
            reason="MARK_BEHIND_LOG",
            hint="restore the signer's state directory from its newest copy; do not delete it: a signer without its "
            "mark could sign a second history; see daemon/DAMAGED-LOG.md",
        )


def repair(log: Log, journal: Journal, now_ns: int) -> None:
    """Copy a torn tail aside and zero it; the record follows when the log runs. An index of more than is left goes."""
    try:
        log.reader.indexes.remove(log.reader.end.segment)
    except OSError as error:
        raise CannotStart(
            f"{log.settings.directory}: an index of records that are lost cannot be removed: {error}",
            reason="LOG_UNAVAILABLE",
            hint="see the permissions of index/; what stands there may be removed while the node stands",
        ) from error
    torn = log.recovered.torn
    if torn is None:
        return
    copy = f"{torn.damage_segment:020}.{torn.damage_from}-{torn.damage_to}.{now_ns}.tail"
    try:
        journal.repair(copy)
    except CoreError as error:
        if error.name == "SP_E_FULL":
            raise _no_room(log, "for the copy of a torn tail that is kept") from error
        raise Damaged(
            f"{log.settings.directory}: the torn tail of segment {torn.damage_segment} could not be repaired: "
            f"{error.message}",
            reason="LOG_DAMAGED",
            hint="look at the disk and the kernel's log; the segment is unchanged or zeroed, its copy is in broken/",
        ) from error


def start(log: Log, journal: Journal, event_fd: int) -> None:
    """Re-write and sync the accepted tail and start the commit thread."""
    try:
        journal.start(log.tree, event_fd)
    except CoreError as error:
        if error.name == "SP_E_FULL":
            raise _no_room(log, "for a segment") from error
        raise Damaged(
            f"{log.settings.directory}: the log could not be started: {error.message}",
            reason="LOG_FAILED",
            hint="look at the disk and the kernel's log; nothing was signed",
        ) from error


def end_other_size(log: Log, state: JournalState) -> None:
    """End a segment of another size than the configured one: batches are as large as segments bear, from now on."""
    if state.next_seq == 0 or state.sealed:
        return
    if log.reader.segment(state.active).header.segment_bytes != log.settings.segment_bytes:
        with suppress(Busy):  # a full disk: it goes on in this one
            log.seal_segment()


def first_records(log: Log) -> None:
    """Leaf 0 of a new log, and a RECOVERY record for every copy in broken/ that none names yet."""
    draft = log.draft()
    draft.use_reserve()
    if log.recovered.created:
        body = msgspec.json.encode(LogCreated(1, log.name, log.settings.number, log.settings.segment_bytes))
        created = GovernanceEvent("log.created", body, hashlib.sha256(body).digest())
        log.recovered.governance_seq = draft.event(RecordType.GOVERNANCE, created).seq
    copies = sorted((log.settings.directory / "broken").glob("*.tail"))
    for copy in copies:
        match = COPY.fullmatch(copy.name)
        segment, damage_from, damage_to = (int(part) for part in match.groups()[:3]) if match else (0, 0, 0)
        with copy.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        event = RecoveryEvent(
            "torn_tail", segment, damage_from, damage_to, copy.name, digest, log.next_seq, draft.first_leaf
        )
        draft.event(RecordType.RECOVERY, event)
    try:
        if draft.frames:
            log.commit_now(draft)
    except Busy as error:
        raise _no_room(log, "for the first records of this start") from error
    for copy in copies:  # killed before this: the next start records it once more, which is true and harmless
        copy.rename(copy.with_suffix(".recorded"))


def _no_room(log: Log, what: str) -> CannotStart:
    return CannotStart(
        f"{log.settings.directory}: the disk is full: no room {what}",
        reason="LOG_FULL",
        hint="make room for at least two segments ([journal] segment_bytes), or `sealpress log archive` old ones",
    )
