"""Scripts for the programs on the simulated disk (tests/native/sim_log.h): what a daemon could have committed.

A scribe writes a log as flow does; its batches go into a file that `sim_truth_read` understands. So what a power cut
leaves there can be exported and judged here, by the daemon's own recovery and by `check_log`.

Several batches are in flight there. Whatever a power cut leaves, no head that an OUTCOME shows is above the mark: its
leaves were acknowledged before it was signed, and it was signed before its OUTCOME was written.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

from kit.clock import VirtualClock
from kit.entropy import SeededEntropy
from kit.scribe import NAME, Scribe
from sealpress.core.segment import Segment
from sealpress.tlog.check import check_log
from sealpress.tlog.entry import OutcomeEvent
from sealpress.tlog.log import Log
from sealpress.tlog.record import Record, from_frame
from sealpress.tlog.report import Report
from sealpress.tlog.settings import LogSettings
from sealpress.values import RecordType

SEGMENT_BYTES = 64 << 10
LARGE = 250  # digests of a request that fills most of a batch


@dataclass(frozen=True)
class _Commit:
    """One step of a script."""

    time_ns: int
    after: int  # commits that are acknowledged before it: a head is signed once its leaves are, recorded once signed
    records: tuple[Record, ...]


def settings(directory: Path) -> LogSettings:
    """Of the log that every script writes."""
    return LogSettings(directory, NAME, 1, segment_bytes=SEGMENT_BYTES, write="pwrite", governance=True)


def write_script(path: Path, scratch: Path, steps: int, seed: int = 0) -> None:
    """A file of exactly `steps` commits; `scratch` is a directory for the log that they are taken from."""
    commits = _commits(scratch, steps, seed)[:steps]
    with path.open("wb") as file:
        file.write(settings(scratch).log_id + struct.pack("<I", len(commits)))
        for commit in commits:
            file.write(struct.pack("<QII", commit.time_ns, commit.after, len(commit.records)))
            file.write(b"".join(_packed(record) for record in commit.records))


def judge_image(directory: Path, now_s: float = 1_900_000_000.0) -> Report:
    """Open an exported image as the daemon does, hold it against its mark, go on, and check every byte of it."""
    size, root = (directory / "mark").read_text().split()[:2]
    log = Log.open(settings(directory / "log"), VirtualClock(now_s), SeededEntropy(3))
    try:
        log.check_mark(int(size), bytes.fromhex(root))
        assert log.size >= int(size)
        log.start(None)
        log.seal_segment()
    finally:
        log.close()
    report = check_log(directory / "log", NAME, 1)
    assert report.ok, f"{directory}: {report.bad or report.tail}"
    return report


def _commits(directory: Path, steps: int, seed: int) -> list[_Commit]:
    """Commits of many sizes, from a log that is thrown away."""
    scribe = Scribe(directory, seed)
    scribe.open()
    out: list[_Commit] = []
    while len(out) < steps:
        for _ in range(7):
            scribe.history(2)
            _sign_beside_commits(scribe)
            if scribe.random.random() < 0.4:
                scribe.request(scribe.random.choice((40, 120, 300)), names=True)
        scribe.log.seal_segment()
        for _ in range(2):  # more than one batch may be in a segment that has no header yet
            scribe.request(LARGE, names=True)
        out = _committed(directory)
    scribe.log.close()
    return out


def _sign_beside_commits(scribe: Scribe) -> None:
    """Batches are committed while the signer is at work: so an OUTCOME follows leaves that its head does not cover."""
    acts, size = scribe.request(1, 4), scribe.log.size
    for _ in range(scribe.random.randint(1, 3)):
        scribe.request(scribe.random.randint(1, 9))
    scribe.seal(*acts, size=size)


def _committed(directory: Path) -> list[_Commit]:
    out: list[_Commit] = []
    sizes = [0]  # of the tree: [n] after n commits
    batch: list[Record] = []
    for path in sorted((directory / "journal").glob("*.seg")):
        if any(path.read_bytes()[:8]):  # not the spare
            with Segment(path) as segment:
                for frame in segment.frames():
                    if frame.type == RecordType.COMMIT:
                        out.append(_Commit(frame.time_ns, bisect_left(sizes, _signed(batch)), tuple(batch)))
                        sizes.append(sizes[-1] + sum(record.head.count for record in batch))
                        batch = []
                    elif frame.type != RecordType.SEAL:
                        batch.append(from_frame(0, frame))
    return out


def _signed(batch: list[Record]) -> int:
    """The largest head whose signatures these records hold."""
    return max((record.event.tree_size for record in batch if isinstance(record.event, OutcomeEvent)), default=0)


def _packed(record: Record) -> bytes:
    spec = record.spec(NAME)
    numbers = (record.type, record.version, spec.kind, spec.algorithm, spec.security_version, record.head.count)
    seed = record.salt_seed or bytes(32)
    packed = struct.pack("<6I", *numbers) + spec.key_id + spec.scope + seed
    for column in (record.head_bytes, record.names, record.digests):
        packed += struct.pack("<I", len(column)) + column
    return packed
