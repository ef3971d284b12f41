"""SHA-256, SHA-384 and SHA-512 in the C core: of many buffers, an arena, a stream, a file; CRC-32C; the CPU mask.

`algorithm` is the number that stands in leaves: 1 sha256, 2 sha384, 3 sha512.

Guarantees: digests come back end to end in the order of the input; the GIL is free while C hashes.
Does not: copy long inputs. A buffer must not change while a call works on it.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sealpress.core._native import ffi, lib
from sealpress.core.status import check
from sealpress.errors import CoreError

Buffer = bytes | bytearray | memoryview

_READ_BYTES = 1 << 20
_HASHLIB = {1: hashlib.sha256, 2: hashlib.sha384, 3: hashlib.sha512}
_SIZES = {algorithm: int(lib.sp_digest_size(algorithm)) for algorithm in _HASHLIB}
# Measured: from where on the core is quicker (bench/bench_digest.py). In bytes, of all buffers.
_PAIR_BYTES = {1: 4 << 10, 2: sys.maxsize, 3: sys.maxsize}  # two buffers gain nothing from lanes
_FEW, _FEW_BYTES = 4, 1 << 10
_COPIED_BYTES = 32 << 10  # up to here a copy costs less than pointers
_POINTED = 16  # by one sp_digest_point
_NOTHING = (b"",) * _POINTED
_ONLY_BYTES = {bytes}
_OCTETS = ffi.typeof("uint8_t[]")
_POINTERS = ffi.typeof("const uint8_t *[]")

# Bound once: looked up anew they cost as much as hashing a short buffer.
_new, _buffer, _NULL = ffi.new, ffi.buffer, ffi.NULL
_view = partial(ffi.from_buffer, _OCTETS)
_point, _many, _arena = lib.sp_digest_point, lib.sp_digest_many, lib.sp_digest_arena


def digest_size(algorithm: int) -> int:
    """32, 48 or 64; 0 for an unknown algorithm."""
    return _SIZES.get(algorithm, 0)


def _known(algorithm: int) -> int:
    """The digest size, or the core's own error for an algorithm that does not exist."""
    size = _SIZES.get(algorithm, 0)
    if size == 0:
        check(lib.sp_digest_many(0, 0, ffi.NULL, ffi.NULL, ffi.NULL))
    return size


def digest_many(algorithm: int, buffers: Sequence[Buffer]) -> bytes:
    """Digests of `buffers`, end to end. TypeError for what is no buffer.

    Too few for the lanes of a wide kernel, or too short to be worth the way into C: hashlib does those.
    """
    count = len(buffers)
    if 0 < count <= _FEW and algorithm in _HASHLIB:
        make = _HASHLIB[algorithm]
        if count == 1:
            return make(buffers[0]).digest()
        if count == 2 and len(buffers[0]) + len(buffers[1]) <= _PAIR_BYTES[algorithm]:
            return make(buffers[0]).digest() + make(buffers[1]).digest()
        if sum(map(len, buffers)) <= _FEW_BYTES:
            return b"".join([make(buffer).digest() for buffer in buffers])
    held = tuple(buffers)
    sizes = list(map(len, held))
    total = sum(sizes)
    if total <= _COPIED_BYTES:
        arena = b"".join(held)
        if len(arena) == total:  # not where a view counts other things than bytes
            return digest_arena(algorithm, arena, sizes)
    return _digest_pointed(algorithm, held, sizes)


def _digest_pointed(algorithm: int, held: tuple[Any, ...], sizes: list[int]) -> bytes:
    """The same without a copy; `held` keeps alive what is pointed at."""
    count = len(held)
    if set(map(type, held)) != _ONLY_BYTES:
        held = tuple(map(_view, held))
        sizes = list(map(len, held))  # in bytes
    out = _new(_OCTETS, _known(algorithm) * count)
    data = _new(_POINTERS, count + _POINTED)
    for at in range(0, count, _POINTED):
        _point(data + at, *held[at : at + _POINTED], *_NOTHING[count - at :])
    check(_many(algorithm, count, data, sizes, out))
    digests: bytes = _buffer(out)[:]
    return digests


def digest_arena(algorithm: int, arena: bytes, sizes: Sequence[int]) -> bytes:
    """Digests of items of `sizes` bytes that stand end to end in `arena` and fill it; else SP_E_BOUNDS."""
    count = len(sizes)
    out = _new(_OCTETS, _known(algorithm) * count)
    # Passing a number of a list costs as much as making it: pieces of one length are told by none.
    column = _NULL if count and sizes.count(sizes[0]) == count and sizes[0] * count == len(arena) else sizes
    check(_arena(algorithm, count, arena, len(arena), column, out))
    digests: bytes = _buffer(out)[:]
    return digests


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
            try:
                check(lib.sp_digest_fd(algorithm, file.fileno(), out, total, ffi.NULL))
            except CoreError as error:
                if not error.system_errno:
                    raise
                raise OSError(error.system_errno, os.strerror(error.system_errno), os.fspath(path)) from error
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
