"""How quick is the tree beside the same tree built with a loop over hashlib?"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from bench.run import Target
from sealpress.core import digests, leaf, merkle

if TYPE_CHECKING:
    from bench.harness import Ratios


def has_avx512() -> bool:
    """Whether the widest kernel may run: what is promised is promised with it."""
    names = [digests.cpu_feature_name(1 << place) for place in range(32) if digests.cpu_features() >> place & 1]
    return "avx512" in names


def hashlib_root(leaf_hashes: bytes) -> bytes:
    """RFC 6962 root, level by level; the last node without a sibling rises unchanged."""
    level = [leaf_hashes[at : at + 32] for at in range(0, len(leaf_hashes), 32)]
    while len(level) > 1:
        above = [hashlib.sha256(b"\x01" + level[at] + level[at + 1]).digest() for at in range(0, len(level) - 1, 2)]
        level = above + level[len(above) * 2 :]
    return level[0]


def hashlib_leaves(front: bytes, seed: bytes, column: bytes) -> list[bytes]:
    """Leaf hashes of a column of digests; one hash has the salts of two leaves."""
    hashes = []
    for place in range(len(column) // 32):
        if place % 2 == 0:
            salts = hashlib.sha256(seed + (place // 2).to_bytes(4, "big")).digest()
            salt = salts[:16]
        else:
            salt = salts[16:]
        hashes.append(hashlib.sha256(front + salt + column[32 * place : 32 * place + 32]).digest())
    return hashes


def test_append_and_root(ratio: Ratios, tiny: bool) -> None:
    """Leaf hashes into an empty tree with all levels stored, and its root, against a hashlib loop for the root."""
    count = 1_000 if tiny else 300_001
    hashes = b"".join(hashlib.sha256(place.to_bytes(8, "big")).digest() for place in range(count))

    def ours() -> bytes:
        tree = merkle.Tree()
        tree.append(hashes)
        try:
            return tree.root()
        finally:
            tree.close()

    assert ours() == hashlib_root(hashes)
    ratio.race(
        "tree: append and root",
        "M/s",
        amount=count / 1e6,
        product=ours,
        baseline=lambda: hashlib_root(hashes),
        baseline_name="hashlib loop",
    )


def test_leaves_into_the_tree(ratio: Ratios, tiny: bool) -> None:
    """Requests of 10,000 digests to salted leaf hashes to the tree and its root, against the same with hashlib.

    Two messages per leaf are hashed and a half one for its salt: one block, two blocks and a half one. The first row is
    those hashes and nothing else: its ratio is what no tree can pass, and the difference of the two rows' times is what
    storing costs; of that the kernel's clearing of fresh memory, 64 bytes for each leaf, is the larger part.
    """
    requests, count = (2, 500) if tiny else (30, 10_000)
    seeds = [hashlib.sha256(bytes([request])).digest() for request in range(requests)]
    column = b"".join(hashlib.sha256(place.to_bytes(8, "big")).digest() for place in range(count))
    spec = leaf.LeafSpec(kind=1, algorithm=1, key_id=bytes(32), scope=bytes(32), time=1)
    front = b"\x00sealpress/leaf\x00\x01\x01\x00" + bytes(64) + b"\x01" + bytes(4) + (1).to_bytes(8, "big") + bytes(32)

    def ours() -> bytes:
        tree = merkle.Tree()
        try:
            for seed in seeds:
                tree.append(leaf.leaf_hashes(spec, seed, column, count))
            return tree.root()
        finally:
            tree.close()

    def theirs() -> bytes:
        return hashlib_root(b"".join(hash_ for seed in seeds for hash_ in hashlib_leaves(front, seed, column)))

    def hashes_alone() -> None:
        for seed in seeds:
            merkle.merkle_root(leaf.leaf_hashes(spec, seed, column, count))

    assert ours() == theirs()
    promise = Target(value_min=10, ratio_min=30) if has_avx512() else None
    rows = (("the same hashes, not stored", hashes_alone, None), ("requests of 10,000 into the tree", ours, promise))
    for name, product, target in rows:
        ratio.race(
            name,
            "M/s",
            amount=requests * count / 1e6,
            product=product,
            baseline=theirs,
            baseline_name="hashlib loop",
            target=target,
        )
