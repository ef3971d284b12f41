"""A second reader of journal segments that shares no code with the product: struct, hashlib and DESIGN 3.1 and 3.2."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

HEADER = struct.Struct("<8sII32sQQQ32s32s16sQQ")
FRAME = struct.Struct("<IIQBBHIQ")
COMMIT = struct.Struct("<QIQ32s32sQ")
MAGIC = b"SPJRNL\0\1"
REQUEST, OUTCOME, REFUSAL, GOVERNANCE, RECOVERY, COMMIT_TYPE, SEAL = range(1, 8)
FIRST = 8192


@cache
def _table() -> tuple[int, ...]:
    out = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        out.append(value)
    return tuple(out)


def crc32c(data: bytes) -> int:
    """Castagnoli, bit by table."""
    table, value = _table(), 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ table[(value ^ byte) & 255]
    return value ^ 0xFFFFFFFF


@dataclass
class Header:
    """One 4 KiB header copy."""

    version: int
    log_id: bytes
    number: int
    first_seq: int
    tree_size: int
    root: bytes
    chain: bytes
    salt: bytes
    created_ns: int
    segment_bytes: int


def header(copy: bytes) -> Header:
    """Parses and checks one copy; AssertionError if anything is wrong."""
    assert len(copy) == 4096
    magic, version, crc, *rest = HEADER.unpack_from(copy)
    assert magic == MAGIC
    assert crc == crc32c(copy[:12] + bytes(4) + copy[16:])
    assert not any(copy[HEADER.size :])
    return Header(version, *rest)


@dataclass
class RawFrame:
    """One frame, padding checked."""

    offset: int
    length: int
    seq: int
    type: int
    flags: int
    version: int
    batch: int
    time_ns: int
    payload: bytes
    header: bytes


def salt_of(segment: bytes) -> bytes:
    """From whichever header copy is whole."""
    try:
        return header(segment[:4096]).salt
    except AssertionError:
        return header(segment[4096:8192]).salt


def frames(segment: bytes) -> Iterator[RawFrame]:
    """All frames up to the first zero length; AssertionError on a wrong checksum or padding."""
    salt = salt_of(segment)
    offset = FIRST
    while offset + FRAME.size <= len(segment):
        length, crc, seq, type_, flags, version, batch, time_ns = FRAME.unpack_from(segment, offset)
        if length == 0:
            assert not any(segment[offset:])
            return
        end = offset + (length + 7) // 8 * 8
        whole = segment[offset:end]
        assert not any(whole[length:])
        assert crc == crc32c(salt + struct.pack("<Q", offset) + whole[:4] + whole[8:])
        payload = whole[FRAME.size : length]
        yield RawFrame(offset, length, seq, type_, flags, version, batch, time_ns, payload, whole[: FRAME.size])
        offset = end


@dataclass
class Columns:
    """The parts of a REQUEST payload."""

    head: bytes
    salt_seed: bytes
    names: bytes
    digests: bytes


def columns(payload: bytes) -> Columns:
    """Of a REQUEST."""
    (head_size,) = struct.unpack_from("<I", payload)
    at = 4 + head_size
    (names_size,) = struct.unpack_from("<I", payload, at + 32)
    names_at = at + 36
    return Columns(
        payload[4:at],
        payload[at : at + 32],
        payload[names_at : names_at + names_size],
        payload[names_at + names_size :],
    )


@dataclass(frozen=True)
class Spec:
    """What the leaves of a frame have that stands in no frame as bytes."""

    kind: int
    algorithm: int
    key_id: bytes
    scope: bytes
    security_version: int = 0


def leaf_hashes(frame: RawFrame, spec: Spec) -> list[bytes]:
    """The leaf hashes of one frame, from DESIGN 3.2."""
    parts = columns(frame.payload) if frame.type == REQUEST else Columns(frame.payload, b"", b"", b"")
    record = hashlib.sha256(
        b"sealpress/record"
        + struct.pack(">BBHQQI", frame.type, frame.flags, frame.version, frame.seq, frame.time_ns, len(parts.head))
        + parts.head
    ).digest()
    prefix = b"sealpress/leaf\0\1" + bytes([spec.kind, 0]) + spec.key_id + spec.scope
    prefix += struct.pack(">BIQ", spec.algorithm, spec.security_version, frame.time_ns // 10**9) + record
    if frame.type != REQUEST:
        return [hashlib.sha256(b"\0" + prefix + bytes(16)).digest()]
    size = (32, 48, 64)[spec.algorithm - 1]
    out = []
    for i in range(len(parts.digests) // size):
        block = hashlib.sha256(parts.salt_seed + struct.pack(">I", i // 2)).digest()
        salt = block[16 * (i % 2) :][:16]
        out.append(hashlib.sha256(b"\0" + prefix + salt + parts.digests[i * size : (i + 1) * size]).digest())
    return out


class Accumulator:
    """The root of a growing list of leaf hashes, as a binary counter of complete subtrees."""

    def __init__(self) -> None:
        """Empty."""
        self.size = 0
        self._peaks: list[tuple[int, bytes]] = []

    def add(self, leaf: bytes) -> None:
        """One more leaf."""
        level = 0
        while self._peaks and self._peaks[-1][0] == level:
            leaf = hashlib.sha256(b"\1" + self._peaks.pop()[1] + leaf).digest()
            level += 1
        self._peaks.append((level, leaf))
        self.size += 1

    def root(self) -> bytes:
        """RFC 6962 MTH of what was added."""
        if not self._peaks:
            return hashlib.sha256().digest()
        value = self._peaks[-1][1]
        for _, peak in reversed(self._peaks[:-1]):
            value = hashlib.sha256(b"\1" + peak + value).digest()
        return value


@dataclass
class Judged:
    """What a whole log came to."""

    frames: list[RawFrame]
    tree: Accumulator
    chain: bytes
    next_seq: int
    commits: int
    sealed: list[bool]


def judge(segments: list[bytes], spec_of: Callable[[RawFrame], Spec]) -> Judged:
    """Re-derives every checksum, seq, batch number, chain value and root of a log; AssertionError if one is off."""
    tree, chain, next_seq, last_ns, durable = Accumulator(), bytes(32), 0, 0, 2**64 - 1
    everything: list[RawFrame] = []
    sealed: list[bool] = []
    commits = 0
    for number, segment in enumerate(segments):
        first, second = header(segment[:4096]), header(segment[4096:8192])
        assert first == second
        assert (first.number, first.first_seq, first.tree_size) == (number, next_seq, tree.size)
        assert (first.root, first.chain, first.segment_bytes) == (tree.root(), chain, len(segment))
        assert first.salt not in {other.salt for other in map(header, (s[:4096] for s in segments[:number]))}
        batch: list[RawFrame] = []
        batches = 0
        for frame in frames(segment):
            assert (frame.seq, frame.batch, frame.flags) == (next_seq, batches, 0)
            assert frame.time_ns >= last_ns
            next_seq, last_ns = next_seq + 1, frame.time_ns
            everything.append(frame)
            if frame.type != COMMIT_TYPE:
                batch.append(frame)
                if frame.type != SEAL:
                    for leaf in leaf_hashes(frame, spec_of(frame)):
                        tree.add(leaf)
                continue
            first_seq, count, size, root, value, known = COMMIT.unpack(frame.payload)
            assert (first_seq, count, size) == (frame.seq - len(batch), len(batch), tree.size)
            assert root == tree.root()
            chain = hashlib.sha256(chain + struct.pack("<Q", size) + root + b"".join(f.header for f in batch)).digest()
            assert value == chain
            assert known in (durable, first_seq - 1 if first_seq else durable)
            commits, batches = commits + 1, batches + 1
            is_sealed = batch[-1].type == SEAL
            batch = []
        assert not batch
        sealed.append(is_sealed)
    assert all(sealed[:-1])
    return Judged(everything, tree, chain, next_seq, commits, sealed)
