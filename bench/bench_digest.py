"""How quick are digests of many buffers beside a loop over hashlib?

The baseline is what a caller would write: a function that makes one hashlib object per buffer and lists the digests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest

from bench.run import Target
from sealpress.core import digests

if TYPE_CHECKING:
    from bench.harness import Ratios

KIB, MIB = 1 << 10, 1 << 20
NAMES = {1: "sha256", 2: "sha384", 3: "sha512"}
MAKE = {1: hashlib.sha256, 2: hashlib.sha384, 3: hashlib.sha512}
TURNS = 25  # of 6 ms: five per cent are promised
NEVER_BELOW = 0.95

_BITS = {digests.cpu_feature_name(1 << place): 1 << place for place in range(32)}
AVX512, SHANI = _BITS.get("avx512", 0), _BITS.get("shani", 0)

algorithms = pytest.mark.parametrize("algorithm", NAMES, ids=NAMES.get)


def hashlib_many(algorithm: int, buffers: Sequence[bytes]) -> list[bytes]:
    """The baseline."""
    make = MAKE[algorithm]
    return [make(buffer).digest() for buffer in buffers]


def again(
    work: Callable[[int, Sequence[bytes]], object], algorithm: int, buffers: list[bytes], times: int
) -> Callable[[], None]:
    """The same call `times` times: a turn has to be longer than the clock's grain."""

    def turn() -> None:
        for _ in range(times):
            work(algorithm, buffers)

    return turn


def promised(algorithm: int, count: int, size: int) -> Target:
    """Never a loss; and what AVX-512 is there for, on full lanes."""
    if count < 32 or size < KIB or KIB < size < 16 * KIB or not digests.cpu_mask() & digests.cpu_features() & AVX512:
        return Target(ratio_min=NEVER_BELOW)
    return Target(ratio_min=2.0 if algorithm == 1 or size == KIB else 3.0)


def race(
    ratio: Ratios, tiny: bool, algorithm: int, count: int, size: int, note: str = "", target: Target | None = None
) -> None:
    """Races `count` buffers of `size` bytes."""
    buffers = [bytes([place % 251]) * size for place in range(count)]
    assert digests.digest_many(algorithm, buffers) == b"".join(hashlib_many(algorithm, buffers))
    times = 1 if tiny else max(1, 8 * MIB // (count * (size + 256)))
    ratio.race(
        f"{NAMES[algorithm]}, {count} x {_size(size)}{note}",
        "GB/s",
        amount=count * size * times / 1e9,
        product=again(digests.digest_many, algorithm, buffers, times),
        baseline=again(hashlib_many, algorithm, buffers, times),
        baseline_name="hashlib loop",
        turns=None if tiny else TURNS,
        target=target,
    )


def _size(size: int) -> str:
    return f"{size} B" if size < KIB else f"{size // KIB} KiB" if size < MIB else f"{size // MIB} MiB"


@algorithms
@pytest.mark.parametrize("count", [1, 2, 8, 32])
def test_any_number_of_any_size(ratio: Ratios, tiny: bool, algorithm: int, count: int) -> None:
    """From one buffer of 64 bytes to 32 of 1 MiB the core never loses to hashlib, and wins by far on full lanes."""
    sizes = (64, 4 * KIB) if tiny else (64, KIB, 4 * KIB, 16 * KIB, 64 * KIB, MIB)
    for size in sizes:
        race(ratio, tiny, algorithm, count, size, target=promised(algorithm, count, size))


@algorithms
@pytest.mark.parametrize(
    ("mask", "note"), [(~AVX512, ", no AVX-512"), (SHANI, ", SHA-NI only")], ids=["no-avx512", "shani-only"]
)
def test_narrow_kernels(ratio: Ratios, tiny: bool, algorithm: int, mask: int, note: str) -> None:
    """What processors without AVX-512, or without any vectors, reach: figures, no promise."""
    before = digests.set_cpu_mask(mask)
    try:
        for size in (KIB,) if tiny else (KIB, 64 * KIB):
            race(ratio, tiny, algorithm, 32, size, note)
    finally:
        digests.set_cpu_mask(before)


def test_small_items(ratio: Ratios, tiny: bool) -> None:
    """Items of 48 bytes in one arena, against one hashlib object per item."""
    count = 1_000 if tiny else 500_000
    arena = bytes(range(48)) * count
    sizes = [48] * count

    def ours() -> bytes:
        return digests.digest_arena(1, arena, sizes)

    def theirs() -> bytes:
        return b"".join(hashlib.sha256(arena[at : at + 48]).digest() for at in range(0, len(arena), 48))

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
