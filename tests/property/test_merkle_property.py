"""Do C and reference say the same of every tree, and of every proof, true or not?"""

from __future__ import annotations

import hashlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kit.cpu import cpu_masks, only
from sealpress.core import merkle, reference
from sealpress.core.merkle import Tree
from sealpress.core.reference import ReferenceTree
from sealpress.errors import CoreError

SIZE = 2100
LEAVES = [hashlib.sha256(b"property %d" % i).digest() for i in range(SIZE)]
ARENA = b"".join(LEAVES)
REFERENCE = ReferenceTree(LEAVES)

sizes = st.integers(1, SIZE) | st.integers(0, 11).flatmap(
    lambda k: st.integers(max(1, (1 << k) - 2), min(SIZE, (1 << k) + 2))
)
masks = st.sampled_from(cpu_masks())
hashes = st.sampled_from([*LEAVES[:5], bytes(32)])


def changed(path: bytes, data: st.DataObject) -> bytes:
    """The path, or something near it."""
    parts = reference.split(path)
    kind = data.draw(st.sampled_from(["same", "flip", "drop", "add", "swap", "replace"]))
    if kind == "add":
        parts.insert(data.draw(st.integers(0, len(parts))), data.draw(hashes))
    elif parts and kind != "same":
        at = data.draw(st.integers(0, len(parts) - 1))
        if kind == "flip":
            bit = data.draw(st.integers(0, 255))
            parts[at] = (int.from_bytes(parts[at]) ^ 1 << bit).to_bytes(32)
        if kind == "drop":
            del parts[at]
        if kind == "swap":
            parts[0], parts[at] = parts[at], parts[0]
        if kind == "replace":
            parts[at] = data.draw(hashes)
    return b"".join(parts)


def near(value: int, data: st.DataObject) -> int:
    """The number, or another."""
    steps = st.sampled_from([0, 0, 0, 1, -1, 2, -2, value, -value, 1 << 31, 1 << 62])
    return max(0, value + data.draw(steps))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 700), max_size=8), masks, st.data())
def test_pieces_do_not_matter(pieces: list[int], mask: int, data: st.DataObject) -> None:
    """However the leaves arrive, root, frontier and proofs are those of the definition."""
    tree = Tree()
    with only(mask):
        for piece in pieces:
            tree.append(ARENA[32 * tree.size : 32 * min(tree.size + piece, SIZE)])
        size = data.draw(st.integers(0, tree.size))
        assert tree.root(size) == REFERENCE.root(size) == merkle.frontier_root(tree.frontier(size))
        if size > 0:
            index = data.draw(st.integers(0, size - 1))
            count = data.draw(st.integers(1, size - index))
            assert tree.inclusion(index, size) == REFERENCE.inclusion(index, size)
            assert tree.consistency(index, size) == REFERENCE.consistency(index, size)
            assert tree.range(index, count, size) == REFERENCE.range(index, count, size)
    tree.close()


@settings(max_examples=600, deadline=None)
@given(sizes, masks, st.data())
def test_inclusion_is_judged_alike(size: int, mask: int, data: st.DataObject) -> None:
    """A proof near a true one is accepted by C exactly when RFC 9162's algorithm accepts it."""
    index = data.draw(st.integers(0, size - 1))
    path = changed(REFERENCE.inclusion(index, size), data)
    asked = (LEAVES[index], near(index, data), near(size, data), path, REFERENCE.root(size))
    with only(mask):
        assert merkle.verify_inclusion(*asked) == reference.verify_inclusion(*asked)


@settings(max_examples=600, deadline=None)
@given(sizes, masks, st.data())
def test_consistency_is_judged_alike(new: int, mask: int, data: st.DataObject) -> None:
    """The same for consistency, from size 0 on and between equal sizes too."""
    old = data.draw(st.integers(0, new))
    path = changed(REFERENCE.consistency(old, new), data)
    asked = (near(old, data), near(new, data), REFERENCE.root(old), REFERENCE.root(new), path)
    with only(mask):
        assert merkle.verify_consistency(*asked) == reference.verify_consistency(*asked)


def range_or_none(*asked: Any) -> merkle.Range | None:
    """None if it does not verify."""
    try:
        return merkle.Range(*asked)
    except CoreError:
        return None


@settings(max_examples=600, deadline=None)
@given(sizes, masks, st.data())
def test_ranges_are_judged_alike(size: int, mask: int, data: st.DataObject) -> None:
    """A range near a true one exists exactly when its rows fold as DESIGN 6 says, and then its paths are true."""
    first = data.draw(st.integers(0, size - 1))
    count = data.draw(st.integers(1, min(size - first, 200)))
    left, right = (changed(side, data) for side in REFERENCE.range(first, count, size))
    leaves = ARENA[32 * first : 32 * (first + count)]
    asked = (leaves, near(first, data), near(size, data), left, right, REFERENCE.root(size))
    with only(mask):
        range_ = range_or_none(*asked)
        assert (range_ is not None) == reference.verify_range(*asked)
        if range_ is not None:
            position = data.draw(st.integers(0, count - 1))
            path = range_.path(position)
            assert merkle.verify_inclusion(LEAVES[first + position], asked[1] + position, asked[2], path, asked[5])


@settings(max_examples=400, deadline=None)
@given(sizes, masks, st.data())
def test_a_frontier_advances_only_along_its_own_tree(new: int, mask: int, data: st.DataObject) -> None:
    """The guard's step accepts the growth of this tree and nothing near it."""
    # A root does not say its size. With another size it may fit another tree over the same hashes, which then begins
    # with the same old tree and has this very root: no fork.
    old = data.draw(st.integers(0, new))
    growth = REFERENCE.growth(old, new)
    path, size = changed(growth, data), near(new, data)
    with only(mask):
        try:
            found = merkle.frontier_advance(old, REFERENCE.growth(0, old), size, path, REFERENCE.root(new))
        except CoreError:
            found = None
        if size == new:
            assert found == (REFERENCE.growth(0, new) if path == growth else None)
        elif found is not None:
            assert (merkle.frontier_root(found), len(found)) == (REFERENCE.root(new), 32 * size.bit_count())
