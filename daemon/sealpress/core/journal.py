"""The append log of DESIGN 3.1: batches go in, durable commits come out in the same order, segments are read back.

Guarantees: a commit that `Journal.take` reports as done is durable, and so are all before it; a batch is in the log
whole or not at all; after one failed write or sync every later call fails with SP_E_FAILED. Does not: know what a head
means, choose times, decide whether a torn tail may be cut (`tlog` asks the mark first).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from sealpress.core._native import ffi, lib
from sealpress.core.leaf import LeafSpec, kept_spec
from sealpress.core.merkle import Tree
from sealpress.core.status import check, status_name, status_text, statuses
from sealpress.errors import VersionError

FORMAT_VERSION = 1  # of segments and frames; as in csrc/sp_segment.h and sp_frame.h
FRAME_HEADER_SIZE = 32
FIRST_FRAME = 8192
COMMITS_IN_FLIGHT_MAX = 4  # as SP_FLIGHTS_MAX in csrc/sp_flight.h
SEGMENT_BYTES_MIN = 64 << 10
SEGMENT_BYTES_MAX = 1 << 30
DURABLE_NONE = (1 << 64) - 1

DAMAGE_NONE, DAMAGE_TORN, DAMAGE_INTERIOR, DAMAGE_SEALED = range(4)

_STATUS = statuses()
_DIGEST_SIZES = {algorithm: int(lib.sp_digest_size(algorithm)) for algorithm in range(1, 4)}
_U64_MAX = (1 << 64) - 1


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


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """The log's state where a segment begins."""

    number: int
    first_seq: int
    tree_size: int
    created_ns: int
    segment_bytes: int
    version: int
    log_id: bytes
    root: bytes
    chain: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """One record as it stands in a segment, checksum verified. The columns are empty for all but REQUEST."""

    seq: int
    time_ns: int
    offset: int
    next_offset: int
    batch: int
    type: int
    flags: int
    version: int
    head: bytes
    salt_seed: bytes
    names: bytes
    digests: bytes
    header: bytes


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


def c_fields(kind: type, source: Any) -> dict[str, Any]:
    """A C struct's fields by the names of a dataclass: arrays as bytes, flags as bool, numbers as they are."""
    out: dict[str, Any] = {}
    for name, annotation in kind.__annotations__.items():
        value = getattr(source, name)
        if annotation == "bytes":
            out[name] = bytes(ffi.buffer(value))
        else:
            out[name] = bool(value) if annotation == "bool" else int(value)
    return out


def _check_version(status: int, found: Any) -> None:
    """CoreError unless SP_OK; VersionError with what a state or header says of a later format."""
    if status == _STATUS["SP_E_VERSION"]:
        raise VersionError(status, status_name(status), status_text(status), int(found.version))
    check(status)


def _u64(*values: int) -> None:
    """What C takes as numbers, sizes and times."""
    if not all(0 <= value <= _U64_MAX for value in values):
        check(_STATUS["SP_E_ARGUMENT"])


def _bytes32(value: bytes) -> bytes:
    """Exactly 32 bytes."""
    if len(value) != 32:
        check(_STATUS["SP_E_ARGUMENT"])
    return value


def segment_name(number: int) -> str:
    """The file name of a segment, below `journal/`."""
    return f"{number:020d}.seg"


def chain(previous: bytes, tree_size: int, root: bytes, headers: bytes) -> bytes:
    """The value that binds a commit to all before it; `headers` are the batch's frame headers end to end."""
    if len(headers) % FRAME_HEADER_SIZE:
        check(_STATUS["SP_E_ARGUMENT"])
    _u64(tree_size)
    out = ffi.new("uint8_t[32]")
    count = len(headers) // FRAME_HEADER_SIZE
    check(lib.sp_chain(_bytes32(previous), tree_size, _bytes32(root), headers, count, out))
    return bytes(ffi.buffer(out))


Places = tuple[list[int], bytes]  # of the frames of a batch: offsets, records


class Batch:
    """The frames of one commit. Fill it, submit it, and leave it alone until its result is taken."""

    def __init__(self, bytes_max: int) -> None:
        """Room for `bytes_max` bytes of frames."""
        _u64(bytes_max)
        slot = ffi.new("sp_batch **")
        check(lib.sp_batch_new(bytes_max, slot))
        self.pointer: Any = ffi.gc(slot[0], lib.sp_batch_free)
        self._spec: LeafSpec | None = None  # of the last request; most of a batch have one and the same object ...
        self._native: Any = None  # ... and what the core takes for it
        self._digest_size = 0

    def event(self, type_: int, version: int, head: bytes, scope: bytes) -> int:
        """Adds a frame with one event leaf; its number in the batch. SP_E_ROOM: the batch is full."""
        check(lib.sp_batch_event(self.pointer, type_, version, head, len(head), _bytes32(scope)))
        return self.frames - 1

    def request(
        self, version: int, head: bytes, spec: LeafSpec, salt_seed: bytes, names: bytes, digests: bytes, count: int
    ) -> None:
        """Adds a frame with a signature leaf per digest. SP_E_ROOM: the batch is full."""
        if spec is not self._spec:
            self._native, self._digest_size = kept_spec(spec), _DIGEST_SIZES.get(spec.algorithm, 0)
            self._spec = spec
        if count < 1 or len(digests) != self._digest_size * count:
            check(_STATUS["SP_E_ARGUMENT"])
        status = lib.sp_batch_request(
            self.pointer, version, head, len(head), self._native, _bytes32(salt_seed), names, len(names),
            digests, count,
        )  # fmt: skip
        if status:
            check(status)

    def reset(self) -> None:
        """Empties it for the next use."""
        lib.sp_batch_reset(self.pointer)

    def use_reserve(self) -> None:
        """It may take the room that is set aside for a full disk; until `reset`."""
        lib.sp_batch_use_reserve(self.pointer)

    @property
    def bytes(self) -> int:
        """Bytes used so far."""
        return int(lib.sp_batch_bytes(self.pointer))

    @property
    def frames(self) -> int:
        """Frames so far."""
        return int(lib.sp_batch_frames(self.pointer))

    @property
    def leaves(self) -> int:
        """Leaves so far."""
        return int(lib.sp_batch_leaves(self.pointer))

    def places(self) -> Places:
        """Of each frame its offset and, once the batch was committed, the 32 bytes that its leaves hold, end to end."""
        count = self.frames
        offsets, records = ffi.new("uint64_t[]", count), ffi.new("uint8_t[]", 32 * count)
        lib.sp_batch_places(self.pointer, offsets, records)
        return ffi.unpack(offsets, count) if count else [], bytes(ffi.buffer(records))

    def offset(self, frame: int) -> int:
        """Where a frame stands, counted from the first of the batch."""
        return int(lib.sp_batch_offset(self.pointer, frame))


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
        _u64(segment_bytes)
        self._disk = lib.sp_disk_linux() if disk is None else ffi.cast("const sp_disk *", disk)
        self._directory = ffi.new("char[]", str(directory).encode())
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
        ffi.buffer(options.log_id)[:] = _bytes32(log_id)
        ffi.buffer(options.salt_key)[:] = _bytes32(salt_key)
        slot = ffi.new("sp_journal **")
        state = ffi.new("sp_journal_state *")
        _check_version(lib.sp_journal_open(options, slot, state), state)
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
        _u64(time_ns, first_seq, first_leaf)
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
        _u64(time_ns)
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


