"""The append log of DESIGN 3.1: batches go in, durable commits come out in the same order, segments are read back.

Guarantees: a commit that `Journal.take` reports as done is durable, and so are all before it; a batch is in the log
whole or not at all; after one failed write or sync every later call fails with SP_E_FAILED. Does not: know what a head
means, choose times, decide whether a torn tail may be cut (`tlog` asks the mark first).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from sealpress.core._native import ffi, lib
from sealpress.core.arguments import bytes32, c_fields, c_path, u64
from sealpress.core.batch import Batch
from sealpress.core.merkle import Tree
from sealpress.core.segment import FRAME_HEADER_SIZE
from sealpress.core.status import check, check_version, status_name, statuses

COMMITS_IN_FLIGHT_MAX = 4  # as SP_FLIGHTS_MAX in csrc/sp_flight.h

DAMAGE_NONE, DAMAGE_TORN, DAMAGE_INTERIOR, DAMAGE_SEALED = range(4)

_STATUS = statuses()


@dataclass(frozen=True, slots=True)
class JournalState:
    """What a scan found; csrc/sp_api.h tells the fields."""

    segments: int
    active: int
    start_size: int
    start_root: bytes
    commits: int
    next_seq: int
    tree_size: int
    root: bytes
    chain: bytes
    last_time_ns: int
    end_offset: int
    damage: int
    damage_segment: int
    damage_from: int
    damage_to: int
    sealed: bool
    volatile_files: bool
    version: int


class CommitResult(msgspec.Struct, frozen=True):
    """What became of a batch: `status` 0, or SP_E_FULL (nothing written, try later), or SP_E_FAILED (latched)."""

    status: int
    system_errno: int
    sealed: bool
    first_seq: int
    frames: int  # COMMIT and SEAL included: the next batch starts at first_seq + frames
    first_leaf: int
    leaves: int
    tree_size: int
    root: bytes
    segment: int
    offset: int
    time_ns: int
    write_ns: int
    hash_ns: int
    check_ns: int  # of the second hash, from the stored bytes, and of the checksums after the sync
    sync_ns: int
    differs: bool  # with SP_E_FAILED: what is stored is not what was hashed

    @property
    def status_name(self) -> str:
        """`SP_OK`, `SP_E_FULL` or `SP_E_FAILED`."""
        return status_name(self.status)

    def check(self) -> None:
        """CoreError unless the batch is durable."""
        ffi.errno = self.system_errno
        check(self.status)


@dataclass(frozen=True, slots=True)
class Position:
    """Where the next batch will stand, and how large it may be."""

    next_seq: int
    next_leaf: int
    batch_bytes_max: int


def chain(previous: bytes, tree_size: int, root: bytes, headers: bytes) -> bytes:
    """The value that binds a commit to all before it; `headers` are the batch's frame headers end to end."""
    if len(headers) % FRAME_HEADER_SIZE:
        check(_STATUS["SP_E_ARGUMENT"])
    u64(tree_size)
    out = ffi.new("uint8_t[32]")
    count = len(headers) // FRAME_HEADER_SIZE
    check(lib.sp_chain(bytes32(previous), tree_size, bytes32(root), headers, count, out))
    return bytes(ffi.buffer(out))


