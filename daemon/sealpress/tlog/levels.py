"""Compares the files in tree/ with leaf hashes that were made again from the records.

A node file is right in a whole subtree if its hashes there fold to the subtree's root: two different rows of hashes
with one root would be a collision. So each level costs one call per chunk, not one per node.

Guarantees: names the first level and node that differ, in order of leaves. Does not: change files, or read nodes of
subtrees that are not whole (they are not stored).
"""

from __future__ import annotations

import os
from pathlib import Path

from sealpress.core.merkle import merkle_root
from sealpress.tlog.compact import HASH, aligned_parts, node_hash

CHUNK_LEVEL = 16
CHUNK = 1 << CHUNK_LEVEL


class LevelFiles:
    """Fed with leaf hashes in order; `bad` is the first (level, index) that differs."""

    def __init__(self, directory: Path) -> None:
        """`directory` is the log's tree/; without it there is nothing to compare."""
        self.present = directory.is_dir()
        self.bad: tuple[int, int] | None = None
        self._directory = directory
        self._files: dict[int, int] = {}
        self._leaves = bytearray()
        self._first = 0  # index of the first leaf in _leaves
        self._tops: list[tuple[int, int, bytes]] = []  # (level, index, hash) of whole subtrees above the chunks

    def append(self, leaf_hashes: bytes) -> None:
        """Compare what has become a whole chunk."""
        if not self.present or self.bad is not None:
            return
        self._leaves += leaf_hashes
        while len(self._leaves) >= CHUNK * HASH and self.bad is None:
            self._compare(CHUNK_LEVEL, self._first >> CHUNK_LEVEL, bytes(self._leaves[: CHUNK * HASH]))
            del self._leaves[: CHUNK * HASH]
            self._first += CHUNK

    def finish(self) -> None:
        """Compare the rest, and close the files."""
        at = 0
        if self.present and self.bad is None:
            for level, index in aligned_parts(self._first, len(self._leaves) // HASH):
                part = bytes(self._leaves[at : at + (HASH << level)])
                at += HASH << level
                self._compare(level, index, part)
                if self.bad is not None:
                    break
        for file in self._files.values():
            if file >= 0:
                os.close(file)
        self._files.clear()

    def _compare(self, level: int, index: int, leaves: bytes) -> None:
        """One whole subtree of leaf hashes, at every level of it; then the nodes above that became whole."""
        root = merkle_root(leaves) if level else leaves
        for below in range(level + 1):
            row = self._read(below, index << (level - below), 1 << (level - below))
            if row is None or (merkle_root(row) if level > below else row) != root:
                self.bad = self._narrow(below, level, index, leaves, row)
                return
        if level < CHUNK_LEVEL:
            return  # the right end: what is above it is not whole
        node = (level, index, root)
        while node[1] & 1:
            left = self._tops.pop()
            node = (node[0] + 1, node[1] >> 1, node_hash(left[2], node[2]))
            if self._read(node[0], node[1], 1) != node[2]:
                self.bad = node[:2]
                return
        self._tops.append(node)

    def _narrow(self, below: int, level: int, index: int, leaves: bytes, row: bytes | None) -> tuple[int, int]:
        first = index << (level - below)
        if row is None:
            return below, first
        size = HASH << below
        for at in range(1 << (level - below)):
            part = leaves[at * size : (at + 1) * size]
            if (merkle_root(part) if below else part) != row[at * HASH : (at + 1) * HASH]:
                return below, first + at
        return below, first

    def _read(self, level: int, first: int, count: int) -> bytes | None:
        file = self._files.get(level)
        if file is None:
            try:
                file = os.open(self._directory / f"level-{level:02}", os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                file = -1
            self._files[level] = file
        if file < 0:
            return None
        row = os.pread(file, count * HASH, first * HASH)
        return row if len(row) == count * HASH else None
