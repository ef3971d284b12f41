"""The exact bytes of a leaf, and what hangs on them: salts, openings, records, the root over names (DESIGN 3.2).

Guarantees: one call hashes all leaves of a request. Does not: choose seeds or times, or know lines and policy.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from sealpress.core._native import ffi, lib
from sealpress.core.digests import digest_size
from sealpress.core.status import check, statuses

SALT_SIZE = 16
OPENING_SIZE = 61
OPENING_SHARED_SIZE = 45  # an opening without its salt

_STATUS = statuses()
_OPENING = struct.Struct(">BIQ32s16s")


class LeafSpec(msgspec.Struct, frozen=True, gc=False):
    """What the leaves of one request share. Kinds as in `values.LeafKind`; algorithm 0 and key_id zeros for events."""

    kind: int
    algorithm: int
    key_id: bytes
    scope: bytes
    security_version: int = 0
    time: int = 0
    record: bytes = bytes(32)


def native_spec(spec: LeafSpec) -> Any:
    """`sp_leaf_spec *`. ValueError or OverflowError for fields that are not what their names say."""
    out = ffi.new("sp_leaf_spec *")
    out.kind = spec.kind
    out.algorithm = spec.algorithm
    out.security_version = spec.security_version
    out.time = spec.time
    ffi.buffer(out.key_id)[:] = spec.key_id
    ffi.buffer(out.scope)[:] = spec.scope
    ffi.buffer(out.record)[:] = spec.record
    return out


@lru_cache(maxsize=512)
def kept_spec(spec: LeafSpec) -> Any:
    """As `native_spec`, for one that is used again and again: nobody may write to it."""
    return native_spec(spec)


def _sized(data: bytes, size: int) -> bytes:
    """Exactly `size` bytes, else the core's SP_E_BOUNDS."""
    if len(data) != size:
        check(_STATUS["SP_E_BOUNDS"])
    return data


def key_id(spki: bytes) -> bytes:
    """SHA-256 of a canonical SPKI."""
    out = ffi.new("uint8_t[32]")
    check(lib.sp_key_id(spki, len(spki), out))
    return bytes(ffi.buffer(out))


def scope(log_name: str, line: str) -> bytes:
    """What ties a leaf to a log name and a line; line "" for events."""
    names = (log_name.encode(), line.encode())
    if any(b"\0" in name for name in names):
        check(_STATUS["SP_E_ENCODING"])
    out = ffi.new("uint8_t[32]")
    check(lib.sp_scope(*names, out))
    return bytes(ffi.buffer(out))


def record_hash(type_: int, flags: int, version: int, seq: int, time_ns: int, head: bytes) -> bytes:
    """The `record` of a leaf: the frame's identity and its head."""
    out = ffi.new("uint8_t[32]")
    check(lib.sp_record(type_, flags, version, seq, time_ns, head, len(head), out))
    return bytes(ffi.buffer(out))


def salts(seed: bytes, first: int, count: int) -> bytes:
    """Salts of positions [first, first + count) of a request, 16 bytes each."""
    out = ffi.new("uint8_t[]", max(1, SALT_SIZE * count))
    check(lib.sp_salts(_sized(seed, 32), first, count, out))
    return bytes(ffi.buffer(out, SALT_SIZE * count))


def leaf_hashes(spec: LeafSpec, salt_seed: bytes | None, digests: bytes | None, count: int) -> bytes:
    """Leaf hashes of a request's digests, or of one event (no seed, no digests, count 1)."""
    if digests is not None:
        _sized(digests, digest_size(spec.algorithm) * count)
    if salt_seed is not None:
        _sized(salt_seed, 32)
    out = ffi.new("uint8_t[]", max(1, 32 * count))
    seed = ffi.NULL if salt_seed is None else salt_seed
    column = ffi.NULL if digests is None else ffi.from_buffer(digests)
    check(lib.sp_leaf_hashes(native_spec(spec), seed, column, count, out))
    return bytes(ffi.buffer(out, 32 * count))


def opening(spec: LeafSpec, salt: bytes) -> bytes:
    """The 61 bytes that a proof carries; the first 45 are the same for all items of a request."""
    _sized(spec.record, 32)
    return _OPENING.pack(spec.algorithm, spec.security_version, spec.time, spec.record, _sized(salt, SALT_SIZE))


def leaf_hash_opened(kind: int, key_id: bytes, scope: bytes, opening: bytes, digest: bytes) -> bytes:
    """What a verifier does: the leaf hash from the key it trusts, that key's scope, an opening, and its own digest."""
    out = ffi.new("uint8_t[32]")
    status = lib.sp_leaf_hash_opened(
        kind, _sized(key_id, 32), _sized(scope, 32), _sized(opening, OPENING_SIZE), digest, len(digest), out
    )
    check(status)
    return bytes(ffi.buffer(out))


def pack_names(names: Sequence[str], sizes: Sequence[int]) -> bytes:
    """The names column of a REQUEST: per item u64 size, u32 length, UTF-8 name, little endian; empty if no names."""
    out = bytearray()
    for name, size in zip(names, sizes, strict=True):
        data = name.encode()
        out += struct.pack("<QI", size, len(data)) + data
    return bytes(out)


def items_root(salt_seed: bytes, names_block: bytes, count: int) -> bytes:
    """Root over salt, size (u64, big endian) and name of each item; the empty tree's root without names."""
    out = ffi.new("uint8_t[32]")
    check(lib.sp_items_root(_sized(salt_seed, 32), ffi.from_buffer(names_block), len(names_block), count, out))
    return bytes(ffi.buffer(out))
