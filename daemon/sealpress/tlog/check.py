"""The judge: re-derives a whole log from its bytes and names the first position that is wrong.

`sealpress log verify` and the tests call `check_log`. It reads every byte of every segment: both header copies, every
frame with its checksum, the order of seq, batches and times, every head re-encoded, every leaf hashed again, every
COMMIT's root and chain, the zeros behind the last frame; then the tree files, the published checkpoint, every signed
head in OUTCOME records, and an older checkpoint that the caller kept.

Guarantees: changes nothing and needs no lock; a report is returned for any bytes (only a directory that cannot be read
raises). Does not: trust tree/, or judge decisions (governance replays those). While a daemon writes, the last batch may
look torn: `report.tail` says so apart from `report.bad`.
"""

from __future__ import annotations

import hashlib
import mmap
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from sealpress.core.digests import crc32c
from sealpress.core.journal import Frame, Segment, chain, segment_name
from sealpress.core.leaf import items_root
from sealpress.core.merkle import EMPTY_ROOT
from sealpress.errors import CoreError, Invalid
from sealpress.tlog import checkpoint, entry
from sealpress.tlog.compact import CompactRange
from sealpress.tlog.entry import GovernanceEvent, LogCreated, OutcomeEvent, RequestEvent, Where
from sealpress.tlog.heads import Heads
from sealpress.tlog.levels import LevelFiles
from sealpress.tlog.record import Record, from_frame
from sealpress.values import RecordType

Progress = Callable[[int, int], None]  # bytes done, bytes to do
HEADER = 4096
DATA = 2 * HEADER
ZEROS = bytes(1 << 20)
COMMIT_FRAME = re.compile(rb"(?=\x7c\0\0\0.{12}\x06\0\x01\0)", re.DOTALL)  # its length, type, flags, version


@dataclass(frozen=True, slots=True)
class Bad:
    """The first position that is wrong."""

    where: Where
    seq: int | None
    reason: str  # HEADER, FRAME, ORDER, RECORD, ROOT, CHAIN, STRAY, TORN_TAIL, HEAD, TREE, CHECKPOINT, CONSISTENCY
    message: str


@dataclass(slots=True)
class Report:
    """What was found."""

    origin: str
    segments: int = 0
    frames: int = 0
    records: dict[str, int] = field(default_factory=dict)
    commits: int = 0
    tree_size: int = 0
    root: bytes = EMPTY_ROOT
    chain: bytes = bytes(32)
    next_seq: int = 0
    last_time_ns: int = 0
    heads: int = 0  # signed heads found in OUTCOMEs
    signatures: int = 0  # verified with the keys given
    unknown_signatures: int = 0  # of keys that were not given
    tree_files: str = "absent"  # absent | match | differ
    bad: Bad | None = None
    tail: Bad | None = None  # bytes behind the last COMMIT: a torn batch, or one that is being written

    @property
    def ok(self) -> bool:
        """Nothing is wrong; a torn tail counts as wrong."""
        return self.bad is None and self.tail is None


class _Stop(Exception):
    """Carries the first bad position."""

    def __init__(self, bad: Bad) -> None:
        super().__init__(bad.message)
        self.bad = bad


def check_log(
    directory: Path,
    name: str,
    number: int,
    *,
    keys: Sequence[str] = (),
    older: bytes | None = None,
    progress: Progress | None = None,
    disk: Any = None,
) -> Report:
    """Check everything. `keys`: vkeys of the log and of lines; `older`: a checkpoint or proof text kept from before."""
    return _Check(directory, name, number, keys, older, progress, disk).run()


def identity(directory: Path) -> tuple[str, int]:
    """Name and number of a log as its first record tells them; Invalid if there is none."""
    try:
        with Segment(directory / "journal" / segment_name(0)) as segment:
            frame = segment.frame()
            header = segment.header
    except CoreError as error:
        raise Invalid(f"{directory}: no log stands here: {error.message}", reason="LOG_MISSING") from error
    event = from_frame(0, frame).event if frame is not None else None
    if isinstance(event, GovernanceEvent) and event.kind == "log.created":
        said = msgspec.json.decode(event.body, type=LogCreated)
        if header.log_id == hashlib.sha256(f"{said.name}/{said.number}".encode()).digest():
            return said.name, said.number
    raise Invalid(f"{directory}: the first record does not tell the log's name", reason="LOG_MISSING")


