"""The RFC 6962 tree of the log: stored levels, proofs from them, and the verification of proofs.

Hashes travel end to end: 32 bytes each, leaf to root in paths, largest subtree first in frontiers.

Guarantees: readers may work on any thread beside one appender, for sizes up to `Tree.size`; a proof that does not
verify is False, whatever its shape. Does not: hash leaves (`leaf`), parse texts (`proof`), decide what to trust.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sealpress.core._native import ffi, lib
from sealpress.core.arguments import c_path
from sealpress.core.status import check, statuses

HASH_SIZE = 32
SIZE_MAX = 1 << 63
NODES_MAX = 1 << 16  # of one `Tree.nodes`
EMPTY_ROOT = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")

_STATUS = statuses()
_UNTRUE = frozenset({_STATUS["SP_E_MISMATCH"], _STATUS["SP_E_BOUNDS"]})
_PATH = "uint8_t[2048]"  # 64 hashes
_GROWTH = "uint8_t[4096]"  # 128 hashes


def _count(hashes: bytes) -> int:
    """How many hashes; a ragged length is the core's SP_E_BOUNDS."""
    if len(hashes) % HASH_SIZE:
        check(_STATUS["SP_E_BOUNDS"])
    return len(hashes) // HASH_SIZE


def _one(hash_: bytes) -> bytes:
    """Exactly one hash."""
    if len(hash_) != HASH_SIZE:
        check(_STATUS["SP_E_BOUNDS"])
    return hash_


def _sizes(*sizes: int) -> None:
    """What C takes as sizes and indices."""
    if not all(0 <= size <= SIZE_MAX for size in sizes):
        check(_STATUS["SP_E_BOUNDS"])


class Tree:
    """An append-only tree with every complete node stored: in `directory`, or in memory.

    A fresh handle is empty whatever the files hold; `adopt` takes what they hold. Not to be closed while a journal or
    a reader on another thread uses it.
    """

    def __init__(self, directory: Path | None = None, disk: Any = None) -> None:
        """Makes the directory if it is missing; touches no level file. `disk`: as `core.journal.Journal` takes it."""
        slot = ffi.new("sp_tree **")
        name = ffi.NULL if directory is None else c_path(directory)
        table = lib.sp_disk_linux() if disk is None else ffi.cast("const sp_disk *", disk)
        check(lib.sp_tree_open(table, name, slot))
        self._tree: Any = ffi.gc(slot[0], lib.sp_tree_free)

    @property
    def pointer(self) -> Any:
        """The C object, for the journal; keep this Tree alive as long as it is used."""
        if self._tree is None:
            check(_STATUS["SP_E_ARGUMENT"])
        return self._tree

    def close(self) -> None:
        """Unmaps and closes; further use raises. Does not sync."""
        if self._tree is not None:
            ffi.release(self._tree)
            self._tree = None

    def adopt(self, size: int, root: bytes) -> None:
        """Trusts the stored levels to `size` if their right edge gives `root`; else SP_E_MISMATCH and still empty."""
        _sizes(size)
        check(lib.sp_tree_adopt(self.pointer, size, _one(root)))

    def reserve(self, count: int) -> None:
        """Room for `count` more leaves, so that appending them cannot fail; SP_E_FULL if the disk has none."""
        _sizes(count)
        check(lib.sp_tree_reserve(self.pointer, count))

    def append(self, leaf_hashes: bytes) -> None:
        """Appends all of them, or none if there is no room."""
        check(lib.sp_tree_append(self.pointer, ffi.from_buffer(leaf_hashes), _count(leaf_hashes)))

    def sync(self) -> None:
        """Makes durable what was appended. After one failure every later call fails: SP_E_FAILED."""
        check(lib.sp_tree_sync(self.pointer))

    @property
    def size(self) -> int:
        """Leaves that readers may ask for."""
        return int(lib.sp_tree_size(self.pointer))

    def root(self, size: int | None = None) -> bytes:
        """Root of the first `size` leaves, by default of all."""
        size = self.size if size is None else size
        _sizes(size)
        out = ffi.new("uint8_t[32]")
        check(lib.sp_tree_root(self.pointer, size, out))
        return bytes(ffi.buffer(out))

    def node(self, level: int, index: int) -> bytes:
        """A complete node; level 0 holds the leaf hashes."""
        _sizes(level, index)
        out = ffi.new("uint8_t[32]")
        check(lib.sp_tree_node(self.pointer, min(level, 0xFFFFFFFF), index, out))
        return bytes(ffi.buffer(out))

    def nodes(self, level: int, first: int, count: int) -> bytes:
        """`count` complete neighbours of one level, end to end, as in the mapped file; SP_E_BOUNDS if not there."""
        _sizes(level, first, count)
        if not 0 < count <= NODES_MAX:
            check(_STATUS["SP_E_BOUNDS"])
        out = ffi.new("uint8_t[]", HASH_SIZE * count)
        check(lib.sp_tree_nodes(self.pointer, min(level, 0xFFFFFFFF), first, count, out))
        return bytes(ffi.buffer(out))

    def cool(self, first: int, end: int) -> None:
        """The nodes over these synced leaves will not be asked for soon: their memory may be had back. Any thread."""
        _sizes(first, end)
        check(lib.sp_tree_cool(self.pointer, first, end))

    def frontier(self, size: int) -> bytes:
        """The complete subtrees that make up the first `size` leaves, largest first."""
        return self.growth(0, size)

    def growth(self, old_size: int, new_size: int) -> bytes:
        """The complete subtrees that lead from `old_size` to `new_size`: the `path` of `frontier_advance`."""
        _sizes(old_size, new_size)
        out, count = ffi.new(_GROWTH), ffi.new("uint32_t *")
        check(lib.sp_tree_growth(self.pointer, old_size, new_size, out, count))
        return bytes(ffi.buffer(out, HASH_SIZE * count[0]))

    def inclusion(self, index: int, size: int) -> bytes:
        """Path of leaf `index` to the root of the first `size` leaves."""
        _sizes(index, size)
        out, count = ffi.new(_PATH), ffi.new("uint32_t *")
        check(lib.sp_tree_inclusion(self.pointer, index, size, out, count))
        return bytes(ffi.buffer(out, HASH_SIZE * count[0]))

    def consistency(self, old_size: int, new_size: int) -> bytes:
        """RFC 6962 consistency proof; empty from size 0 and between equal sizes."""
        _sizes(old_size, new_size)
        out, count = ffi.new(_PATH), ffi.new("uint32_t *")
        check(lib.sp_tree_consistency(self.pointer, old_size, new_size, out, count))
        return bytes(ffi.buffer(out, HASH_SIZE * count[0]))

    def range(self, first: int, count: int, size: int) -> tuple[bytes, bytes]:
        """The range proof (left, right) of leaves [first, first + count) in the first `size` leaves."""
        _sizes(first, count, size)
        left, right = ffi.new(_PATH), ffi.new(_PATH)
        lefts, rights = ffi.new("uint32_t *"), ffi.new("uint32_t *")
        check(lib.sp_tree_range(self.pointer, first, count, size, left, lefts, right, rights))
        return bytes(ffi.buffer(left, HASH_SIZE * lefts[0])), bytes(ffi.buffer(right, HASH_SIZE * rights[0]))