class Segment:
    """One segment file, mapped read-only; frames are copied out, so they outlive it."""

    def __init__(self, path: Path, log_id: bytes | None = None, *, disk: Any = None) -> None:
        """SP_E_CORRUPT: no valid header, or not of its stated size. SP_E_MISMATCH: of another log. VersionError."""
        self.disk = lib.sp_disk_linux() if disk is None else ffi.cast("const sp_disk *", disk)
        slot = ffi.new("sp_segment **")
        self.native_header: Any = ffi.new("sp_segment_header *")
        owner = ffi.NULL if log_id is None else _bytes32(log_id)
        status = lib.sp_segment_open(self.disk, str(path).encode(), owner, slot, self.native_header)
        _check_version(status, self.native_header)
        self._segment: Any = ffi.gc(slot[0], lib.sp_segment_free)
        self.header = SegmentHeader(**c_fields(SegmentHeader, self.native_header))

    @property
    def pointer(self) -> Any:
        """For the core; SP_E_ARGUMENT once it is closed."""
        if self._segment is None:
            check(_STATUS["SP_E_ARGUMENT"])
        return self._segment

    def frame(self, offset: int = 0) -> Frame | None:
        """The frame at `offset` (0: the first one); None where nothing was written. SP_E_CORRUPT otherwise."""
        _u64(offset)
        out = ffi.new("sp_frame *")
        status = lib.sp_segment_frame(self.pointer, offset, out)
        if status == _STATUS["SP_E_END"]:
            return None
        check(status)
        return self._copied(out)

    def seek(self, seq: int, offset: int = 0, end: int = _U64_MAX) -> int | None:
        """Offset of the first frame in [offset, end) whose seq is not below `seq`; None if there is none."""
        _u64(seq, offset, end)
        out = ffi.new("sp_frame *")
        status = lib.sp_segment_seek(self.pointer, offset, end, seq, out)
        if status == _STATUS["SP_E_END"]:
            return None
        check(status)
        return int(out.offset)

    def find(self, needle: bytes, type_mask: int, offset: int = 0, end: int = _U64_MAX) -> Frame | None:
        """The first frame in [offset, end) of a type in `type_mask` (bit = type) whose payload holds `needle`."""
        _u64(offset, end)
        out = ffi.new("sp_frame *")
        status = lib.sp_segment_find(self.pointer, offset, end, type_mask, needle, len(needle), out)
        if status == _STATUS["SP_E_END"]:
            return None
        check(status)
        return self._copied(out)

    def frames(self, start: int = 0, end: int = _U64_MAX) -> Iterator[Frame]:
        """Frames from `start` (0: the first one) up to `end` or to where nothing was written, COMMIT and SEAL too."""
        offset = start or FIRST_FRAME
        while offset < end:
            frame = self.frame(offset)
            if frame is None:
                return
            yield frame
            offset = frame.next_offset

    def _copied(self, frame: Any) -> Frame:
        columns = ffi.new("sp_columns *")
        check(lib.sp_frame_columns(frame, columns))
        salted = columns.salt_seed != ffi.NULL
        return Frame(
            seq=int(frame.seq),
            time_ns=int(frame.time_ns),
            offset=int(frame.offset),
            next_offset=int(frame.next_offset),
            batch=int(frame.batch),
            type=int(frame.type),
            flags=int(frame.flags),
            version=int(frame.version),
            head=bytes(ffi.buffer(columns.head, columns.head_size)),
            salt_seed=bytes(ffi.buffer(columns.salt_seed, 32)) if salted else b"",
            names=bytes(ffi.buffer(columns.names, columns.names_size)) if salted else b"",
            digests=bytes(ffi.buffer(columns.digests, columns.digests_size)) if salted else b"",
            header=bytes(ffi.buffer(frame.header, FRAME_HEADER_SIZE)),
        )

    def close(self) -> None:
        """Unmaps it."""
        if self._segment is not None:
            ffi.release(self._segment)
            self._segment = None

    def __enter__(self) -> Self:
        """The segment itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Closes it."""
        self.close()
