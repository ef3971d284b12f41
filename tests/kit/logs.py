"""A small log for tests: opens, commits frames of every type, and is judged by the independent reader of `frames`."""

from __future__ import annotations

import hashlib
import os
import random
import select
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kit import frames
from sealpress.core.batch import Batch
from sealpress.core.journal import CommitResult, Journal
from sealpress.core.leaf import LeafSpec
from sealpress.core.merkle import Tree

LOG_ID = hashlib.sha256(b"sign.example/test/1").digest()
SALT_KEY = hashlib.sha256(b"salts of the tests").digest()
SCOPE = hashlib.sha256(b"a line").digest()
EVENT_SCOPE = hashlib.sha256(b"no line").digest()
KEY_ID = hashlib.sha256(b"a key").digest()
SEED = hashlib.sha256(b"salts of the leaves").digest()
START_NS = 1_700_000_000_000_000_000
SMALL = 64 << 10
PAGE = 4096


class Writer:
    """A journal and its tree in one directory. The tree is in memory and made again from the frames at open."""

    def __init__(
        self,
        directory: Path,
        *,
        segment_bytes: int = SMALL,
        pwrite: bool = False,
        in_flight: int = 1,
        keep_reserve: bool = False,
        disk: Any = None,
    ) -> None:
        """Opens and scans; `start` makes it ready for commits."""
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.tree = Tree()
        self.event_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.random = random.Random(7)
        self.time_ns = START_NS
        try:
            self.journal = Journal(
                directory, LOG_ID, SALT_KEY, segment_bytes, pwrite=pwrite, keep_reserve=keep_reserve,
                commits_in_flight_max=in_flight, disk=disk,
            )  # fmt: skip
        except BaseException:
            os.close(self.event_fd)
            raise
        self.state = self.journal.state

    def start(self) -> Self:
        """Rebuilds the tree from what was accepted, then starts."""
        self.state = self.journal.state
        for leaf in leaves_of(self.directory, self.state.tree_size):
            self.tree.append(leaf)
        self.journal.start(self.tree, self.event_fd)
        self.time_ns = max(self.time_ns, self.state.last_time_ns)
        return self

    def finish(self, timeout_s: float = 10.0) -> CommitResult:
        """Waits for the oldest commit in flight."""
        while (result := self.journal.take()) is None:
            ready, _, _ = select.select([self.event_fd], [], [], timeout_s)
            assert ready, "no commit finished in time"
            os.eventfd_read(self.event_fd)
        return result

    def send(self, batch: Batch) -> None:
        """Hands a batch over at the next position, a millisecond later than the one before."""
        position = self.journal.position()
        self.time_ns += 1_000_000
        self.journal.submit(batch, self.time_ns, position.next_seq, position.next_leaf)

    def commit(self, batch: Batch | None = None) -> CommitResult:
        """Commits a batch, by default a small one, and returns the result, good or bad."""
        self.send(batch or self.small())
        return self.finish()

    def small(self, digests: int = 3, names: bytes = b"") -> Batch:
        """An event and a request."""
        batch = Batch(self.journal.position().batch_bytes_max)
        batch.event(frames.OUTCOME, 1, b"outcome " + self.random.randbytes(5), EVENT_SCOPE)
        spec = LeafSpec(1, 1, KEY_ID, SCOPE, 7)
        batch.request(
            1, b"request " + self.random.randbytes(9), spec, SEED, names, self.random.randbytes(32 * digests), digests
        )
        return batch

    def close(self) -> None:
        """Closes everything."""
        self.journal.close()
        self.tree.close()
        if self.event_fd >= 0:
            os.close(self.event_fd)
            self.event_fd = -1

    def __enter__(self) -> Self:
        """The writer."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Closes it."""
        self.close()


def spec_of(frame: frames.RawFrame) -> frames.Spec:
    """What `Writer` commits: requests name kind and algorithm in `version`'s tens and units, 1 means the usual."""
    if frame.type != frames.REQUEST:
        return frames.Spec(2, 0, bytes(32), EVENT_SCOPE)
    kind, algorithm = divmod(frame.version, 10) if frame.version >= 10 else (1, 1)
    return frames.Spec(kind, algorithm, KEY_ID, SCOPE, 7)


def segment_path(directory: Path, number: int) -> Path:
    """Where a segment stands."""
    return directory / "journal" / f"{number:020d}.seg"


def segments_of(directory: Path) -> list[bytes]:
    """The bytes of every segment that has a header, in order."""
    everything = [path.read_bytes() for path in sorted((directory / "journal").glob("*.seg"))]
    return [data for data in everything if any(data[:8192])]


def leaves_of(directory: Path, size: int) -> list[bytes]:
    """The first `size` leaf hashes of a log, by the independent reader."""
    out: list[bytes] = []
    for segment in segments_of(directory):
        try:
            for frame in frames.frames(segment):
                if frame.type not in (frames.COMMIT_TYPE, frames.SEAL) and len(out) < size:
                    out += frames.leaf_hashes(frame, spec_of(frame))
        except AssertionError:
            break  # a damaged tail: what was accepted is complete
    assert len(out) >= size
    return out[:size]


def judge(directory: Path) -> frames.Judged:
    """Everything re-derived; AssertionError if a byte is off."""
    return frames.judge(segments_of(directory), spec_of)


def flip(path: Path, offset: int, bit: int = 0) -> None:
    """One flipped bit."""
    with path.open("r+b") as file:
        file.seek(offset)
        value = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([value ^ 1 << bit]))
