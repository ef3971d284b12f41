"""Is a race fair: does a baseline do no more than what it stands for needs, and a side all that its name says?"""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from bench import bench_batch, bench_tree


def test_the_tree_s_baseline_hashes_each_message_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a caller would write makes the salts of two leaves with one hash, as the core does."""
    hashed: Counter[bytes] = Counter()
    sha256 = hashlib.sha256

    class Counting:
        """hashlib, which notes what it is given."""

        @staticmethod
        def sha256(message: bytes) -> object:
            """The same."""
            hashed[message] += 1
            return sha256(message)

    monkeypatch.setattr(bench_tree, "hashlib", Counting)
    leaves = bench_tree.hashlib_leaves(b"front", bytes(32), bytes(range(32)) * 5)

    assert len(leaves) == 5
    assert hashed.total() == 5 + 3


def test_the_disk_that_is_asked_for_has_room_for_a_minute_of_what_is_promised() -> None:
    """Three million items a second for a minute are no promise of a run that ends before it."""
    room = bench_batch.answers_max(bench_batch.FREE_MIN, bench_batch.ITEMS) * bench_batch.ITEMS

    assert room >= bench_batch.ITEMS_PER_S_MIN * 60
