"""How quick are digests of many buffers beside a loop over hashlib?"""

from __future__ import annotations

import hashlib
from itertools import accumulate
from typing import TYPE_CHECKING

import pytest

from sealpress.core import digests

if TYPE_CHECKING:
    from bench.harness import Ratios

KIB, MIB = 1 << 10, 1 << 20
NAMES = {1: "sha256", 2: "sha384", 3: "sha512"}


@pytest.mark.parametrize("algorithm", NAMES, ids=NAMES.get)
@pytest.mark.parametrize("size", [4 * KIB, 64 * KIB, MIB])
def test_documents(ratio: Ratios, tiny: bool, algorithm: int, size: int) -> None:
    """Documents as an array of pointers, against one hashlib object per document."""
    total = 256 * KIB if tiny else 32 * MIB
    documents = [bytes([place % 251]) * size for place in range(max(2, total // size))]
    make = getattr(hashlib, NAMES[algorithm])

    def ours() -> bytes:
        return digests.digest_many(algorithm, documents)

    def theirs() -> bytes:
        return b"".join(make(document).digest() for document in documents)

    assert ours() == theirs()
    ratio.race(
        f"{NAMES[algorithm]}, {size // KIB} KiB buffers",
        "GB/s",
        amount=size * len(documents) / 1e9,
        product=ours,
        baseline=theirs,
        baseline_name="hashlib loop",
    )


def test_small_items(ratio: Ratios, tiny: bool) -> None:
    """Items of 48 bytes in one arena, against one hashlib object per item."""
    count = 1_000 if tiny else 500_000
    arena = bytes(range(48)) * count
    ends = list(accumulate([48] * count))

    def ours() -> bytes:
        return digests.digest_arena(1, arena, ends)

    def theirs() -> bytes:
        return b"".join(hashlib.sha256(arena[end - 48 : end]).digest() for end in ends)

    assert ours() == theirs()
    ratio.race(
        "sha256, 48-byte items in an arena",
        "M/s",
        amount=count / 1e6,
        product=ours,
        baseline=theirs,
        baseline_name="hashlib loop",
    )


def test_crc32c(ratio: Ratios, tiny: bool) -> None:
    """CRC-32C with the processor's instruction, against the table of the same core."""
    data = bytes(64 * KIB if tiny else 64 * MIB)

    def table() -> int:
        before = digests.set_cpu_mask(0)
        try:
            return digests.crc32c(data)
        finally:
            digests.set_cpu_mask(before)

    assert digests.crc32c(data) == table()
    ratio.race(
        "crc32c",
        "GB/s",
        amount=len(data) / 1e9,
        product=lambda: digests.crc32c(data),
        baseline=table,
        baseline_name="table",
    )
