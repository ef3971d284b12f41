"""Opens a log after a stop or a crash: finds the last COMMIT, takes or rebuilds the tree, finds what flow must know.

Order: lock and scan (core.journal) → refuse what is not a torn tail → refuse a clock that went back → take the stored
tree levels if their right edge reproduces the active segment's header → replay the rest from its stored bytes,
comparing every COMMIT's root and chain (core.replay, as `log verify`) → open or make the indexes of the segments of the
idempotency window.

Guarantees: what is returned stands on a tree that reproduces the last COMMIT; nothing on disk is changed but tree
levels and indexes, which are derived. Does not: repair (Log.start does, after the mark has been compared: nothing at or
below the mark may be repaired away), read sealed segments that have their index, or decide what becomes of dangling
requests.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sealpress.core import replay
from sealpress.core.index import LAST_KEY, Index
from sealpress.core.journal import DAMAGE_INTERIOR, DAMAGE_TORN, Journal, JournalState
from sealpress.core.known import SECRET_BYTES
from sealpress.core.merkle import Tree
from sealpress.core.replay import Replay
from sealpress.core.segment import FORMAT_VERSION
from sealpress.errors import CannotStart, CoreError, Damaged, Invalid, VersionError
from sealpress.ports import Clock, Entropy
from sealpress.tlog import archive, entry
from sealpress.tlog.earlier import Earlier, Part
from sealpress.tlog.entry import GovernanceEvent, OutcomeEvent, RefusalEvent, RequestEvent, Where
from sealpress.tlog.known import Known
from sealpress.tlog.reader import END, LogReader, newer_format, unreadable
from sealpress.tlog.record import NANOSECONDS, Record, Stored, stored

Progress = Callable[[int, int], None]  # segments done, segments to do


@dataclass(frozen=True, slots=True)
class LogSettings:
    """One log: a directory, a name, a number."""

    directory: Path
    name: str  # host/label
    number: int
    segment_bytes: int = 64 << 20
    write: str = "map"  # map | pwrite | auto
    governance: bool = False  # GOVERNANCE records of the node live here
    batch_bytes_max: int = 16 << 20
    window_s: int = 86_400  # [idempotency]
    entries_max: int = 4_000_000
    back_max_s: int = 5  # [clock]
    space_bytes_max: int = 0  # 0: as much as the file system gives
    commits_in_flight_max: int = 1  # 1 to 4

    @property
    def origin(self) -> str:
        """The C2SP origin line."""
        return f"{self.name}/{self.number}"

    @property
    def log_id(self) -> bytes:
        """SHA-256 of the origin: stands in every segment header."""
        return hashlib.sha256(self.origin.encode()).digest()


@dataclass(slots=True)
class Recovered:
    """What the records say that flow must know before it serves."""

    known: Known
    earlier: Earlier  # what `known` asks about segments that have an index
    dangling: list[Stored] = field(default_factory=list)  # REQUESTs without any outcome, oldest first
    policy_sha256: bytes | None = None  # last policy of this log's GOVERNANCE records
    governance_seq: int = 0  # last GOVERNANCE record of this log
    sealed_size: int = 0  # largest head that an OUTCOME shows as signed
    created: bool = False  # nothing was there
    torn: JournalState | None = None  # a torn tail waits to be repaired
    tree_rebuilt: bool = False
    pwrite: bool = False  # on a file system that need not keep what was set aside
    memory_only: bool = False  # the file system forgets when the machine stops


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
        raise _no_use(settings.directory, error.strerror or str(error)) from error
    journal = _open_journal(settings, entropy, disk)
    tree: Tree | None = None
    try:
        state = journal.state
        _refuse_damage(settings.directory, state)
        _refuse_clock(settings, clock, state)
        reader = LogReader(settings.directory, settings.name, settings.log_id, disk)
        reader.end = Where(state.active, state.end_offset)
        tree = Tree(settings.directory / "tree", disk)
        recovered = _Recovery(
            settings, state, reader, tree, clock.now_ns(), entropy.bytes(SECRET_BYTES), progress
        ).run()
        recovered.pwrite, recovered.memory_only = journal.pwrite, state.volatile_files
        return Opened(journal, state, tree, reader, recovered)
    except BaseException as error:
        if tree is not None:
            tree.close()
        journal.close()
        if isinstance(error, CoreError):
            raise _not_read(settings.directory, Where(0, 0), error) from error
        raise


class Fold:
    """What a start must know and a few records tell: of each segment the last ones of each kind, in order."""

    def __init__(self, governance: bool) -> None:
        """Nothing seen yet."""
        self.sealed_size = 0
        self.governance_seq: int | None = None
        self.policy_sha256: bytes | None = None
        self._governance = governance

    @property
    def complete(self) -> bool:
        """Whether older records could add anything to the facts."""
        known = self.governance_seq is not None and self.policy_sha256 is not None
        return self.sealed_size > 0 and (known or not self._governance)

    def record(self, record: Record) -> None:
        """Take in the next record."""
        event = record.head.event
        if isinstance(event, RequestEvent | RefusalEvent):
            self._saw(event.governance_seq, event.policy_sha256)
        elif isinstance(event, OutcomeEvent):
            if event.checkpoint or any(event.signatures):
                self.sealed_size = max(self.sealed_size, event.tree_size)
        elif isinstance(event, GovernanceEvent):
            self.governance_seq = record.seq
            if event.kind == "policy":
                self.policy_sha256 = event.sha256

    def older(self, fold: Fold) -> None:
        """Take from a fold of older records what is still missing here."""
        self.sealed_size = max(self.sealed_size, fold.sealed_size)
        if self.governance_seq is None:
            self.governance_seq = fold.governance_seq
        if self.policy_sha256 is None:
            self.policy_sha256 = fold.policy_sha256

    def _saw(self, governance_seq: int, policy_sha256: bytes) -> None:
        """A decision names the last governance record that it saw; in the governance log that is one of this log."""
        if self._governance and (self.governance_seq is None or governance_seq >= self.governance_seq):
            self.governance_seq = governance_seq
            self.policy_sha256 = policy_sha256


class _Recovery:
    """One pass over the segments that must be replayed into the tree or belong to the idempotency window."""

    def __init__(
        self,
        settings: LogSettings,
        state: JournalState,
        reader: LogReader,
        tree: Tree,
        now_ns: int,
        secret: bytes,
        progress: Progress | None,
    ) -> None:
        self._secret = secret
        self._settings = settings
        self._state = state
        self._reader = reader
        self._tree = tree
        self._now_ns = now_ns
        self._progress = progress
        self._replay: Replay | None = None
        self._window_ns = settings.window_s * NANOSECONDS
        self._fold = Fold(settings.governance)
        self._earlier = Earlier(reader, int.from_bytes(secret[:8], "little"))
        self._newest: Part | None = None  # of it

    def run(self) -> Recovered:
        known = Known(self._settings.entries_max, self._window_ns, self._secret, self._earlier)
        recovered = Recovered(known, self._earlier)
        if self._state.damage == DAMAGE_TORN:
            recovered.torn = self._state
        if self._state.next_seq == 0:
            recovered.created = True
            return recovered
        numbers = self._reader.numbers()
        missing = archive.missing(self._settings.directory, numbers[0])
        if missing:
            raise self._damaged(Where(missing[0], 0), "the segment is missing")
        adopted = self._adopt()
        self._need_archived(adopted, numbers[0])
        recovered.tree_rebuilt = not adopted
        replay_from = self._state.active if adopted else numbers[0]
        window_from = self._first_of_window(numbers)
        work = [number for number in numbers if number >= min(replay_from, window_from)]
        for done, number in enumerate(work):
            if self._progress is not None:
                self._progress(done, len(work))
            if number >= replay_from:
                self._replay_segment(number)
            if number >= window_from:
                self._add(number)
        if (self._tree.size, self._tree.root()) != (self._state.tree_size, self._state.root):
            raise self._damaged(self._reader.end, "the tree does not reproduce the last COMMIT")
        for record in self._earlier.records(LAST_KEY):
            self._fold.record(record)
        self._search_older([number for number in numbers if number < window_from])
        self._finish(recovered)
        if self._progress is not None:
            self._progress(len(work), len(work))
        return recovered

    def _finish(self, recovered: Recovered) -> None:
        fold = self._fold
        recovered.policy_sha256 = fold.policy_sha256
        recovered.governance_seq = fold.governance_seq or 0
        archived = archive.listed(self._settings.directory)
        recovered.sealed_size = max(fold.sealed_size, archived.sealed_size if archived is not None else 0)
        for record in self._earlier.dangling():
            if record.time_ns > self._now_ns - self._window_ns:
                recovered.known.take(record, ())
                recovered.dangling.append(stored(record, self._settings.name))

    def _adopt(self) -> bool:
        """Stored levels count only if their right edge reproduces the root in the active segment's header."""
        if self._state.start_size == 0:
            return True  # nothing is older than the active segment
        try:
            self._tree.adopt(self._state.start_size, self._state.start_root)
        except CoreError:
            return False
        return True

    def _need_archived(self, adopted: bool, first: int) -> None:
        """CannotStart if this start must read what was moved out of the journal."""
        if first == 0:
            return
        oldest_ns = self._now_ns - self._settings.window_s * NANOSECONDS
        if not adopted:
            raise archive.needed(self._settings.directory, first, "the tree must be made again from every record")
        if self._reader.segment(first).header.created_ns > oldest_ns:
            why = "request ids of [idempotency] window_s stand in them"
            raise archive.needed(self._settings.directory, first, why)

    def _first_of_window(self, numbers: range) -> int:
        """The last segment that starts before the window: everything younger stands in it or later."""
        oldest_ns = self._now_ns - self._settings.window_s * NANOSECONDS
        for number in reversed(numbers):
            first = next(self._reader.frames(number), None)
            if first is not None and first.time_ns <= oldest_ns:
                return number
        return numbers[0]

    def _replay_segment(self, number: int) -> None:
        """Hash every leaf again and grow the tree with them; `log verify` makes the same pass."""
        active = number == self._state.active
        where = Where(number, 0)
        try:
            segment = self._reader.segment(number)
            if self._replay is None:
                self._replay = Replay(self._settings.name)
                self._replay.begin(segment, self._tree.frontier(segment.header.tree_size))
            self._replay.enter(segment)
            offset = 0
            while True:
                step = self._replay.run(segment, offset, self._reader.end.offset if active else END)
                self._replay.append_to(self._tree)
                offset = step.offset
                where = Where(number, step.bad_offset)
                if step.what == replay.BAD:
                    raise self._bad(where, step.message)
                if step.what != replay.MORE:
                    break
        except CoreError as error:
            raise _not_read(self._settings.directory, where, error) from error
        if step.what == replay.TORN or (step.what == replay.END and not active):
            raise self._damaged(where, "frames without a COMMIT in front of others that have one")

    def _add(self, number: int) -> None:
        """A sealed segment by its index, or that is made; the active one as far as it is committed."""
        try:
            if number == self._state.active:
                index = Index.build(self._reader.segment(number), self._state.end_offset)
                self._newest = self._earlier.unsealed(number, index)
            else:
                self._newest = self._earlier.part(number, self._newest)
        except CoreError as error:
            raise self._no_index(number, error) from error
        self._earlier.add(self._newest)

    def _index(self, number: int) -> Index:
        """Of a sealed segment from its file, or made."""
        try:
            return self._reader.indexes.make(number)
        except CoreError as error:
            raise self._no_index(number, error) from error

    def _no_index(self, number: int, error: CoreError) -> CannotStart | Damaged:
        if error.name == "SP_E_VERSION":
            return self._newer(number)
        return _not_read(self._settings.directory, Where(number, 0), error)

    def _search_older(self, numbers: list[int]) -> None:
        """The facts that the window does not hold: the last policy of an idle node may be old."""
        for number in reversed(numbers):
            if self._fold.complete:
                return
            older = Fold(self._settings.governance)
            for offset in self._index(number).find(LAST_KEY):
                older.record(self._reader.record(Where(number, offset)))
            self._fold.older(older)

    def _bad(self, where: Where, what: str) -> CannotStart | Damaged:
        frame = self._reader.segment(where.segment).frame(where.offset)
        if frame is not None and frame.version > entry.VERSION:
            return self._newer(where.segment)
        return self._damaged(where, what)

    def _newer(self, number: int) -> Damaged:
        latest = max([entry.VERSION + 1, *(frame.version for frame in self._reader.frames(number))])
        found = f"segment {number} holds records of version {latest}"
        return newer_format(self._settings.directory, found, entry.VERSION)

    def _damaged(self, where: Where, what: str) -> CannotStart | Damaged:
        return unreadable(self._settings.directory, where, Invalid(what))


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
            raise _cannot_open(settings.directory, error) from error


