"""One log being written: drafts frames for a commit, hands them to the commit thread, knows what is durable.

    draft = log.draft()                       one time for the whole draft
    placed = draft.request(event, …)          seq and leaf index are known here
    committed = await log.commit(draft)       fdatasync returned
    committed.where(placed), committed.record(placed)

Up to `commits_in_flight_max` may be submitted and not finished; the next is drafted as if all before it found room.

Guarantees: what `commit` returned is durable, and all before it is; commits end in order of submission; a Busy LOG_FULL
wrote nothing, neither do those behind it, and the same requests may be drafted again once all have ended; after a
failed sync every call raises the same Damaged for ever. Does not: re-check, batch or wait for anybody (flow).
Owned by one thread, the event loop's; only the reading functions may be called from others.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from sealpress.core import proof
from sealpress.core.batch import Batch
from sealpress.core.journal import CommitResult, Position
from sealpress.core.status import statuses
from sealpress.errors import Busy, CoreError, Damaged, SealpressError
from sealpress.ports import Clock, Entropy
from sealpress.tlog import begin
from sealpress.tlog.draft import Committed, Draft
from sealpress.tlog.earlier import Part
from sealpress.tlog.entry import Where
from sealpress.tlog.failure import failed
from sealpress.tlog.opening import Opened, open_log
from sealpress.tlog.reader import RECORDS
from sealpress.tlog.record import NANOSECONDS, Record, Stored, StoredOutcome
from sealpress.tlog.recovery import Progress, Recovered
from sealpress.tlog.settings import LogSettings
from sealpress.tlog.space import Space, full
from sealpress.values import RecordType

SEGMENTS_WARM = 2  # sealed ones that stay in memory, with their share of the tree

_OK, _FULL = statuses()["SP_OK"], statuses()["SP_E_FULL"]


@dataclass(slots=True)
class _Flight:
    """A commit that is submitted and not finished."""

    batch: Batch | None  # None: a SEAL alone
    waiter: asyncio.Future[Committed] | None


class Log:
    """One directory, one writer. Made by `Log.open`."""

    def __init__(self, settings: LogSettings, opened: Opened, clock: Clock, entropy: Entropy) -> None:
        """Use `Log.open`."""
        self.settings = settings
        self.name = settings.name
        self.origin = settings.origin
        self.log_id = settings.log_id
        self.tree = opened.tree
        self.reader = opened.reader
        self.recovered: Recovered = opened.recovered
        self.failure: Damaged | None = None  # latched: nothing is ever committed again
        self.space = Space(
            settings.directory, settings.segment_bytes, settings.space_bytes_max, clock, lambda: self.reader.end
        )
        self._journal = opened.journal
        self._clock = clock
        self._entropy = entropy
        self._size = opened.state.tree_size
        self._next_seq = opened.state.next_seq
        self._last_time_ns = opened.state.last_time_ns
        self._drafted_ns = self._last_time_ns  # of the newest commit in flight, or of the last one
        self._batches: deque[Batch] = deque()  # that hold nothing of a commit in flight; the first is drafted into
        self._draft: Draft | None = None  # the only one that may be committed
        self._flights: deque[_Flight] = deque()
        self._full = False  # one of them found no room: neither will those behind it
        self._event_fd = -1
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = threading.Event()
        self._indexed = self.recovered.earlier.below  # segments below need not have their requests in memory
        self._newest: Part | None = None  # of those handed over
        self._handing = threading.Lock()  # held while a thread moves these two
        self._cooling = threading.Lock()  # held while another thread than the loop's uses the tree by itself

    @classmethod
    def open(
        cls,
        settings: LogSettings,
        clock: Clock,
        entropy: Entropy,
        progress: Progress | None = None,
        disk: Any = None,
    ) -> Self:
        """Lock the directory, scan, rebuild what is derived. CannotStart (LOG_IN_USE, CLOCK_BEHIND) or Damaged."""
        return cls(settings, open_log(settings, clock, entropy, progress, disk), clock, entropy)

    @property
    def size(self) -> int:
        """Committed leaves."""
        return self._size

    @property
    def next_seq(self) -> int:
        """The seq that the next record gets: everything below is committed."""
        return self._next_seq

    @property
    def behind_ns(self) -> int:
        """How far the clock stands behind the newest commit: somebody set it back."""
        return max(0, self._drafted_ns - self._clock.now_ns())

    @property
    def idle(self) -> bool:
        """Whether no commit is in flight."""
        return not self._flights

    @property
    def may_draft(self) -> bool:
        """Whether `draft` may be called: fewer are in flight than may be, and none of them found the log full."""
        return len(self._flights) < self.settings.commits_in_flight_max and not self._full

    def root(self, size: int | None = None) -> bytes:
        """Root of the tree of the first `size` leaves."""
        return self.tree.root(self._size if size is None else size)

    def check_mark(self, size: int, root: bytes) -> None:
        """Compare with the signer's mark; Damaged if either lags behind the other. Call it before `start`."""
        begin.check_mark(self, size, root)

    def start(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Repair a torn tail, start the commit thread, write leaf 0 or the RECOVERY record; blocks for a few syncs."""
        self._event_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        begin.repair(self, self._journal, self._clock.now_ns())
        begin.start(self, self._journal, self._event_fd)
        begin.end_other_size(self, self._journal.state)
        bytes_max = min(self.settings.batch_bytes_max, self._journal.position().batch_bytes_max)
        self._batches.extend(Batch(bytes_max) for _ in range(self.settings.commits_in_flight_max))
        begin.first_records(self)
        if loop is not None:
            self._loop = loop
            loop.add_reader(self._event_fd, self._on_event)
            loop.run_in_executor(None, self._make_indexes, self.reader.numbers()[:-1])

    def draft(self) -> Draft:
        """An empty draft for the next commit; only while `may_draft`. Damaged if the log failed."""
        if self.failure is not None:
            raise self.failure
        if not self.may_draft or not self._batches:
            raise RuntimeError("draft only while `may_draft`: as many commits are in flight as may be")
        now_ns = self._clock.now_ns()
        batch = self._batches[0]
        batch.reset()
        place = self._place()
        self._draft = Draft(
            self.name, batch, self._entropy, max(self._drafted_ns, now_ns), place.next_seq, place.next_leaf
        )
        return self._draft

    async def commit(self, draft: Draft) -> Committed:
        """Make the draft durable. Busy LOG_FULL: nothing was written. Damaged LOG_FAILED: the node must stop.

        Whoever stops waiting does not stop the commit: it is finished and counted all the same.
        """
        if self._loop is None:
            raise RuntimeError("start the log with a loop")
        waiter: asyncio.Future[Committed] = self._loop.create_future()
        self._submit(draft, waiter)
        return await waiter

    def commit_now(self, draft: Draft) -> Committed:
        """As `commit`, blocking: for the first records of a start, and for tools. Not beside a loop."""
        if self._loop is not None:
            raise RuntimeError("the loop waits for commits: use commit()")
        self._submit(draft, None)
        return self._take_blocking()

    def seal_segment(self) -> None:
        """End the active segment now, blocking; for backups and tests. Not beside a loop."""
        self._journal.seal(max(self._last_time_ns, self._clock.now_ns()))
        self._draft = None
        self._flights.append(_Flight(None, None))
        self._take_blocking()

    def record_at(self, where: Where) -> Record:
        """The record at a place; any thread."""
        return self.reader.record(where)

    def stored(self, where: Where) -> Stored:
        """A stored REQUEST with all that its proofs are made of; any thread."""
        return self.reader.stored(where)

    def outcome(self, where: Where) -> StoredOutcome:
        """A stored OUTCOME: signed checkpoint, or direct signatures; any thread."""
        return self.reader.outcome(where)

    def proof(self, opening: bytes, index: int, head_size: int, checkpoint: bytes) -> bytes:
        """A tlog-proof text for one leaf under a signed head; any thread."""
        return proof.write_proof(opening, index, self.tree.inclusion(index, head_size), checkpoint)

    def find(self, needle: bytes, types: Iterable[RecordType] = RECORDS) -> Iterator[Record]:
        """Committed records that hold these bytes, newest segment first; scans, so use another thread."""
        return self.reader.find(needle, types)

    def records(self, from_seq: int = 0, at: Where | None = None) -> Iterator[Record]:
        """Committed records in order; `at` is the `next` of the last one read."""
        return self.reader.records(from_seq, at)

    def leaf_hash(self, index: int) -> bytes:
        """Hash of one leaf; any thread."""
        return self.tree.node(0, index)

    def close(self) -> None:
        """Finish the commits in flight, stop the threads, unlock. Idempotent."""
        self._closing.set()
        if self._loop is not None:
            self._loop.remove_reader(self._event_fd)
            self._loop = None
        self._end_flights()
        self._journal.close()
        if self._event_fd >= 0:
            os.close(self._event_fd)
            self._event_fd = -1
        self.reader.close()
        with self._cooling:
            self.tree.close()

    def _place(self) -> Position:
        """Where the next batch stands. Damaged if the log has failed and nobody was told yet."""
        try:
            return self._journal.position()
        except CoreError as error:
            if error.name != "SP_E_FAILED":
                raise
            raise self._failed(error) from error

    def _submit(self, draft: Draft, waiter: asyncio.Future[Committed] | None) -> None:
        if self.failure is not None:
            raise self.failure
        if draft is not self._draft or not self.may_draft:
            raise RuntimeError("this draft is not the current one")
        try:
            self._journal.submit(self._batches[0], draft.time_ns, draft.first_seq, draft.first_leaf)
        except CoreError as error:
            if error.name != "SP_E_FAILED":
                raise
            raise self._failed(error) from error
        self._draft = None
        self._drafted_ns = draft.time_ns
        self._flights.append(_Flight(self._batches.popleft(), waiter))

    def _on_event(self) -> None:
        """The eventfd is readable: some commits are finished."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._event_fd)
        while self._flights and (result := self._journal.take()) is not None:
            waiter = self._flights[0].waiter
            try:
                _answer(waiter, self._fold(result))
            except (Busy, Damaged) as error:
                _answer(waiter, error)

    def _make_indexes(self, sealed: Iterable[int]) -> None:
        """Of those of these segments that have none; in a thread. Meanwhile Explain reads such a segment whole."""
        for number in self.reader.indexes.missing(sealed):
            if self._closing.is_set():
                return
            with contextlib.suppress(CoreError):  # damage: whoever reads the record says so
                self.reader.indexes.make(number)
                self.reader.unmap(number)
                self._cool(number - SEGMENTS_WARM)

    def _hand_over(self, sealed: int) -> None:
        """Make the index of a segment, and have it and those before it answer in memory's place; in a thread."""
        self._make_indexes((sealed,))
        with self._handing, contextlib.suppress(CoreError, RuntimeError):  # damage: memory goes on; no loop: it is over
            while self._indexed <= sealed and (loop := self._loop) is not None:
                self._newest = self.recovered.earlier.part(self._indexed, self._newest)
                self._indexed += 1
                loop.call_soon_threadsafe(self._take_over, self._newest)

    def _take_over(self, part: Part) -> None:
        self.recovered.earlier.add(part)
        self.recovered.earlier.let_go(self._clock.now_ns() - self.settings.window_s * NANOSECONDS)

    def _cool(self, number: int) -> None:
        """A log that grows by hundreds of MiB/s reads little of what it wrote, and would fill all memory with it.

        Fresh memory costs a writer more than that of pages just let go: ten times as much where a hypervisor has to
        find it first (DECISIONS/0017).
        """
        if number < 0:
            return
        first, end = (self.reader.segment(at).header.tree_size for at in (number, number + 1))
        with self._cooling:
            if not self._closing.is_set():
                self.tree.cool(first, end)
        self.reader.cool(number)

    def _end_flights(self) -> None:
        while self._flights:
            waiter = self._flights[0].waiter
            try:
                _answer(waiter, self._take_blocking())
            except (Busy, Damaged) as error:
                _answer(waiter, error)

    def _take_blocking(self) -> Committed:
        waiting = select.poll()  # a number beyond 1,023 is none for `select`, and a process may have many logs
        waiting.register(self._event_fd, select.POLLIN)
        while (result := self._journal.take()) is None:
            waiting.poll()
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._event_fd)
        return self._fold(result)

    def _fold(self, result: CommitResult) -> Committed:
        """Take over what a commit thread did: the only place where size, seq and end move."""
        flight = self._flights.popleft()
        batch_bytes, offsets, records = 0, list[int](), b""
        if flight.batch is not None:
            batch_bytes, (offsets, records) = flight.batch.bytes, flight.batch.places()
            self._batches.append(flight.batch)
        self._full = result.status == _FULL and bool(self._flights)
        if result.status == _FULL:
            self._draft = None  # drafted as if it had found room
            self._drafted_ns = self._drafted_ns if self._flights else self._last_time_ns
            self.space.filled()
            raise full()
        if result.status != _OK:
            raise self._fail(result.system_errno, result.differs)
        self._size = result.tree_size
        self._next_seq = result.first_seq + result.frames
        self._last_time_ns = result.time_ns
        self._drafted_ns = max(self._drafted_ns, result.time_ns)
        self.reader.end = Where(result.segment, result.offset + batch_bytes)
        if result.sealed and self._loop is not None:
            self._loop.run_in_executor(None, self._hand_over, result.segment)
        return Committed(
            result.first_seq,
            result.first_leaf,
            result.leaves,
            result.tree_size,
            result.root,
            result.time_ns,
            Where(result.segment, result.offset),
            result.write_ns,
            result.hash_ns,
            result.check_ns,
            result.sync_ns,
            offsets,
            records,
        )

    def _failed(self, error: CoreError) -> Damaged:
        """The commit threads have failed: what is in flight says why, and ends at once."""
        self._end_flights()
        return self.failure or self._fail(error.system_errno)

    def _fail(self, system_errno: int, differs: bool = False) -> Damaged:
        """Latch: after a failed sync nothing is known of the disk, and no retry can tell."""
        if self.failure is not None:
            return self.failure
        self.failure = failed(self.settings.directory, system_errno, differs)
        return self.failure


def _answer(waiter: asyncio.Future[Committed] | None, outcome: Committed | SealpressError) -> None:
    if waiter is None or waiter.done():  # whoever waited was cancelled: what happened is in the log's fields already
        return
    if isinstance(outcome, SealpressError):
        waiter.set_exception(outcome)
    else:
        waiter.set_result(outcome)
