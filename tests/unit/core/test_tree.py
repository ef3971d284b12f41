"""Does the tree agree with the words of RFC 6962, for every size that fits into a test and under every CPU mask?

Method: `reference.ReferenceTree` is the definition. Paths of all leaves of a size are laid end to end by C and compared
as one text. Proofs are compared under every mask; the C verifier sees all of them with the best and with the portable
kernel, and a share of them under each other mask.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Callable
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from kit.cpu import cpu_masks, mask_name, only
from sealpress.core import merkle, reference
from sealpress.core._native import ffi, lib
from sealpress.core.merkle import Tree
from sealpress.core.reference import ReferenceTree
from sealpress.errors import CoreError

SIZE = 1100
SMALL = 130
PAIRS = 20_000
LEAVES = [hashlib.sha256(b"leaf %d" % i).digest() for i in range(SIZE)]
ARENA = b"".join(LEAVES)
REFERENCE = ReferenceTree(LEAVES)
VECTORS = Path(__file__).parents[2] / "vectors" / "rfc6962"
FULL = {0, cpu_masks()[-1]}

masks = pytest.mark.parametrize("mask", cpu_masks(), ids=mask_name)


@cache
def tree_of(mask: int) -> Tree:
    """A tree in memory, appended under `mask` in uneven pieces."""
    tree, source, at = Tree(), random.Random(mask), 0
    with only(mask):
        while at < SIZE:
            count = source.choice([0, 1, 2, 3, 7, 64, 100])
            tree.append(ARENA[32 * at : 32 * min(at + count, SIZE)])
            at += count
    return tree


def all_paths(start: int, end: int) -> list[bytes]:
    """The inclusion paths of all leaves of D[start:end]: RFC 6962's PATH for each of them."""
    if start + 1 == end:
        return [b""]
    middle = start + (1 << ((end - start - 1).bit_length() - 1))
    left, right = REFERENCE.mth(start, middle), REFERENCE.mth(middle, end)
    return [path + right for path in all_paths(start, middle)] + [path + left for path in all_paths(middle, end)]