def _cannot_open(directory: Path, error: CoreError) -> CannotStart | Damaged:
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
    return _no_use(directory, f"{error.message} ({_cause(error)})")


def _no_use(directory: Path, why: str) -> CannotStart:
    return CannotStart(
        f"{directory}: the log cannot be opened: {why}",
        reason="LOG_UNAVAILABLE",
        hint="see [node] data and [journal], permissions and free space",
    )


def _not_read(directory: Path, where: Where, error: CoreError | Invalid) -> CannotStart | Damaged:
    """Sorted by what helps: the machine (room, permissions, memory), or a copy of the log."""
    if isinstance(error, CoreError) and error.name in ("SP_E_FULL", "SP_E_SYSTEM", "SP_E_MEMORY"):
        return _no_use(directory, f"{error.message} ({_cause(error)})")
    return unreadable(directory, where, error)


def _cause(error: CoreError) -> str:
    return os.strerror(error.system_errno) if error.system_errno else error.name


def _refuse_damage(directory: Path, state: JournalState) -> None:
    if state.damage <= DAMAGE_TORN:
        return
    what = "a valid COMMIT follows" if state.damage == DAMAGE_INTERIOR else "in a sealed segment or a header"
    raise Damaged(
        f"{directory}: segment {state.damage_segment} is damaged from byte {state.damage_from} "
        f"to {state.damage_to} ({what}); nothing was changed",
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
