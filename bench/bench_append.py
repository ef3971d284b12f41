"""What does an append to the journal cost beside `write` and `fdatasync` of the same bytes?

The product's side does more: it frames and checksums, hashes every leaf from the stored bytes, and grows the tree, with
two commits in flight; the daemon sends one at a time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.run import Target
from sealpress.core.batch import Batch
from sealpress.core.journal import Journal
from sealpress.core.leaf import LeafSpec
from sealpress.core.merkle import Tree

if TYPE_CHECKING:
    from bench.harness import Ratios

MIB = 1 << 20
TIME_NS = 1_700_000_000_000_000_000
NEEDED = 0.8
IN_FLIGHT = 2
NODE = 32


class Appender:
    """A journal with its commit threads; it waits on the event descriptor as the daemon's loop does."""

    def __init__(self, directory: Path, in_flight: int) -> None:
        """Starts an empty log."""
        self._in_flight = in_flight
        self._event_fd = os.eventfd(0)
        self._tree = Tree(directory / "tree")
        log_id = hashlib.sha256(b"bench/log/1").digest()
        self._journal = Journal(directory, log_id, bytes(32), 64 * MIB, commits_in_flight_max=in_flight)
        self._journal.start(self._tree, self._event_fd)

    def commit(self, batches: list[Batch], rounds: int) -> None:
        """Durable on return: `rounds` commits, as many of them at once as may be, each with a batch of its own."""
        free = batches[: self._in_flight]
        lent: list[Batch] = []
        asked = done = 0
        while done < rounds:
            while free and asked < rounds:
                place = self._journal.position()
                lent.append(free.pop())
                self._journal.submit(lent[-1], TIME_NS, place.next_seq, place.next_leaf)
                asked += 1
            os.eventfd_read(self._event_fd)
            while (result := self._journal.take()) is not None:
                result.check()
                free.append(lent.pop(0))
                done += 1

    def close(self) -> None:
        """Stops the threads, lets go of everything."""
        self._journal.close()
        self._tree.close()
        os.close(self._event_fd)


@contextmanager
def both_sides(directory: Path, in_flight: int) -> Iterator[tuple[Appender, int]]:
    """A journal, and the descriptor of a plain file on the same file system."""
    plain = os.open(directory / "plain", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    (directory / "log").mkdir()
    appender = Appender(directory / "log", in_flight)
    try:
        yield appender, plain
    finally:
        appender.close()
        os.close(plain)


def batch_of(count: int) -> Batch:
    """One request of `count` digests."""
    batch = Batch(8 * MIB)
    spec = LeafSpec(kind=1, algorithm=1, key_id=bytes(32), scope=bytes(32))
    batch.request(1, bytes(400), spec, bytes(range(32)), b"", bytes(32) * count, count)
    return batch


@pytest.mark.parametrize("count", [1, 100, 10_000], ids=lambda count: f"{count} digests")
def test_append_and_commit(ratio: Ratios, tiny: bool, tmp_path: Path, count: int) -> None:
    """Batches with one request of `count` digests, durable, leaves in the tree, against their bytes to a plain file."""
    target = Target(ratio_min=NEEDED) if count == 10_000 else None
    race(ratio, tiny, tmp_path, f"append and commit, {count} digests", count, b"", target)


def test_with_the_bytes_of_the_tree(ratio: Ratios, tiny: bool, tmp_path: Path) -> None:
    """The largest batch against as many bytes as it gives to the disk in all: its frames, and two nodes a leaf.

    The tree's bytes need not be durable at a commit, so the baseline does more here, where it does less above: between
    the two rows lies how near to the disk an append is.
    """
    name = "append and commit, 10000 digests, beside frames and tree"
    race(ratio, tiny, tmp_path, name, 10_000, bytes(2 * NODE * 10_000), None)


def race(ratio: Ratios, tiny: bool, directory: Path, name: str, count: int, more: bytes, target: Target | None) -> None:
    """Commits of `count` digests; the baseline writes their frames, and `more`."""
    rounds = 4 if tiny else (20 if count > 1_000 else 200)
    batches = [batch_of(count) for _ in range(IN_FLIGHT)]
    payload = bytes(batches[0].bytes) + more

    with both_sides(directory, IN_FLIGHT) as (appender, plain):

        def ours() -> None:
            appender.commit(batches, rounds)

        def theirs() -> None:
            for _ in range(rounds):
                os.write(plain, payload)
                os.fdatasync(plain)

        ratio.race(
            name,
            "commit/s",
            amount=rounds,
            product=ours,
            baseline=theirs,
            baseline_name="write + fdatasync",
            target=target,
        )
