"""The judge: re-derives a whole log from its bytes and names the first position that is wrong.

`sealpress log verify` and the tests call `check_log`. It reads every byte of every segment: both header copies, the
zeros behind the last frame and, in one pass of the core (core.replay), every frame with its checksum, the order of seq,
batches and times, every head field by field, every leaf hashed again, every COMMIT's root and chain, every stored node
of tree/. Then the published checkpoint, every signed head in OUTCOME records, and an older checkpoint that the caller
kept.

Guarantees: changes nothing and takes no lock; a report is returned for any bytes (only a directory that cannot be read
raises). Beside a running daemon it judges what was committed when it came by; a batch that is being written is no
error then (`report.live`). Does not: judge decisions (governance replays those).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from sealpress.core import replay
from sealpress.core.replay import Replay, Step
from sealpress.core.segment import Segment
from sealpress.errors import CoreError, Invalid
from sealpress.tlog import checkpoint, torn
from sealpress.tlog.checkpoint import Checkpoint
from sealpress.tlog.entry import Where
from sealpress.tlog.heads import Heads
from sealpress.tlog.record import from_frame
from sealpress.tlog.report import Bad, Report
from sealpress.tlog.standing import no_use, refused
from sealpress.tlog.torn import HEADER
from sealpress.tlog.whole import Files, standing_files
from sealpress.values import RecordType

Progress = Callable[[int, int], None]  # bytes done, bytes to do
DATA = 2 * HEADER
F_OFD_GETLK = 36  # Linux; asks without taking
FLOCK = struct.Struct("=hhxxxxqqixxxx")  # type, whence, start, length, pid


class _Stop(Exception):
    """Carries the first bad position."""

    def __init__(self, bad: Bad) -> None:
        super().__init__(bad.message)
        self.bad = bad


@dataclass(slots=True)
class _Resume:
    """A segment that had no SEAL when it was read."""

    path: Path
    offset: int
    torn: Where | None  # what cannot be read, with its batch's own COMMIT behind it


def check_log(
    directory: Path,
    name: str,
    number: int,
    *,
    keys: Sequence[str] = (),
    older: bytes | None = None,
    progress: Progress | None = None,
    measure: bool = False,
    disk: Any = None,
    files: Files | None = None,
) -> Report:
    """Check everything. `keys`: vkeys of the log and of lines; `older`: a checkpoint or proof text kept from before.

    `measure`: time the bare SHA-256 kernel too (`kernel_ns`), some tens of milliseconds. `files`: where its segments
    are, if not all are in the directory (whole.py).
    """
    return _Check(directory, name, number, keys, older, progress, measure, disk).run(files or standing_files(directory))


class _Check:
    def __init__(
        self,
        directory: Path,
        name: str,
        number: int,
        keys: Sequence[str],
        older: bytes | None,
        progress: Progress | None,
        measure: bool,
        disk: Any,
    ) -> None:
        self._directory = directory
        self._older = older
        self._progress = progress
        self._measure = measure
        self._disk = disk
        self._report = Report(f"{name}/{number}", live=_held(directory))
        self._replay = Replay(name)
        self._heads = Heads(self._report.origin, name, keys)
        self._spare = False  # a file without a header was met
        self._sealed = True  # what was read last ended in a SEAL; so does nothing at all
        self._open: _Resume | None = None
        self._published: Checkpoint | Invalid | None = None
        self._where = Where(0, 0)
        self._bytes_done = 0
        self._bytes = 0

    def run(self, files: Files) -> Report:
        report = self._report
        self._bytes = files.bytes
        tree = self._directory / "tree"
        if any(tree.glob("level-*")):  # none: the writer's file system cannot hold them, they are in memory
            self._replay.compare(tree, self._disk)
            report.tree_files = "match"
        try:
            self._read_checkpoint()
            for path in files.paths:
                self._segment(path)
            self._finish()
        except _Stop as stop:
            report.bad = stop.bad
        self._tell()
        self._replay.close()
        return report

    def _tell(self) -> None:
        report, state, work = self._report, self._replay.state, self._replay.work(measure=self._measure)
        report.frames, report.commits, report.next_seq = state.frames, state.commits, state.next_seq
        report.tree_size, report.root, report.chain = state.tree_size, state.root, state.chain
        report.last_time_ns = state.last_time_ns
        counts = self._replay.records
        report.records = {type_.name.lower(): counts[type_] for type_ in RecordType if counts[type_]}
        report.compressions, report.cpu_ns, report.kernel_ns = work.compressions, work.cpu_ns, work.kernel_ns
        report.heads, report.signatures = self._heads.heads, self._heads.signatures
        report.unknown_signatures = self._heads.unknown

    # ---- segments -----------------------------------------------------------

    def _segment(self, path: Path) -> None:
        self._where = Where(int(path.stem), 0)
        with path.open("rb") as file:
            size = path.stat().st_size
            if size < DATA:
                self._stop("HEADER", "the segment is shorter than its header")
            try:
                self._looked_at(path, size, torn.FileBytes(file))
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                self._stop("FRAME", "the disk does not give a part of the segment back")
        self._bytes_done += size
        self._told(0)

    def _looked_at(self, path: Path, size: int, data: torn.FileBytes) -> None:
        written = torn.first_nonzero(data, 0)
        if written is None:
            self._spare = True  # of the writer; only more of them may follow
        elif self._spare:
            self._stop("HEADER", "a segment follows one without a header")
        elif self._half_written(data):
            if torn.more_than_a_batch(data) and self._half_written(data):
                self._stop("HEADER", "the segment header is gone, and more than a first batch stands behind it")
            self._report.tail = Bad(self._where, None, "TORN_TAIL", "a first batch without a segment header")
            self._spare = True
        else:
            self._written_segment(path, size, data)

    def _written_segment(self, path: Path, size: int, data: torn.FileBytes) -> None:
        if self._where.segment != self._report.segments:
            self._where = Where(self._report.segments, 0)
            self._stop("HEADER", "the segment is missing")
        if not self._sealed:
            self._resume()
        self._header_copies(data)
        with self._opened(path) as segment:
            self._header(segment, size)
            self._frames(path, segment, data, 0)
        self._report.segments += 1

    def _resume(self) -> None:
        """A daemon may have ended the segment before after we came by: it does so before it begins the next."""
        assert self._open is not None
        path, where = self._open.path, self._where
        if self._report.live:
            with path.open("rb") as file, self._opened(path) as segment:
                self._report.tail = None
                self._frames(path, segment, torn.FileBytes(file), self._open.offset)
        if not self._sealed and self._open.torn is not None:
            self._where, self._report.tail = self._open.torn, None
            self._stop("FRAME", "no frame can be read here, and a segment follows")
        self._where = where
        if not self._sealed:
            self._stop("HEADER", "a segment follows one that was not sealed")

    def _opened(self, path: Path) -> Segment:
        try:
            return Segment(path, self._heads.log_id, disk=self._disk)
        except CoreError as error:
            if (system := refused(error)) is not None:
                raise no_use(path, system) from error
            self._stop("HEADER", f"the segment is not of this log or not of its stated size: {error.message}")

    def _half_written(self, data: torn.FileBytes) -> bool:
        """A first batch that a crash or a look beside a writer found without whole header copies."""
        whole = sum(torn.header_whole(data[at : at + HEADER]) for at in (0, HEADER))
        begun = self._report.live and not any(data[DATA : DATA + 32])
        return self._sealed and (whole == 0 or (begun and whole < 2))

    def _header_copies(self, data: torn.FileBytes) -> None:
        for at in (0, HEADER):
            self._where = Where(self._where.segment, at)
            if not torn.header_whole(data[at : at + HEADER]):
                self._stop("HEADER", "a copy of the segment header is damaged")
        if data[:HEADER] != data[HEADER:DATA]:
            self._stop("HEADER", "the two copies of the segment header differ")

    def _header(self, segment: Segment, size: int) -> None:
        header = segment.header
        if (header.number, header.segment_bytes) != (self._where.segment, size):
            self._stop("HEADER", "the segment header is that of another file")
        try:
            self._replay.enter(segment)
        except CoreError:
            self._stop("HEADER", "the segment header does not follow from the segments before")
        self._sealed = False

    # ---- frames --------------------------------------------------------------

    def _frames(self, path: Path, segment: Segment, data: torn.FileBytes, offset: int) -> None:
        """Every batch from `offset` on that has its COMMIT, and what stands behind the last of them."""
        number = segment.header.number
        again = True  # beside a writer: a batch may become whole while we look
        raced: int | None = None  # where that seemed so
        while True:
            step = self._replay.run(segment, offset)
            self._report.bytes_read += step.offset - (offset or DATA)
            again = again or step.offset > (offset or DATA)
            offset = step.offset
            self._heads.commits(step.sizes, step.roots)
            self._outcomes(segment, step)
            self._told(offset)
            if step.what == replay.BAD:
                raise _Stop(Bad(Where(number, step.bad_offset), step.bad_seq, step.reason, step.message))
            unread = Where(number, step.bad_offset if step.what == replay.TORN else offset)
            commit: int | None = None
            if step.what == replay.TORN or (step.what == replay.END and raced in (None, offset)):
                commit = torn.last_commit(segment, data, unread.offset)
            if commit is not None:
                if self._report.live and again:
                    again, raced = False, offset
                    continue
                # A writer stores a batch's COMMIT behind its frames; a crash may keep it without them.
                if commit >= torn.batches(segment, offset) + (not self._report.live):
                    self._where = unread
                    self._stop("FRAME", "no frame can be read here, and a valid COMMIT follows")
            if step.what != replay.MORE:
                break
        self._sealed = step.what == replay.SEALED
        self._open = _Resume(path, offset, unread if commit is not None else None)
        self._behind(data, number, offset)

    def _behind(self, data: torn.FileBytes, number: int, end: int) -> None:
        """What follows the last COMMIT of a segment: zeros, or in the active segment a torn batch."""
        stray = torn.first_nonzero(data, end)
        if stray is None:
            return
        self._where = Where(number, stray)
        if self._sealed:
            self._stop("STRAY", "bytes behind the last COMMIT of a sealed segment")
        message = f"bytes behind the last COMMIT, from {stray} on: a torn batch, or one that is being written"
        self._report.tail = Bad(Where(number, end), self._replay.state.next_seq, "TORN_TAIL", message)

    def _outcomes(self, segment: Segment, step: Step) -> None:
        begun = replay.cpu_ns()
        number = segment.header.number
        for offset, time_min, time_max in replay.outcomes_of(step):
            self._where = Where(number, offset)
            frame = segment.frame(offset)
            if frame is None:
                self._stop("FRAME", "the record is gone: the file changed while it was read")
            found = self._heads.outcome(from_frame(number, frame), time_min, time_max)
            if found is not None:
                raise _Stop(Bad(self._where, frame.seq, "HEAD", found))
        self._report.heads_cpu_ns += replay.cpu_ns() - begun

    def _told(self, done: int) -> None:
        if self._progress is not None:
            self._progress(min(self._bytes_done + done, self._bytes), self._bytes)

    # ---- beside the journal --------------------------------------------------

    def _read_checkpoint(self) -> None:
        """Before the frames: a head that is published now is one of records that are there now."""
        try:
            self._published = checkpoint.read(self._directory)
        except Invalid as error:
            self._published = error

    def _finish(self) -> None:
        self._where = Where(0, 0)
        differs = self._replay.differs() if self._report.tree_files == "match" else None
        if differs is not None:
            self._report.tree_files = "differ"
            level, index = differs
            self._stop("TREE", f"tree/level-{level:02} differs from the records at node {index}")
        if isinstance(self._published, Invalid):
            self._stop("CHECKPOINT", self._published.message)
        if self._published is not None:
            found = self._heads.note(self._published.text, line=None)
            if found is not None:
                self._stop("CHECKPOINT", f"the published checkpoint: {found}")
        if self._older is not None:
            found = self._heads.older(self._older)
            if found is not None:
                self._stop("CONSISTENCY", found)

    def _stop(self, reason: str, message: str) -> NoReturn:
        raise _Stop(Bad(self._where, self._replay.state.next_seq, reason, message))


def _held(directory: Path) -> bool:
    """Whether a process has the log open for writing; nothing is taken."""
    try:
        file = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        asked = FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        answer = FLOCK.unpack(fcntl.fcntl(file, F_OFD_GETLK, asked))
        return bool(answer[0] != fcntl.F_UNLCK)
    except OSError:
        return False
    finally:
        os.close(file)