def verifies(index: int, size: int, path: bytes) -> bool:
    """The C verifier, without the skin."""
    return bool(lib.sp_verify_inclusion(LEAVES[index], index, size, path, len(path) // 32, REFERENCE.root(size)) == 0)


@cache
def random_pairs() -> list[tuple[int, int]]:
    """(old, new) with new above SMALL."""
    source = random.Random(6962)
    return [(source.randint(1, new), new) for new in source.choices(range(SMALL + 1, SIZE + 1), k=PAIRS)]


@cache
def random_ranges() -> list[tuple[int, int, int]]:
    """(first, count, size) with size above SMALL."""
    source, out = random.Random(9162), []
    for size in source.choices(range(SMALL + 1, SIZE + 1), k=PAIRS):
        first = source.randrange(size)
        out.append((first, source.randint(1, size - first), size))
    return out


@masks
def test_roots_and_nodes(mask: int) -> None:
    """Roots of all sizes, from stored levels, in one pass and from the frontier, are MTH; so is every complete node."""
    tree = tree_of(mask)
    with only(mask):
        for size in range(SIZE + 1):
            root = REFERENCE.root(size)
            assert tree.root(size) == root
            assert merkle.merkle_root(ARENA[: 32 * size]) == root
            assert merkle.frontier_root(tree.frontier(size)) == root
    for level in range(11):
        for index in range(SIZE >> level):
            assert tree.node(level, index) == REFERENCE.mth(index << level, (index + 1) << level)


def test_every_inclusion_path() -> None:
    """For every size up to 1,100, every index and every CPU mask: the path is RFC 6962's, and it verifies."""
    out, count, inclusion = ffi.new("uint8_t[]", SIZE * 64 * 32), ffi.new("uint32_t *"), lib.sp_tree_inclusion
    for size in range(1, SIZE + 1):
        expected = all_paths(0, size)
        together, ends = b"".join(expected), list(accumulate(map(len, expected), initial=0))
        places = [(index, out + end) for index, end in enumerate(ends[:-1])]
        for mask in cpu_masks():
            with only(mask):
                tree = tree_of(mask).pointer
                hashes = 0
                for index, place in places:
                    inclusion(tree, index, size, place, count)
                    hashes += count[0]
                assert (hashes * 32, ffi.buffer(out, ends[-1])[:]) == (ends[-1], together)
                step = 1 if mask in FULL else 32
                assert all(verifies(index, size, expected[index]) for index in range(size % step, size, step))


def test_the_reference_is_recursive_in_one_place_only() -> None:
    """`all_paths` gives what ReferenceTree.inclusion gives."""
    for size in [*range(1, SMALL + 1), 511, 512, 513, 1023, 1024, 1025, SIZE]:
        assert all_paths(0, size) == [REFERENCE.inclusion(index, size) for index in range(size)]


@masks
def test_consistency(mask: int) -> None:
    """All pairs of sizes up to 130 and 20,000 pairs above: the proof is RFC 6962's, and it verifies."""
    tree = tree_of(mask)
    small = [(old, new) for new in range(SMALL + 1) for old in range(new + 1)]
    with only(mask):
        for position, (old, new) in enumerate(small + random_pairs()):
            path = tree.consistency(old, new)
            assert path == REFERENCE.consistency(old, new)
            if old > 0 and (mask in FULL or position % 4 == 0):
                assert merkle.verify_consistency(old, new, REFERENCE.root(old), REFERENCE.root(new), path)


@masks
def test_growth_of_the_frontier(mask: int) -> None:
    """All pairs up to 130 and a share of the others: the growth leads from one frontier to the other, and proves it."""
    tree = tree_of(mask)
    small = [(old, new) for new in range(SMALL + 1) for old in range(new + 1)]
    with only(mask):
        for old, new in small + random_pairs()[::10]:
            path = tree.growth(old, new)
            assert path == REFERENCE.growth(old, new)
            found = merkle.frontier_advance(old, tree.frontier(old), new, path, REFERENCE.root(new))
            assert found == REFERENCE.growth(0, new)


@masks
def test_range_proofs(mask: int) -> None:
    """All ranges of all sizes up to 130 and 20,000 above have the two edges that DESIGN 6 defines."""
    tree, left, right = tree_of(mask).pointer, ffi.new("uint8_t[2048]"), ffi.new("uint8_t[2048]")
    lefts, rights = ffi.new("uint32_t *"), ffi.new("uint32_t *")
    with only(mask):
        for first, count, size in small_ranges() + random_ranges():
            assert lib.sp_tree_range(tree, first, count, size, left, lefts, right, rights) == 0
            found = ffi.buffer(left, 32 * lefts[0])[:], ffi.buffer(right, 32 * rights[0])[:]
            assert found == range_proof(first, count, size)


@cache
def small_ranges() -> list[tuple[int, int, int]]:
    """All (first, count, size) up to SMALL."""
    sizes = range(1, SMALL + 1)
    return [(first, count, size) for size in sizes for first in range(size) for count in range(1, size - first + 1)]


@cache
def range_proof(first: int, count: int, size: int) -> tuple[bytes, bytes]:
    """The reference's answer, once for all masks."""
    return REFERENCE.range(first, count, size)


@masks
def test_ranges_verify_and_expand(mask: int) -> None:
    """A range folds to the root, and the path of each of its items is the inclusion path."""
    share = 1 if mask == cpu_masks()[-1] else 40
    with only(mask):
        for first, count, size in (
            small_ranges()[mask % share :: 4 * share] + random_ranges()[mask % share :: 4 * share]
        ):
            left, right = range_proof(first, count, size)
            leaves = ARENA[32 * first : 32 * (first + count)]
            range_ = merkle.Range(leaves, first, size, left, right, REFERENCE.root(size))
            for position in {0, count // 2, count - 1}:
                assert range_.path(position) == REFERENCE.inclusion(first + position, size)


def vectors(kind: str) -> list[Any]:
    """All files of one kind, as parameters named by their path."""
    paths = sorted((VECTORS / kind).rglob("*.json"))
    assert len(paths) > 50
    return [pytest.param(json.loads(path.read_text()), id=str(path.relative_to(VECTORS))) for path in paths]


def hashes_of(data: dict[str, Any]) -> bytes:
    """The proof of a vector, end to end. A hash that is empty there, as garbage, is zeros here."""
    return b"".join(base64.b64decode(hash_).ljust(32, b"\0") for hash_ in data["proof"] or [])


@pytest.mark.parametrize("data", vectors("inclusion"))
def test_published_inclusion(data: dict[str, Any]) -> None:
    """transparency-dev's inclusion proofs, good and bad, under every mask and by the reference."""
    leaf_hash, root, path = base64.b64decode(data["leafHash"]), base64.b64decode(data["root"]), hashes_of(data)
    for mask in cpu_masks():
        with only(mask):
            found = merkle.verify_inclusion(leaf_hash, data["leafIdx"], data["treeSize"], path, root)
            assert found is not data["wantErr"]

    assert reference.verify_inclusion(leaf_hash, data["leafIdx"], data["treeSize"], path, root) is not data["wantErr"]


@pytest.mark.parametrize("data", vectors("consistency"))
def test_published_consistency(data: dict[str, Any]) -> None:
    """transparency-dev's consistency proofs, good and bad, under every mask and by the reference."""
    first, second, path = base64.b64decode(data["root1"]), base64.b64decode(data["root2"]), hashes_of(data)
    for mask in cpu_masks():
        with only(mask):
            assert merkle.verify_consistency(data["size1"], data["size2"], first, second, path) is not data["wantErr"]

    assert reference.verify_consistency(data["size1"], data["size2"], first, second, path) is not data["wantErr"]


def test_ranges_refuse_what_is_not_exactly_them() -> None:
    """A missing, extra, changed or swapped hash, another place, size, leaf or root: SP_E_MISMATCH or out of bounds."""
    first, count, size = 5, 20, 77
    left, right = REFERENCE.range(first, count, size)
    leaves, root = ARENA[32 * first : 32 * (first + count)], REFERENCE.root(size)
    good: dict[str, Any] = {
        "leaf_hashes": leaves, "first": first, "size": size, "left": left, "right": right, "root": root,
    }  # fmt: skip
    assert merkle.Range(**good).count == count
    bad: list[dict[str, Any]] = [
        {"left": left + bytes(32)}, {"right": right + bytes(32)}, {"left": left[32:]}, {"right": right[:-32]},
        {"left": right, "right": left}, {"left": left[:-1]}, {"leaf_hashes": leaves[32:]}, {"leaf_hashes": b""},
        {"first": first + 1}, {"first": size}, {"first": size - 1}, {"size": 2 * size}, {"size": first + count},
        {"size": 0}, {"size": 1 << 63}, {"size": 1 << 64}, {"first": (1 << 64) - 1}, {"root": bytes(32)},
        {"root": b""}, {"leaf_hashes": leaves[:-1] + bytes([leaves[-1] ^ 1])},
    ]  # fmt: skip
    for change in bad:
        with pytest.raises(CoreError) as caught:
            merkle.Range(**{**good, **change})
        assert caught.value.name in {"SP_E_MISMATCH", "SP_E_BOUNDS"}


def test_readers_refuse_what_is_not_there() -> None:
    """Sizes, indices and stretches outside the tree are SP_E_BOUNDS, never a read."""
    tree = Tree()
    tree.append(ARENA[: 32 * 10])
    asks: list[Callable[[], object]] = [
        lambda: tree.root(11),
        lambda: tree.node(0, 10),
        lambda: tree.node(4, 0),
        lambda: tree.node(64, 0),
        lambda: tree.node(1 << 32, 0),
        lambda: tree.inclusion(10, 10),
        lambda: tree.inclusion(0, 0),
        lambda: tree.inclusion(0, 11),
        lambda: tree.consistency(3, 11),
        lambda: tree.consistency(4, 3),
        lambda: tree.growth(4, 3),
        lambda: tree.frontier(-1),
        lambda: tree.range(0, 0, 10),
        lambda: tree.range(5, 6, 10),
        lambda: tree.range((1 << 63) - 1, 2, 10),
        lambda: tree.reserve(1 << 40),
        lambda: tree.append(bytes(33)),
        lambda: merkle.frontier_root(bytes(65 * 32)),
        lambda: merkle.frontier_advance(3, bytes(32), 4, bytes(32), bytes(32)),
    ]
    for ask in asks:
        with pytest.raises(CoreError) as caught:
            ask()
        assert caught.value.name == "SP_E_BOUNDS"
    assert tree.size == 10


def test_what_does_not_verify_is_false() -> None:
    """Hostile shapes are an answer, not an error."""
    leaf, root = LEAVES[0], REFERENCE.root(4)
    path = REFERENCE.inclusion(0, 4)
    assert merkle.verify_inclusion(leaf, 0, 4, path, root)
    for index, size, wrong in [(1, 4, path), (0, 4, path[:-1]), (4, 4, path), (0, 1 << 64, path), (-1, 4, path)]:
        assert not merkle.verify_inclusion(leaf, index, size, wrong, root)
    assert not merkle.verify_inclusion(leaf, 0, 1 << 63, bytes(32 * 64), root)
    assert not merkle.verify_inclusion(leaf[:-1], 0, 4, path, root)
    assert not merkle.verify_consistency(0, 4, merkle.EMPTY_ROOT, root, b"")
    assert not merkle.verify_consistency(4, 4, root, root, bytes(32))
    assert not merkle.verify_consistency(3, 1 << 63, root, root, bytes(32 * 64))


def test_a_closed_tree_refuses() -> None:
    """Use after close raises instead of reading freed memory."""
    tree = Tree()
    tree.close()
    tree.close()
    with pytest.raises(CoreError):
        tree.append(bytes(32))
