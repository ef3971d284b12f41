"""The durable mark of a log: the last head that the guard accepted, and how far each key has signed.

Two slots of 4 KiB, written in turn, each with a generation and a CRC: a write that is torn leaves the other slot, and
no signature was released under the torn one.

    "SPMARK" 0 | u8 version = 1 | u32 crc32c of the slot with this field zero | u32 body length | u64 generation | body
    body: u16 length, origin | u64 size | root[32] | u64 time | u16 count, frontier hashes
          | u16 count, per key: key_id[:8] | u64 size | u64 T                                   (integers little endian)

Guarantees: what was begun when `ended` returns is what a reader of the file finds, also after a crash; a file whose
slots are both damaged is never taken for an empty one, nor one of a later format for a damaged one. Does not: judge
heads (heads.py).
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from sealpress.core.digests import crc32c
from sealpress.core.mark import SLOT_BYTES, MarkWriter
from sealpress.core.merkle import EMPTY_ROOT
from sealpress.core.names import sync_directory
from sealpress.errors import CoreError, Damaged

KEYS_MAX = 64  # of one log: what a slot has room for
VERSION = 1
_NAME = b"SPMARK\0"
_MAGIC = _NAME + bytes([VERSION])
_HEADER = struct.Struct("<8sIIQ")
_U16 = struct.Struct("<H")
_U64 = struct.Struct("<Q")
_KEY = struct.Struct("<8sQQ")
_HINT = "restore the signer's state directory, or close this log (next number) by root quorum"


class Signed(NamedTuple):
    """How far a key has signed: tree size, and T of its last cosignature."""

    size: int
    time: int


class HeadMark(msgspec.Struct, frozen=True):
    """The last accepted head; `time` is that of its newest leaf; `signed` by the first 8 bytes of the key id."""

    origin: str
    size: int = 0
    root: bytes = EMPTY_ROOT
    frontier: bytes = b""
    time: int = 0
    signed: Mapping[bytes, Signed] = MappingProxyType({})


def encode(mark: HeadMark, generation: int) -> bytes:
    """One slot."""
    origin = mark.origin.encode()
    body = b"".join(
        (
            _U16.pack(len(origin)) + origin,
            _U64.pack(mark.size) + mark.root + _U64.pack(mark.time),
            _U16.pack(len(mark.frontier) // 32) + mark.frontier,
            _U16.pack(len(mark.signed)),
            *(_KEY.pack(key, signed.size, signed.time) for key, signed in sorted(mark.signed.items())),
        )
    )
    if _HEADER.size + len(body) > SLOT_BYTES:
        raise ValueError("a mark has no room for so many keys")
    slot = (_HEADER.pack(_MAGIC, 0, len(body), generation) + body).ljust(SLOT_BYTES, b"\0")
    return _HEADER.pack(_MAGIC, crc32c(slot), len(body), generation) + slot[_HEADER.size :]


def decode(slot: bytes) -> tuple[int, HeadMark] | None:
    """Generation and mark; None if this is not a whole slot."""
    if len(slot) != SLOT_BYTES:
        return None
    magic, crc, length, generation = _HEADER.unpack_from(slot)
    if magic != _MAGIC or _HEADER.size + length > SLOT_BYTES or crc32c(slot[:8] + bytes(4) + slot[12:]) != crc:
        return None
    at = _HEADER.size
    (size_of_origin,) = _U16.unpack_from(slot, at)
    at += 2
    origin = slot[at : at + size_of_origin].decode()
    at += size_of_origin
    (size,), root, (time,) = _U64.unpack_from(slot, at), slot[at + 8 : at + 40], _U64.unpack_from(slot, at + 40)
    at += 48
    (count,) = _U16.unpack_from(slot, at)
    frontier = slot[at + 2 : at + 2 + 32 * count]
    at += 2 + 32 * count
    (keys,) = _U16.unpack_from(slot, at)
    entries = [_KEY.unpack_from(slot, at + 2 + i * _KEY.size) for i in range(keys)]
    signed = {key: Signed(key_size, key_time) for key, key_size, key_time in entries}
    return generation, HeadMark(origin, size, root, frontier, time, MappingProxyType(signed))


def later_version(slot: bytes) -> int:
    """The version of a whole slot that a later release wrote; 0 for all others, also where only bits have turned."""
    if len(slot) != SLOT_BYTES or not slot.startswith(_NAME) or slot[len(_NAME)] <= VERSION:
        return 0
    (crc,) = struct.unpack_from("<I", slot, 8)
    return slot[len(_NAME)] if crc32c(slot[:8] + bytes(4) + slot[12:]) == crc else 0


class MarkFile:
    """The file of one log's mark."""

    def __init__(self, directory: Path, origin: str) -> None:
        """Read it, or make it for a log that this signer has never seen. Damaged if neither slot is whole."""
        self.path = directory / f"mark-{hashlib.sha256(origin.encode()).hexdigest()[:32]}"
        if not self.path.exists():
            self._create(HeadMark(origin))
        sync_directory(directory)  # also where the process that made it was stopped before this
        descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            slots = [os.pread(descriptor, SLOT_BYTES, SLOT_BYTES * i) for i in range(2)]
            newest = max(range(2), key=lambda i: (decode(slots[i]) or (-1,))[0])
            # A killed process may have left it written, not synced; and after a sync that failed the kernel shows what
            # is not on the disk and will not be written. The next write goes over the slot that is.
            os.pwrite(descriptor, slots[newest], SLOT_BYTES * newest)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        newer = max(map(later_version, slots))
        if newer:
            raise Damaged(
                f"{self.path}: the mark has version {newer} of its format; this release reads up to version {VERSION}",
                reason="MARK_VERSION",
                hint="start the release that wrote it, or a newer one; nothing was changed",
            )
        whole = [found for found in map(decode, slots) if found is not None]
        if not whole:
            raise Damaged(
                f"{self.path}: the mark of {origin} is damaged in both slots", reason="MARK_DAMAGED", hint=_HINT
            )
        self.generation, self.mark = max(whole, key=lambda slot: slot[0])
        if self.mark.origin != origin:
            raise Damaged(f"{self.path}: this is the mark of another log", reason="MARK_DAMAGED", hint=_HINT)
        self._begun = self.generation, self.mark
        try:
            self._writer = MarkWriter(self.path)
        except CoreError as error:
            raise self._failed(error) from None

    def _create(self, mark: HeadMark) -> None:
        part = self.path.with_suffix(".new")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, encode(mark, 0) + encode(mark, 1), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        part.rename(self.path)

    def begin(self, mark: HeadMark) -> None:
        """Have it written; one at a time. Damaged if nothing can be written any more."""
        generation = self.generation + 1
        try:
            self._writer.begin(generation % 2, encode(mark, generation))
        except CoreError as error:
            raise self._failed(error) from None
        self._begun = generation, mark

    def ended(self) -> None:
        """What was begun is durable: at once if `told` said so, else it waits.

        Damaged if it never will be; then nothing may be signed any more (L10).
        """
        try:
            self._writer.ended()
        except CoreError as error:
            raise self._failed(error) from None
        self.generation, self.mark = self._begun

    @property
    def told(self) -> int:
        """A descriptor that is readable when a write has ended, until `heard`."""
        return self._writer.told

    def heard(self) -> None:
        """Make `told` unreadable again."""
        self._writer.heard()

    def close(self) -> None:
        """Wait for a write under way, and give the file back."""
        self._writer.close()

    def _failed(self, error: CoreError) -> Damaged:
        return Damaged(f"{self.path}: {error.message}", reason="MARK_FAILED", hint=_HINT)