def merkle_root(leaf_hashes: bytes) -> bytes:
    """Root over leaf hashes, without storing anything."""
    out = ffi.new("uint8_t[32]")
    check(lib.sp_merkle_root(ffi.from_buffer(leaf_hashes), _count(leaf_hashes), out))
    return bytes(ffi.buffer(out))


def _holds(status: int) -> bool:
    """Untrue is an answer, anything else is an error."""
    if status in _UNTRUE:
        return False
    check(status)
    return True


def _shaped(path: bytes, hashes: tuple[bytes, ...], sizes: tuple[int, ...]) -> bool:
    """Whether C may be asked at all."""
    return (
        len(path) % HASH_SIZE == 0
        and len(path) <= 64 * HASH_SIZE
        and all(len(hash_) == HASH_SIZE for hash_ in hashes)
        and all(0 <= size <= SIZE_MAX for size in sizes)
    )


def verify_inclusion(leaf_hash: bytes, index: int, size: int, path: bytes, root: bytes) -> bool:
    """Whether `path` leads from the leaf at `index` to `root` and every hash of it is used."""
    return _shaped(path, (leaf_hash, root), (index, size)) and _holds(
        lib.sp_verify_inclusion(leaf_hash, index, size, path, len(path) // HASH_SIZE, root)
    )


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, path: bytes) -> bool:
    """Whether the tree of `new_root` begins with that of `old_root`. From size 0 nothing is proved: False."""
    return _shaped(path, (old_root, new_root), (old_size, new_size)) and _holds(
        lib.sp_verify_consistency(old_size, new_size, old_root, new_root, path, len(path) // HASH_SIZE)
    )


def frontier_advance(old_size: int, old_frontier: bytes, new_size: int, path: bytes, new_root: bytes) -> bytes:
    """The frontier of `new_size`, if `path` (`Tree.growth`) leads there and its root is `new_root`.

    Folding the new root from the old frontier proves consistency. CoreError SP_E_MISMATCH if it is another tree.
    """
    _sizes(old_size, new_size)
    out, count = ffi.new(_PATH), ffi.new("uint32_t *")
    status = lib.sp_frontier_advance(
        old_size, old_frontier, _count(old_frontier), new_size, path, _count(path), _one(new_root), out, count
    )
    check(status)
    return bytes(ffi.buffer(out, HASH_SIZE * count[0]))


def frontier_root(frontier: bytes) -> bytes:
    """The root that a frontier folds to; EMPTY_ROOT for none."""
    out = ffi.new("uint8_t[32]")
    check(lib.sp_frontier_root(frontier, _count(frontier), out))
    return bytes(ffi.buffer(out))


class Range:
    """Leaf hashes [first, first + count) that fold with `left` and `right` to `root`: verified when it exists."""

    def __init__(self, leaf_hashes: bytes, first: int, size: int, left: bytes, right: bytes, root: bytes) -> None:
        """CoreError SP_E_MISMATCH unless every hash is used and the root is met."""
        _sizes(first, size)
        self.first = first
        self.count = _count(leaf_hashes)
        slot = ffi.new("sp_range **")
        status = lib.sp_range_new(
            ffi.from_buffer(leaf_hashes), first, self.count, size, left, _count(left), right, _count(right),
            _one(root), slot,
        )  # fmt: skip
        check(status)
        self.pointer: Any = ffi.gc(slot[0], lib.sp_range_free)

    def path(self, position: int) -> bytes:
        """Inclusion path of item `position`, counted from the first of the range."""
        _sizes(position)
        out, count = ffi.new(_PATH), ffi.new("uint32_t *")
        check(lib.sp_range_path(self.pointer, position, out, count))
        return bytes(ffi.buffer(out, HASH_SIZE * count[0]))
