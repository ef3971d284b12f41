"""Does a baseline do no more than what it stands for needs?"""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from bench import bench_tree


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