class _Check:
    def __init__(
        self,
        directory: Path,
        name: str,
        number: int,
        keys: Sequence[str],
        older: bytes | None,
        progress: Progress | None,
        disk: Any,
    ) -> None:
        self._directory = directory
        self._name = name
        self._older = older
        self._progress = progress
        self._disk = disk
        self._report = Report(f"{name}/{number}")
        self._range = CompactRange()
        self._levels = LevelFiles(directory / "tree")
        self._heads = Heads(self._report.origin, name, keys)
        self._spare = False  # a file without a header was met
        self._sealed = False  # the segment before ended in a SEAL, or this one has
        self._batches = 0  # COMMITs of this segment
        self._where = Where(0, 0)
        self._bytes_done = 0
        self._bytes = 0

    def run(self) -> Report:
        report = self._report
        paths = sorted((self._directory / "journal").glob("*.seg"))
        self._bytes = sum(path.stat().st_size for path in paths)
        try:
            for path in paths:
                self._segment(path)
            self._finish()
        except _Stop as stop:
            report.bad = stop.bad
        self._levels.finish()
        report.tree_size, report.root = self._range.size, self._range.root()
        report.heads, report.signatures = self._heads.heads, self._heads.signatures
        report.unknown_signatures = self._heads.unknown
        return report

    # ---- segments -----------------------------------------------------------

    def _segment(self, path: Path) -> None:
        number = int(path.stem)
        self._where = Where(number, 0)
        with path.open("rb") as file:
            size = path.stat().st_size
            if size < DATA:
                self._stop("HEADER", "the segment is shorter than its header")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                written = _first_nonzero(data, 0)
                if written is None:
                    self._spare = True  # of the writer; only more of them may follow
                elif self._spare:
                    self._stop("HEADER", "a segment follows one without a header")
                elif self._sealed_or_first() and not self._whole_copies(data):
                    self._report.tail = Bad(self._where, None, "TORN_TAIL", "a first batch without a segment header")
                    self._spare = True
                else:
                    self._header_copies(data)
                    with self._opened(path) as segment:
                        self._header(number, segment, size)
                        self._behind(data, number, self._batches_of(segment, number, data))
                    self._report.segments += 1
        self._bytes_done += size
        if self._progress is not None:
            self._progress(self._bytes_done, self._bytes)

    def _opened(self, path: Path) -> Segment:
        try:
            return Segment(path, self._heads.log_id, disk=self._disk)
        except CoreError as error:
            self._stop("HEADER", f"the segment is not of this log or not of its stated size: {error.message}")

    def _sealed_or_first(self) -> bool:
        return self._sealed or self._report.segments == 0

    def _whole_copies(self, data: mmap.mmap) -> int:
        return sum(_header_whole(data[at : at + HEADER]) for at in (0, HEADER))

    def _header_copies(self, data: mmap.mmap) -> None:
        for at in (0, HEADER):
            self._where = Where(self._where.segment, at)
            if not _header_whole(data[at : at + HEADER]):
                self._stop("HEADER", "a copy of the segment header is damaged")
        if data[:HEADER] != data[HEADER:DATA]:
            self._stop("HEADER", "the two copies of the segment header differ")

    def _header(self, number: int, segment: Segment, size: int) -> None:
        header, report = segment.header, self._report
        if not self._sealed_or_first():
            self._stop("HEADER", "a segment follows one that was not sealed")
        expected = {
            "number": number,
            "first_seq": report.next_seq,
            "tree_size": self._range.size,
            "root": self._range.root(),
            "chain": report.chain,
            "segment_bytes": size,
        }
        for field_name, value in expected.items():
            if getattr(header, field_name) != value:
                self._stop("HEADER", f"{field_name} in the segment header does not follow from the segments before")
        self._batches = 0
        self._sealed = False

    def _behind(self, data: mmap.mmap, number: int, end: int) -> None:
        """What follows the last COMMIT of a segment: zeros, or in the active segment a torn batch."""
        stray = _first_nonzero(data, end)
        if stray is None:
            return
        self._where = Where(number, stray)
        if self._sealed:
            self._stop("STRAY", "bytes behind the last COMMIT of a sealed segment")
        message = f"bytes behind the last COMMIT, from {stray} on: a torn batch, or one that is being written"
        self._report.tail = Bad(Where(number, end), self._report.next_seq, "TORN_TAIL", message)

    # ---- batches ------------------------------------------------------------

    def _batches_of(self, segment: Segment, number: int, data: mmap.mmap) -> int:
        """Judge every batch that has its COMMIT; the offset behind the last one. A torn rest is left to `_behind`."""
        batch: list[Frame] = []
        end = at = DATA
        while True:
            self._where = Where(number, at)
            try:
                frame = segment.frame(at)
                broken = "zeros inside a batch" if frame is None and batch else None
            except CoreError as error:
                frame, broken = None, error.message
            if frame is None:
                if broken is not None and _commit_follows(segment, data, at):
                    self._stop("FRAME", f"{broken}; a valid COMMIT follows")
                return end
            at = frame.next_offset
            if frame.type != RecordType.COMMIT:
                batch.append(frame)
                continue
            self._batch(number, batch, frame)
            batch = []
            end = at

    def _batch(self, number: int, batch: list[Frame], commit: Frame) -> None:
        leaves: list[bytes] = []
        count = 0
        for frame in batch:
            self._where = Where(number, frame.offset)
            self._in_order(frame)
            if frame.type == RecordType.SEAL:
                self._sealed = True
                continue
            try:
                record = from_frame(number, frame)
                self._record(record, self._range.size + count)
                leaves.append(record.leaf_hashes(self._name))
            except (Invalid, CoreError) as error:
                self._stop("RECORD", error.message)
            count += record.head.count
        self._where = Where(number, commit.offset)
        self._in_order(commit)
        self._commit(commit, batch, b"".join(leaves))

    def _in_order(self, frame: Frame) -> None:
        report = self._report
        if self._sealed and frame.type != RecordType.COMMIT:
            self._stop("ORDER", "a frame behind the SEAL")
        if (frame.seq, frame.batch, frame.flags) != (report.next_seq, self._batches, 0):
            self._stop("ORDER", f"seq {report.next_seq} of batch {self._batches} is expected here, found {frame.seq}")
        if frame.time_ns < report.last_time_ns:
            self._stop("ORDER", "time goes back")
        report.next_seq += 1
        report.frames += 1
        report.last_time_ns = frame.time_ns

    def _record(self, record: Record, first_leaf: int) -> None:
        head = record.head
        if head.first_leaf != first_leaf:
            self._stop("RECORD", "the record names another leaf index than its place gives it")
        if isinstance(head.event, RequestEvent):
            root = items_root(record.salt_seed, record.names, head.count) if record.names else EMPTY_ROOT
            if head.items_root != root:
                self._stop("RECORD", "the names do not fold to the items_root of the head")
            self._heads.request(record)
        elif head.count != 1 or head.items_root != EMPTY_ROOT:
            self._stop("RECORD", "an event record has exactly one leaf and no items")
        if isinstance(head.event, OutcomeEvent):
            found = self._heads.outcome(record)
            if found is not None:
                self._stop("HEAD", found)
        kind = record.type.name.lower()
        self._report.records[kind] = self._report.records.get(kind, 0) + 1

    def _commit(self, frame: Frame, batch: list[Frame], leaves: bytes) -> None:
        report = self._report
        try:
            commit = entry.decode_commit(frame.head)
        except Invalid as error:
            self._stop("RECORD", error.message)
        self._range.append(leaves)
        self._levels.append(leaves)
        root = self._range.root()
        if (commit.first_seq, commit.count) != (frame.seq - len(batch), len(batch)):
            self._stop("ORDER", "the COMMIT names other frames than its batch has")
        if (commit.tree_size, commit.root) != (self._range.size, root):
            self._stop("ROOT", "the records do not reproduce the root of their COMMIT")
        report.chain = chain(report.chain, commit.tree_size, commit.root, b"".join(frame.header for frame in batch))
        if commit.chain != report.chain:
            self._stop("CHAIN", "the COMMIT does not continue the chain")
        if commit.durable_seq is not None and commit.durable_seq >= commit.first_seq:
            self._stop("ORDER", "the COMMIT calls itself durable before it was written")
        self._heads.commit(self._range.size, root)
        report.commits += 1
        self._batches += 1

    # ---- beside the journal --------------------------------------------------

    def _finish(self) -> None:
        self._levels.finish()
        if self._levels.present:
            self._report.tree_files = "match"
        if self._levels.bad is not None:
            self._report.tree_files = "differ"
            level, index = self._levels.bad
            self._where = Where(0, 0)
            self._stop("TREE", f"tree/level-{level:02} differs from the records at node {index}")
        self._where = Where(0, 0)
        try:
            published = checkpoint.read(self._directory)
        except Invalid as error:
            self._stop("CHECKPOINT", error.message)
        if published is not None:
            found = self._heads.note(published.text, line=None)
            if found is not None:
                self._stop("CHECKPOINT", f"the published checkpoint: {found}")
        if self._older is not None:
            found = self._heads.older(self._older)
            if found is not None:
                self._stop("CONSISTENCY", found)

    def _stop(self, reason: str, message: str) -> NoReturn:
        raise _Stop(Bad(self._where, self._report.next_seq, reason, message))


def _header_whole(page: bytes) -> bool:
    cleared = page[:12] + bytes(4) + page[16:]
    return len(page) == HEADER and bool(crc32c(cleared) == struct.unpack_from("<I", page, 12)[0])


def _first_nonzero(data: mmap.mmap, start: int) -> int | None:
    for at in range(start, len(data), len(ZEROS)):
        part = data[at : at + len(ZEROS)]
        if part != ZEROS[: len(part)]:
            return at + len(part) - len(part.lstrip(b"\0"))
    return None


def _commit_follows(segment: Segment, data: mmap.mmap, start: int) -> bool:
    """Whether a whole COMMIT stands anywhere behind a damaged place."""
    for match in COMMIT_FRAME.finditer(data, start):
        at = match.start()
        try:
            if at % 8 == 0 and segment.frame(at) is not None:
                return True
        except CoreError:
            continue
    return False
