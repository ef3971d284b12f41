"""Texts that leave the house: signed notes with a checkpoint, and `c2sp.org/tlog-proof@v1` proofs (DESIGN 3.3).

Guarantees: what parses is the only spelling of what it says; both directions are done in C.
Does not: check a signature, or build the text of a checkpoint (`verify.note`).
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sealpress.core._native import ffi, lib
from sealpress.core.leaf import OPENING_SHARED_SIZE, OPENING_SIZE
from sealpress.core.merkle import HASH_SIZE, Range
from sealpress.core.status import check, statuses

PROOF_BYTES_MAX = 65536

_STATUS = statuses()
_allocate = ffi.new_allocator(should_clear_after_alloc=False)


@dataclass(frozen=True, slots=True)
class NoteLine:
    """One signature line: who signed by name and key id, and what follows the key id."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A signed checkpoint. `text` is what was signed, final newline included."""

    text: bytes
    origin: str
    size: int
    root: bytes
    lines: tuple[NoteLine, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """An opening, a leaf index, the path as hashes end to end, and the checkpoint as it stands in the text."""

    opening: bytes
    index: int
    hashes: bytes
    checkpoint: bytes
    note: Note


def _note(text: bytes, note: Any) -> Note:
    """From offsets into `text`."""
    lines = []
    for position in range(note.lines):
        line = note.line[position]
        name = text[line.name_at : line.name_at + line.name_size].decode()
        signature = base64.b64decode(text[line.signature_at : line.signature_at + line.signature_size])
        lines.append(NoteLine(name, signature[:4], signature[4:]))
    origin = text[note.origin_at : note.origin_at + note.origin_size].decode()
    return Note(text[: note.text_size], origin, int(note.size), ffi.buffer(note.root)[:], tuple(lines))


def parse_note(text: bytes) -> Note:
    """A checkpoint with 1 to 16 signature lines; CoreError SP_E_ENCODING for anything else."""
    out = ffi.new("sp_note *")
    check(lib.sp_note_parse(text, len(text), out))
    return _note(text, out)


def is_note_of(checkpoint: bytes, text: bytes, names: Sequence[bytes], others: int = 0) -> bool:
    """Whether a checkpoint, as `parse_note` takes it, is `text` under lines of these names and then so many others."""
    out = ffi.new("sp_note *")
    check(lib.sp_note_parse(checkpoint, len(checkpoint), out))
    if out.text_size != len(text) or not checkpoint.startswith(text) or out.lines != len(names) + others:
        return False
    lines = [out.line[position] for position in range(len(names))]
    return all(
        checkpoint[line.name_at : line.name_at + line.name_size] == name
        for line, name in zip(lines, names, strict=True)
    )


def parse_proof(text: bytes) -> Proof:
    """A proof text; CoreError SP_E_ENCODING unless writing what it says gives the same bytes."""
    out = ffi.new("sp_proof *")
    check(lib.sp_proof_parse(text, len(text), out))
    checkpoint = text[out.checkpoint_at : out.checkpoint_at + out.checkpoint_size]
    hashes = ffi.buffer(out.hash, HASH_SIZE * out.hashes)[:]
    return Proof(ffi.buffer(out.opening)[:], int(out.index), hashes, checkpoint, _note(checkpoint, out.note))


def write_proof(opening: bytes, index: int, hashes: bytes, checkpoint: bytes) -> bytes:
    """The text; SP_E_BOUNDS beyond 63 hashes or 64 KiB, SP_E_ENCODING if the checkpoint is none."""
    if len(opening) != OPENING_SIZE or len(hashes) % HASH_SIZE:
        check(_STATUS["SP_E_BOUNDS"])
    out, size = _allocate("uint8_t[]", PROOF_BYTES_MAX), ffi.new("size_t *")
    status = lib.sp_proof_write(
        opening, index, hashes, len(hashes) // HASH_SIZE, checkpoint, len(checkpoint), out, PROOF_BYTES_MAX, size
    )
    check(status)
    return bytes(ffi.buffer(out, size[0]))


def write_proofs(range_: Range, opening: bytes, salt_seed: bytes, checkpoint: bytes) -> list[bytes]:
    """The texts of all items of a verified range, the same as `write_proof` writes for each; opening without salt."""
    if len(opening) != OPENING_SHARED_SIZE or len(salt_seed) != HASH_SIZE:
        check(_STATUS["SP_E_BOUNDS"])
    needed, fixed = ffi.new("size_t *"), (range_.pointer, opening, salt_seed, checkpoint, len(checkpoint))
    status = lib.sp_proof_write_range(*fixed, ffi.NULL, 0, ffi.NULL, needed)
    if status != _STATUS["SP_E_ROOM"]:
        check(status)
    out, ends = _allocate("uint8_t[]", needed[0]), ffi.new("uint64_t[]", range_.count)
    check(lib.sp_proof_write_range(*fixed, out, needed[0], ends, needed))
    texts, start = [], 0
    for end in ends:
        texts.append(ffi.buffer(out + start, end - start)[:])
        start = end
    return texts
