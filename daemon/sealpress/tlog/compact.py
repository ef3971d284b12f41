"""A compact range: the roots of the whole subtrees of the first `size` leaves. RFC 6962, by hand, for the checker.

Guarantees: O(log n) memory; independent of the core's tree but for `merkle_root` over given leaf hashes.
Does not: make proofs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from sealpress.core.merkle import EMPTY_ROOT, merkle_root

HASH = 32


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def aligned_parts(first: int, count: int) -> Iterator[tuple[int, int]]:
    """[first, first + count) as whole subtrees: (level, index) from left to right."""
    end = first + count
    while first < end:
        level = (first & -first).bit_length() - 1 if first else 63
        level = min(level, (end - first).bit_length() - 1)
        yield level, first >> level
        first += 1 << level


class CompactRange:
    """Grows by leaf hashes; knows its root."""

    def __init__(self) -> None:
        """Empty."""
        self.size = 0
        self._nodes: list[tuple[int, bytes]] = []  # (level, hash), largest first

    def append(self, leaf_hashes: bytes) -> None:
        """Leaf hashes end to end."""
        count = len(leaf_hashes) // HASH
        at = 0
        for level, _ in aligned_parts(self.size, count):
            part = leaf_hashes[at : at + (HASH << level)]
            at += HASH << level
            self._push(level, part if level == 0 else merkle_root(part))
        self.size += count

    def root(self) -> bytes:
        """MTH of all leaves."""
        if not self._nodes:
            return EMPTY_ROOT
        root = self._nodes[-1][1]
        for _, left in reversed(self._nodes[:-1]):
            root = node_hash(left, root)
        return root

    def _push(self, level: int, node: bytes) -> None:
        while self._nodes and self._nodes[-1][0] == level:
            node = node_hash(self._nodes.pop()[1], node)
            level += 1
        self._nodes.append((level, node))
