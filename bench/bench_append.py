"""What does an append to the journal cost beside `write` and `fdatasync` of the same bytes?

The product's side does more: it frames and checksums, hashes every leaf from the stored bytes, and grows the tree.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sealpress.core.journal import Batch, Journal
from sealpress.core.leaf import LeafSpec
from sealpress.core.merkle import Tree

if TYPE_CHECKING:
    from bench.harness import Ratios

MIB = 1 << 20
TIME_NS = 1_700_000_000_000_000_000


class Appender:
    """A journal with its commit thread; `commit` waits on the event descriptor as the daemon's loop does."""

    def __init__(self, directory: Path) -> None:
        """Starts an empty log."""
        self._event_fd = os.eventfd(0)
        self._tree = Tree(directory / "tree")
        self._journal = Journal(directory, hashlib.sha256(b"bench/log/1").digest(), bytes(32), 64 * MIB)
        self._journal.start(self._tree, self._event_fd)

    def commit(self, batch: Batch) -> None:
        """Durable on return."""
        place = self._journal.position()
        self._journal.submit(batch, TIME_NS, place.next_seq, place.next_leaf)
        os.eventfd_read(self._event_fd)
        result = self._journal.take()
        assert result is not None
        result.check()

    def close(self) -> None:
        """Stops the thread, lets go of everything."""
        self._journal.close()
        self._tree.close()
        os.close(self._event_fd)


@contextmanager
def both_sides(directory: Path) -> Iterator[tuple[Appender, int]]:
    """A journal, and the descriptor of a plain file on the same file system."""
    plain = os.open(directory / "plain", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    (directory / "log").mkdir()
    appender = Appender(directory / "log")
    try:
        yield appender, plain
    finally:
        appender.close()
        os.close(plain)


@pytest.mark.parametrize("count", [1, 100, 10_000], ids=lambda count: f"{count} digests")
def test_append_and_commit(ratio: Ratios, tiny: bool, tmp_path: Path, count: int) -> None:
    """One batch with one request of `count` digests, durable, leaves in the tree, against its bytes to a plain file."""
    rounds = 2 if tiny else (20 if count > 1_000 else 200)
    batch = Batch(8 * MIB)
    spec = LeafSpec(kind=1, algorithm=1, key_id=bytes(32), scope=bytes(32))
    batch.request(1, bytes(400), spec, bytes(range(32)), b"", bytes(32) * count, count)
    payload = bytes(batch.bytes)

    with both_sides(tmp_path) as (appender, plain):

        def ours() -> None:
            for _ in range(rounds):
                appender.commit(batch)

        def theirs() -> None:
            for _ in range(rounds):
                os.write(plain, payload)
                os.fdatasync(plain)

        ratio.race(
            f"append and commit, {count} digests",
            "commit/s",
            amount=rounds,
            product=ours,
            baseline=theirs,
            baseline_name="write + fdatasync",
        )
