"""Do the C digests agree with hashlib, whatever the kernel, the length and the way the bytes arrive?"""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from kit.cpu import cpu_masks, mask_name, only
from sealpress.core import digests
from sealpress.core._native import ffi, lib
from sealpress.core.status import check
from sealpress.errors import CoreError

ALGORITHMS = {1: "sha256", 2: "sha384", 3: "sha512"}
MIB = 1 << 20

# 251 is prime: blocks that change places cannot cancel.
TEXT = (bytes(range(251)) * (MIB // 251 + 2))[: MIB + 1]

masks = pytest.mark.parametrize("mask", cpu_masks(), ids=mask_name)
algorithms = pytest.mark.parametrize("algorithm", ALGORITHMS, ids=ALGORITHMS.get)


def expected_digests(algorithm: int, items: list[bytes]) -> bytes:
    """What hashlib says, end to end."""
    return b"".join(hashlib.new(ALGORITHMS[algorithm], item).digest() for item in items)


def border_lengths() -> list[int]:
    """±1 around every block border to 4 KiB, then around 2^k and 3·2^k to 1 MiB."""
    borders = set(range(0, 4097, 64)) | {factor << shift for factor in (1, 3) for shift in range(10, 21)}
    return sorted({border + step for border in borders if border <= MIB for step in (-1, 0, 1) if border + step >= 0})


@masks
@algorithms
def test_every_short_length(algorithm: int, mask: int) -> None:
    """Lengths 0 to 300 agree with hashlib under every CPU mask, as pointers and as an arena."""
    items = [TEXT[length : 2 * length] for length in range(301)]
    expected = expected_digests(algorithm, items)

    with only(mask):
        assert digests.digest_many(algorithm, items) == expected
        assert digests.digest_arena(algorithm, b"".join(items), list(map(len, items))) == expected


@pytest.fixture(scope="module")
def borders() -> dict[int, tuple[list[bytes], bytes]]:
    """Inputs at block borders and their digests, computed once for all masks."""
    items = [TEXT[:length] for length in border_lengths()]
    return {algorithm: (items, expected_digests(algorithm, items)) for algorithm in ALGORITHMS}


@masks
@algorithms
def test_block_borders_to_one_mebibyte(
    borders: dict[int, tuple[list[bytes], bytes]], algorithm: int, mask: int
) -> None:
    """Lengths beside block borders up to 1 MiB agree with hashlib under every CPU mask."""
    items, expected = borders[algorithm]

    with only(mask):
        assert digests.digest_many(algorithm, items) == expected


@masks
@algorithms
def test_hasher_takes_any_pieces(algorithm: int, mask: int) -> None:
    """A message in pieces of any size has the digest of the whole, and the hasher can be used again."""
    with only(mask):
        hasher = digests.Hasher(algorithm)
        for piece in (1, 3, 63, 64, 65, 127, 128, 129, 4096):
            for start in range(0, 10_000, piece):
                hasher.update(TEXT[start : min(start + piece, 10_000)])

            assert hasher.final() == expected_digests(algorithm, [TEXT[:10_000]])
        assert hasher.final() == expected_digests(algorithm, [b""])


@masks
@pytest.mark.parametrize("count", [0, 1, 2, 3, 15, 16, 17, 31, 33, 255, 256, 257, 1000])
def test_nodes_and_many_of_every_width(count: int, mask: int) -> None:
    """No item is lost or mixed up whatever their number is relative to the kernel's lanes and windows."""
    items = [TEXT[place * 7 : place * 7 + place % 200] for place in range(count)]

    with only(mask):
        assert digests.digest_many(1, items) == expected_digests(1, items)
        assert digests.digest_arena(3, b"".join(items), list(map(len, items))) == expected_digests(3, items)


@masks
@algorithms
def test_long_messages_page_by_page(algorithm: int, mask: int) -> None:
    """Long messages that all begin at one place of a page, and so are started one after another, keep their digests."""
    sizes = [1 << 17] * 19
    arena = (TEXT * 3)[: sum(sizes)]
    items = [arena[at : at + (1 << 17)] for at in range(0, len(arena), 1 << 17)]

    with only(mask):
        assert digests.digest_arena(algorithm, arena, sizes) == expected_digests(algorithm, items)


@algorithms
def test_file_agrees(algorithm: int, tmp_path: Path) -> None:
    """A file has the digest of its bytes, with and without progress; progress only grows and ends at the size."""
    path = tmp_path / "file"
    for size in (0, 1, MIB - 1, MIB, MIB + 1, 5 * MIB + 12_345):
        path.write_bytes((TEXT * 6)[:size])
        expected = (hashlib.new(ALGORITHMS[algorithm], path.read_bytes()).digest(), size)
        seen: list[int] = []

        assert digests.digest_file(algorithm, path) == expected
        assert digests.digest_file(algorithm, path, seen.append) == expected
        assert seen == sorted(set(seen))
        assert (seen or [0])[-1] == size


def test_big_sparse_file(tmp_path: Path) -> None:
    """A file larger than any buffer is read to its end and the size told is its own."""
    path = tmp_path / "big"
    size = 300 * MIB + 7
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size - 3)
        file.write(b"end")
    with path.open("rb") as file:
        expected = hashlib.file_digest(file, "sha256").digest()

    assert digests.digest_file(1, path) == (expected, size)


def test_progress_counter_of_a_descriptor(tmp_path: Path) -> None:
    """The counter that C offers to another thread ends at the size."""
    path = tmp_path / "file"
    path.write_bytes(TEXT * 3)
    counter, size, out = ffi.new("uint64_t *"), ffi.new("uint64_t *"), ffi.new("uint8_t[32]")
    with path.open("rb") as file:
        check(lib.sp_digest_fd(1, file.fileno(), out, size, counter))

    assert counter[0] == size[0] == 3 * len(TEXT)


def test_unreadable_descriptor_is_a_system_error(tmp_path: Path) -> None:
    """A directory cannot be hashed; the error carries errno and its text."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        size, out = ffi.new("uint64_t *"), ffi.new("uint8_t[32]")
        with pytest.raises(CoreError, match="Is a directory") as caught:
            check(lib.sp_digest_fd(1, descriptor, out, size, ffi.NULL))
    finally:
        os.close(descriptor)

    assert (caught.value.name, caught.value.system_errno) == ("SP_E_SYSTEM", 21)


@pytest.mark.parametrize("algorithm", [-1, 0, 4, 255, 256, 1 << 40])
def test_unknown_algorithm(algorithm: int, tmp_path: Path) -> None:
    """An algorithm that does not exist is refused everywhere, by name."""
    (tmp_path / "file").touch()
    calls = (
        lambda: digests.digest_many(algorithm, [b""]),
        lambda: digests.digest_arena(algorithm, b"", [0]),
        lambda: digests.Hasher(algorithm),
        lambda: digests.digest_file(algorithm, tmp_path / "file"),
    )
    for call in calls:
        with pytest.raises(CoreError) as caught:
            call()

        assert caught.value.name == "SP_E_ALGORITHM"


@pytest.mark.parametrize("sizes", [[], [2], [4], [1 << 63], [1, 1], [2, 2], [4, (1 << 64) - 1]])
def test_arena_sizes_are_checked(sizes: list[int]) -> None:
    """Sizes that do not fill the arena exactly are refused before a byte is read, also where their sum wraps round."""
    with pytest.raises(CoreError) as caught:
        digests.digest_arena(1, b"abc", sizes)

    assert caught.value.name == "SP_E_BOUNDS"


@algorithms
@pytest.mark.parametrize("size", [1, 64, 2000, 8000])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 17, 33])
def test_every_way_of_passing_buffers(algorithm: int, size: int, count: int) -> None:
    """Few or many, short or long, bytes or views, also of wider items: each way into C gives hashlib's digests."""
    items = [TEXT[place : place + 8 * size] for place in range(count)]
    expected = expected_digests(algorithm, items)

    assert digests.digest_many(algorithm, items) == expected
    assert digests.digest_many(algorithm, [bytearray(item) for item in items]) == expected
    assert digests.digest_many(algorithm, [*items[1:], memoryview(items[0]).cast("Q")]) == expected_digests(
        algorithm, [*items[1:], items[0]]
    )


@pytest.mark.parametrize("stranger", ["text", [1, 2], None, 7])
@pytest.mark.parametrize("count", [1, 2, 3, 20])
def test_strangers_are_refused(stranger: object, count: int) -> None:
    """What is no buffer is a TypeError wherever it stands, whatever the others weigh."""
    for filler in (b"x", bytes(40_000)):
        with pytest.raises(TypeError):
            digests.digest_many(1, [filler] * (count - 1) + [stranger])  # type: ignore[list-item]


def test_empty_calls() -> None:
    """No items give no bytes."""
    assert digests.digest_many(1, []) == b""
    assert digests.digest_arena(1, b"", []) == b""
    assert digests.digest_arena(1, b"", [0, 0]) == expected_digests(1, [b"", b""])


def test_threads_do_not_meet() -> None:
    """Two threads that hash at once, while a third turns the mask, get the right digests."""
    items = [TEXT[: 1000 + place] for place in range(300)]
    expected = expected_digests(1, items)
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(20):
            if digests.digest_many(1, items) != expected:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    with only(0):
        for _ in range(200):
            for mask in cpu_masks():
                digests.set_cpu_mask(mask)
    for thread in threads:
        thread.join()

    assert wrong == []


@masks
def test_crc32c_known_values(mask: int) -> None:
    """The vectors of RFC 3720 B.4 and the check value of the polynomial hold, in any split."""
    vectors = {
        b"123456789": 0xE3069283,
        bytes(32): 0x8A9136AA,
        b"\xff" * 32: 0x62A8AB43,
        bytes(range(32)): 0x46DD794E,
        bytes(reversed(range(32))): 0x113FDB5C,
        b"": 0,
    }
    with only(mask):
        for data, expected in vectors.items():
            assert digests.crc32c(data) == expected
            for cut in range(len(data)):
                assert digests.crc32c(data[cut:], digests.crc32c(data[:cut])) == expected


def test_crc32c_agrees_across_masks() -> None:
    """Instruction and table give one answer at every length and alignment."""
    samples = [TEXT[offset : offset + length] for offset in range(9) for length in (*range(80), 4096, 70_001)]
    with only(0):
        expected = [digests.crc32c(sample) for sample in samples]

    assert [digests.crc32c(sample) for sample in samples] == expected
