"""What the records of a log tell after a stop or a crash: takes or rebuilds the tree, finds what flow must know.

Order, once it is locked and scanned (opening.py): take the stored tree levels if their right edge reproduces the active
segment's header → replay the rest from its stored bytes, comparing every COMMIT's root and chain (core.replay, as
`log verify`) → open or make the indexes of the segments of the idempotency window.

Guarantees: what is returned stands on a tree that reproduces the last COMMIT; nothing on disk is changed but tree
levels and indexes, which are derived. Does not: repair (Log.start does, after the mark has been compared: nothing at or
below the mark may be repaired away), read sealed segments that have their index, or decide what becomes of dangling
requests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sealpress.core import replay
from sealpress.core.index import LAST_KEY, Index
from sealpress.core.journal import DAMAGE_TORN, JournalState
from sealpress.core.merkle import Tree
from sealpress.core.replay import Replay
from sealpress.errors import CannotStart, CoreError, Damaged, Invalid
from sealpress.tlog import archived, entry
from sealpress.tlog.earlier import Earlier, Part
from sealpress.tlog.entry import Where
from sealpress.tlog.fold import Fold
from sealpress.tlog.known import Known
from sealpress.tlog.reader import END, LogReader, newer_format, unreadable
from sealpress.tlog.record import NANOSECONDS, Stored, stored
from sealpress.tlog.settings import LogSettings
from sealpress.tlog.unopened import not_read

Progress = Callable[[int, int], None]  # segments done, segments to do


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


class Recovery:
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
        """The pass. CannotStart LOG_ARCHIVED; Damaged."""
        known = Known(self._settings.entries_max, self._window_ns, self._secret, self._earlier)
        recovered = Recovered(known, self._earlier)
        if self._state.damage == DAMAGE_TORN:
            recovered.torn = self._state
        if self._state.next_seq == 0:
            recovered.created = True
            return recovered
        numbers = self._reader.numbers()
        missing = archived.missing(self._settings.directory, numbers[0])
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
        moved = archived.listed(self._settings.directory)
        recovered.sealed_size = max(fold.sealed_size, moved.sealed_size if moved is not None else 0)
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
            raise archived.needed(self._settings.directory, first, "the tree must be made again from every record")
        if self._reader.segment(first).header.created_ns > oldest_ns:
            why = "request ids of [idempotency] window_s stand in them"
            raise archived.needed(self._settings.directory, first, why)

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
            raise not_read(self._settings.directory, where, error) from error
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
        return not_read(self._settings.directory, Where(number, 0), error)

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
