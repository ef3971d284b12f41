"""Scripts for the programs on the simulated disk (tests/native/sim_log.h): what a daemon could have committed.

A scribe writes a log as flow does; its batches go into a file that `sim_truth_read` understands. So what a power cut
leaves there can be exported and judged here, by the daemon's own recovery and by `check_log`.
"""

from __future__ import annotations

import struct
from pathlib import Path

from kit.clock import VirtualClock
from kit.entropy import SeededEntropy
from kit.scribe import NAME, Scribe
from sealpress.core.journal import Frame, Segment
from sealpress.tlog.check import Report, check_log
from sealpress.tlog.log import Log, LogSettings
from sealpress.tlog.record import from_frame
from sealpress.values import RecordType

SEGMENT_BYTES = 64 << 10


def settings(directory: Path) -> LogSettings:
    """Of the log that every script writes."""
    return LogSettings(directory, NAME, 1, segment_bytes=SEGMENT_BYTES, write="pwrite", governance=True)


def write_script(path: Path, scratch: Path, steps: int, seed: int = 0) -> None:
    """A file of exactly `steps` commits; `scratch` is a directory for the log that they are taken from."""
    batches = _batches(scratch, steps, seed)[:steps]
    with path.open("wb") as file:
        file.write(settings(scratch).log_id + struct.pack("<I", len(batches)))
        for time_ns, batch in batches:
            file.write(struct.pack("<QI", time_ns, len(batch)) + b"".join(_packed(frame) for frame in batch))


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


def _batches(directory: Path, steps: int, seed: int) -> list[tuple[int, list[Frame]]]:
    """Commits of many sizes, from a log that is thrown away: time, and the frames without COMMIT and SEAL."""
    scribe = Scribe(directory, seed)
    scribe.open()
    out: list[tuple[int, list[Frame]]] = []
    while len(out) < steps:
        for _ in range(20):
            scribe.history(2)
            if scribe.random.random() < 0.2:
                scribe.request(scribe.random.choice((40, 120, 300)), names=True)
        scribe.log.seal_segment()
        out = _committed(directory)
    scribe.log.close()
    return out


def _committed(directory: Path) -> list[tuple[int, list[Frame]]]:
    out: list[tuple[int, list[Frame]]] = []
    batch: list[Frame] = []
    for path in sorted((directory / "journal").glob("*.seg")):
        if any(path.read_bytes()[:8]):  # not the spare
            with Segment(path) as segment:
                for frame in segment.frames():
                    if frame.type == RecordType.COMMIT:
                        out.append((frame.time_ns, batch))
                        batch = []
                    elif frame.type != RecordType.SEAL:
                        batch.append(frame)
    return out


def _packed(frame: Frame) -> bytes:
    record = from_frame(0, frame)
    spec = record.spec(NAME)
    numbers = (frame.type, frame.version, spec.kind, spec.algorithm, spec.security_version, record.head.count)
    seed = frame.salt_seed or bytes(32)
    packed = struct.pack("<6I", *numbers) + spec.key_id + spec.scope + seed
    for column in (frame.head, frame.names, frame.digests):
        packed += struct.pack("<I", len(column)) + column
    return packed
