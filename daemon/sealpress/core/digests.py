"""SHA-256, SHA-384 and SHA-512 in the C core: of many buffers, an arena, a stream, a file; CRC-32C; the CPU mask.

`algorithm` is the number that stands in leaves: 1 sha256, 2 sha384, 3 sha512.

Guarantees: digests come back end to end in the order of the input; the GIL is free while C hashes.
Does not: copy long inputs. A buffer must not change while a call works on it.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path

from sealpress.core._native import ffi, lib
from sealpress.core.status import check

Buffer = bytes | bytearray | memoryview

_READ_BYTES = 1 << 20
_HASHLIB = {1: hashlib.sha256, 2: hashlib.sha384, 3: hashlib.sha512}
# Measured: from where on the core is quicker (bench/bench_digest.py).
_ALONE = {1: 1, 2: 2, 3: 2}  # so many buffers gain nothing from lanes
_FEW_BYTES = 4 << 10  # in all
_SHORT_BYTES = 4 << 10  # each: cheaper to copy than to point at
_COPIED_BYTES = 256 << 10  # in all: a larger copy would cost page faults


def digest_size(algorithm: int) -> int:
    """32, 48 or 64; 0 for an unknown algorithm."""
    return int(lib.sp_digest_size(algorithm)) if 0 <= algorithm <= 0xFF else 0


def _known(algorithm: int) -> int:
    """The digest size, or the core's own error for an algorithm that does not exist."""
    size = digest_size(algorithm)
    if size == 0:
        check(lib.sp_digest_many(0, 0, ffi.NULL, ffi.NULL, ffi.NULL))
    return size


def digest_many(algorithm: int, buffers: Sequence[Buffer]) -> bytes:
    """Digests of `buffers`, end to end. For documents; for thousands of small items use `digest_arena`.

    Too few for the lanes of a wide kernel, or too short to be worth the way into C: hashlib does those.
    """
    size = _known(algorithm)
    total = sum(map(len, buffers))
    if len(buffers) <= _ALONE[algorithm] or total <= _FEW_BYTES:
        make = _HASHLIB[algorithm]
        return b"".join([make(buffer).digest() for buffer in buffers])
    if total <= min(_SHORT_BYTES * len(buffers), _COPIED_BYTES):
        arena = b"".join(buffers)
        if len(arena) == total:  # not where a view counts other things than bytes
            return digest_arena(algorithm, arena, array("Q", accumulate(map(len, buffers))))
    out = ffi.new("uint8_t[]", size * len(buffers))
    held = [ffi.from_buffer("uint8_t[]", buffer) for buffer in buffers]
    data = ffi.new("const uint8_t *[]", held)
    sizes = ffi.new("size_t[]", [len(view) for view in held])
    check(lib.sp_digest_many(algorithm, len(held), data, sizes, out))
    return bytes(ffi.buffer(out))


def digest_arena(algorithm: int, arena: Buffer, ends: Sequence[int]) -> bytes:
    """Digests of the items of `arena`, end to end; item i ends at `ends[i]` and begins where the one before ends."""
    out = ffi.new("uint8_t[]", max(1, _known(algorithm) * len(ends)))
    columns = ends if isinstance(ends, array) and ends.typecode == "Q" else array("Q", ends)
    view = ffi.from_buffer("uint8_t[]", arena)
    check(lib.sp_digest_arena(algorithm, len(ends), view, len(view), ffi.from_buffer("uint64_t[]", columns), out))
    return bytes(ffi.buffer(out, digest_size(algorithm) * len(ends)))


class Hasher:
    """One message in pieces. After `final` it stands at the start of the next message."""

    def __init__(self, algorithm: int) -> None:
        """Refuses an unknown algorithm."""
        self._size = _known(algorithm)
        slot = ffi.new("sp_hasher **")
        check(lib.sp_hasher_new(algorithm, slot))
        self._hasher = ffi.gc(slot[0], lib.sp_hasher_free)

    def update(self, data: Buffer) -> None:
        """Takes the next piece; any length, also none."""
        view = ffi.from_buffer("uint8_t[]", data)
        check(lib.sp_hasher_update(self._hasher, view, len(view)))

    def final(self) -> bytes:
        """The digest of all pieces since the last `final`."""
        out = ffi.new("uint8_t[]", self._size)
        check(lib.sp_hasher_final(self._hasher, out))
        return bytes(ffi.buffer(out, self._size))


def digest_file(algorithm: int, path: Path, progress: Callable[[int], None] | None = None) -> tuple[bytes, int]:
    """Digest and size of a file. `progress` is called with the bytes done so far, after each read.

    OSError as `open` and `read` raise it; without `progress` the whole file is one call into C.
    """
    size = _known(algorithm)
    with path.open("rb", buffering=0) as file:
        if progress is None:
            out = ffi.new("uint8_t[]", size)
            total = ffi.new("uint64_t *")
            check(lib.sp_digest_fd(algorithm, file.fileno(), out, total, ffi.NULL))
            return bytes(ffi.buffer(out, size)), int(total[0])
        hasher = Hasher(algorithm)
        piece = memoryview(bytearray(_READ_BYTES))
        done = 0
        while got := file.readinto(piece):
            hasher.update(piece[:got])
            done += got
            progress(done)
        return hasher.final(), done


def crc32c(data: Buffer, crc: int = 0) -> int:
    """CRC-32C of `data`, going on from `crc`."""
    view = ffi.from_buffer("uint8_t[]", data)
    return int(lib.sp_crc32c(crc, view, len(view)))


def cpu_features() -> int:
    """The bits SP_CPU_* that this machine has."""
    return int(lib.sp_cpu_features())


def cpu_feature_name(bit: int) -> str | None:
    """`shani`, `avx2`, …; None for a bit that means nothing."""
    name = lib.sp_cpu_feature_name(bit)
    return None if name == ffi.NULL else str(ffi.string(name).decode())


def cpu_mask() -> int:
    """Which features kernels may use, if the machine has them."""
    return int(lib.sp_cpu_mask())


def set_cpu_mask(mask: int) -> int:
    """Sets the mask for the whole process and returns the one before; for tests and benchmarks."""
    return int(lib.sp_cpu_mask_set(mask & 0xFFFFFFFF))