class Journal:
    """One log directory, held exclusively. Not thread-safe: all calls from one thread."""

    def __init__(
        self,
        directory: Path,
        log_id: bytes,
        salt_key: bytes,
        segment_bytes: int,
        *,
        log_name: str | None = None,
        pwrite: bool = False,
        scan_recent: bool = False,
        keep_reserve: bool = False,
        commits_in_flight_max: int = 1,
        disk: Any = None,
    ) -> None:
        """Takes the lock and scans; `state` says what was found.

        `log_name`: hash every batch a second time, from its stored bytes, before its COMMIT (csrc/sp_replay.h); None:
        do not. `disk`: a `const sp_disk *` or its address, for tests.

        `commits_in_flight_max`, 1 to 4: batches that may be submitted and not taken; each has a thread of its own.

        `keep_reserve`: a segment is set aside for batches with `use_reserve`; while it is missing no other is written.
        SP_E_LOCKED: somebody else holds it. SP_E_FILESYSTEM: needs `pwrite`. SP_E_MISMATCH: a segment of another log.
        VersionError: written in a later format.
        """
        u64(segment_bytes)
        self._disk = lib.sp_disk_linux() if disk is None else ffi.cast("const sp_disk *", disk)
        self._directory = ffi.new("char[]", c_path(directory))
        options = ffi.new("sp_journal_options *")
        name = ffi.NULL if log_name is None else ffi.new("char[]", log_name.encode())
        options.dir = self._directory
        options.log_name = name
        options.disk = self._disk
        options.segment_bytes = segment_bytes
        options.write_mode = int(pwrite)
        options.scan_recent = int(scan_recent)
        options.keep_reserve = int(keep_reserve)
        if not 1 <= commits_in_flight_max <= COMMITS_IN_FLIGHT_MAX:
            check(_STATUS["SP_E_ARGUMENT"])
        options.commits_in_flight_max = commits_in_flight_max
        ffi.buffer(options.log_id)[:] = bytes32(log_id)
        ffi.buffer(options.salt_key)[:] = bytes32(salt_key)
        slot = ffi.new("sp_journal **")
        state = ffi.new("sp_journal_state *")
        check_version(lib.sp_journal_open(options, slot, state), state)
        self._journal: Any = ffi.gc(slot[0], lib.sp_journal_free)
        self._tree: Tree | None = None
        self._result: Any = ffi.new("sp_commit_result *")
        self._lent: deque[Batch | None] = deque()  # to the commit threads, oldest first; None: a SEAL alone
        self.pwrite = pwrite
        self.state = JournalState(**c_fields(JournalState, state))

    @property
    def _pointer(self) -> Any:
        if self._journal is None:
            check(_STATUS["SP_E_ARGUMENT"])
        return self._journal

    def repair(self, copy_name: str) -> None:
        """Copies a torn tail to `broken/<copy_name>`, zeroes it, scans again. Ask the mark first."""
        state = ffi.new("sp_journal_state *")
        check(lib.sp_journal_repair(self._pointer, copy_name.encode(), state))
        self.state = JournalState(**c_fields(JournalState, state))

    def start(self, tree: Tree, event_fd: int = -1) -> None:
        """Makes the accepted tail durable and starts to commit. `event_fd` is written once per finished commit."""
        check(lib.sp_journal_start(self._pointer, tree.pointer, event_fd))
        self._tree = tree  # kept alive as long as a commit thread may append

    def position(self) -> Position:
        """Where the next batch stands if all before it find room. SP_E_BUSY while as many are in flight as may be."""
        out = ffi.new("uint64_t[3]")
        check(lib.sp_journal_position(self._pointer, out, out + 1, out + 2))
        return Position(*out)

    def submit(self, batch: Batch, time_ns: int, first_seq: int, first_leaf: int) -> None:
        """Hands a batch over. SP_E_BUSY: as many are in flight as may be. SP_E_MISMATCH: not the next seq or leaf."""
        u64(time_ns, first_seq, first_leaf)
        check(lib.sp_journal_submit(self._pointer, batch.pointer, time_ns, first_seq, first_leaf))
        self._lent.append(batch)

    def take(self) -> CommitResult | None:
        """The oldest commit in flight, if it is finished. Behind one that is SP_E_FULL all are, until none is left."""
        out = self._result
        status = lib.sp_journal_take(self._pointer, out)
        if status == _STATUS["SP_E_EMPTY"]:
            return None
        check(status)
        self._lent.popleft()
        return CommitResult(
            out.status, out.system_errno, bool(out.sealed), out.first_seq, out.frames, out.first_leaf, out.leaves,
            out.tree_size, ffi.buffer(out.root)[:], out.segment, out.offset, out.time_ns, out.write_ns, out.hash_ns,
            out.check_ns, out.sync_ns, bool(out.differs),
        )  # fmt: skip

    def seal(self, time_ns: int) -> None:
        """Ends the active segment with a commit of its own; its result comes from `take`."""
        u64(time_ns)
        check(lib.sp_journal_seal(self._pointer, time_ns))
        self._lent.append(None)

    def close(self) -> None:
        """Finishes the batches in flight, stops, unlocks."""
        if self._journal is not None:
            ffi.release(self._journal)
            self._journal = self._tree = None
            self._lent.clear()

    def __enter__(self) -> Self:
        """The journal itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Closes it."""
        self.close()
