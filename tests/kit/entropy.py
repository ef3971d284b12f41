"""Entropy from a seed: a failing run can be repeated."""

from __future__ import annotations

import hashlib
import itertools


class SeededEntropy:
    """ports.Entropy; never gives the same bytes twice."""

    def __init__(self, seed: int = 0) -> None:
        """Print the seed where a test is random."""
        self._seed = seed
        self._counter = itertools.count()

    def bytes(self, size: int) -> bytes:
        """`size` bytes that look fresh."""
        assert size > 0
        return hashlib.shake_128(b"%d:%d" % (self._seed, next(self._counter))).digest(size)
