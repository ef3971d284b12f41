"""The slow, obvious twin of tree, leaf and proof text: the definitions in Python, for tests and self-check.

Guarantees: nothing here calls the C core but `self_check`; every function follows the words of RFC 6962, RFC 9162 or
DESIGN 3 and 6, not the C code. Does not: be fast. Only hashes of subtrees are remembered.
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from collections.abc import Sequence

from sealpress.core import leaf as native_leaf
from sealpress.core import merkle as native_merkle
from sealpress.core import proof as native_proof
from sealpress.core.leaf import LeafSpec
from sealpress.core.proof import Note, NoteLine, Proof
from sealpress.errors import Damaged

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,19}", re.ASCII)
_DIGEST_SIZES = {1: 32, 2: 48, 3: 64}


def sha256(*parts: bytes) -> bytes:
    """SHA-256 of the parts end to end."""
    return hashlib.sha256(b"".join(parts)).digest()


def split(data: bytes) -> list[bytes]:
    """Hashes end to end, as a list."""
    return [data[at : at + 32] for at in range(0, len(data), 32)]


class ReferenceTree:
    """RFC 6962 section 2.1, word by word, over given leaf hashes."""

    def __init__(self, leaf_hashes: Sequence[bytes]) -> None:
        """Keeps the leaves; they must not change."""
        self.leaves = leaf_hashes
        self._known: dict[tuple[int, int], bytes] = {}

    def mth(self, start: int, end: int) -> bytes:
        """MTH(D[start:end])."""
        if start == end:
            return sha256()
        if start + 1 == end:
            return self.leaves[start]
        if (start, end) not in self._known:
            middle = start + _largest_power_below(end - start)
            self._known[start, end] = sha256(b"\x01", self.mth(start, middle), self.mth(middle, end))
        return self._known[start, end]

    def root(self, size: int) -> bytes:
        """MTH of the first `size` leaves."""
        return self.mth(0, size)

    def node(self, level: int, index: int, size: int) -> bytes:
        """DESIGN 6: MTH of leaves [index * 2^level, min((index + 1) * 2^level, size))."""
        return self.mth(index << level, min((index + 1) << level, size))

    def inclusion(self, index: int, size: int) -> bytes:
        """PATH(index, D[size])."""
        return self._path(index, 0, size)

    def _path(self, index: int, start: int, end: int) -> bytes:
        if start + 1 == end:
            return b""
        middle = start + _largest_power_below(end - start)
        if index < middle:
            return self._path(index, start, middle) + self.mth(middle, end)
        return self._path(index, middle, end) + self.mth(start, middle)

    def consistency(self, old_size: int, new_size: int) -> bytes:
        """PROOF(old_size, D[new_size]); nothing to prove from size 0."""
        return self._subproof(old_size, 0, new_size, True) if old_size else b""

    def _subproof(self, size: int, start: int, end: int, whole: bool) -> bytes:
        if size == end - start:
            return b"" if whole else self.mth(start, end)
        width = _largest_power_below(end - start)
        if size <= width:
            return self._subproof(size, start, start + width, whole) + self.mth(start + width, end)
        return self._subproof(size - width, start + width, end, False) + self.mth(start, start + width)

    def growth(self, old_size: int, new_size: int) -> bytes:
        """The largest complete aligned subtrees from `old_size` to `new_size`, left to right."""
        out, at = b"", old_size
        while at < new_size:
            width = 1
            while at % (2 * width) == 0 and at + 2 * width <= new_size:
                width *= 2
            out += self.mth(at, at + width)
            at += width
        return out

    def range(self, first: int, count: int, size: int) -> tuple[bytes, bytes]:
        """The range proof of DESIGN 6: (left, right)."""
        left, right = b"", b""
        low, high, width, level = first, first + count - 1, size, 0
        while width > 1:
            if low % 2 == 1:
                left += self.node(level, low - 1, size)
            if high % 2 == 0 and high + 1 < width:
                right += self.node(level, high + 1, size)
            low, high, width, level = low // 2, high // 2, (width + 1) // 2, level + 1
        return left, right


def _largest_power_below(size: int) -> int:
    """The largest power of two smaller than `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def verify_inclusion(leaf_hash: bytes, index: int, size: int, path: bytes, root: bytes) -> bool:
    """RFC 9162 section 2.1.3.2."""
    if index >= size:
        return False
    fn, sn, r = index, size - 1, leaf_hash
    for p in split(path):
        if sn == 0:
            return False
        if fn % 2 == 1 or fn == sn:
            r = sha256(b"\x01", p, r)
            while fn % 2 == 0 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = sha256(b"\x01", r, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == root


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, path: bytes) -> bool:
    """RFC 9162 section 2.1.4.2, with equal sizes as RFC 6962 has them: no path, equal roots."""
    hashes = split(path)
    if old_size == new_size:
        return not hashes and old_root == new_root
    if not 0 < old_size < new_size:
        return False
    if old_size & (old_size - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        return False
    fn, sn = old_size - 1, new_size - 1
    while fn % 2 == 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = hashes[0]
    for c in hashes[1:]:
        if sn == 0:
            return False
        if fn % 2 == 1 or fn == sn:
            fr, sr = sha256(b"\x01", c, fr), sha256(b"\x01", c, sr)
            while fn % 2 == 0 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = sha256(b"\x01", sr, c)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == old_root and sr == new_root


def verify_range(leaf_hashes: bytes, first: int, size: int, left: bytes, right: bytes, root: bytes) -> bool:
    """Whether the leaves fold with `left` and `right`, all of them used, to `root`."""
    row, lefts, rights = split(leaf_hashes), split(left), split(right)
    low, high, width = first, first + len(row) - 1, size
    if not row or high >= size:
        return False
    while width > 1:
        if low % 2 == 1:
            if not lefts:
                return False
            row.insert(0, lefts.pop(0))
        if high % 2 == 0 and high + 1 < width:
            if not rights:
                return False
            row.append(rights.pop(0))
        pairs = [sha256(b"\x01", *row[at : at + 2]) for at in range(0, len(row) - 1, 2)]
        row = pairs + (row[-1:] if len(row) % 2 else [])
        low, high, width = low // 2, high // 2, (width + 1) // 2
    return not lefts and not rights and row == [root]


# ---- leaf: DESIGN 3.1, 3.2 ----


def scope(log_name: str, line: str) -> bytes:
    """What ties a leaf to a log name and a line."""
    fields = b"".join(struct.pack(">H", len(text.encode())) + text.encode() for text in (log_name, line))
    return sha256(b"sealpress/scope\0", fields)


def record_hash(type_: int, flags: int, version: int, seq: int, time_ns: int, head: bytes) -> bytes:
    """The `record` of a leaf."""
    return sha256(b"sealpress/record", struct.pack(">BBHQQI", type_, flags, version, seq, time_ns, len(head)), head)


def salt(seed: bytes, position: int) -> bytes:
    """SHA-256(seed, u32(position div 2))[16 * (position mod 2):][:16]."""
    at = 16 * (position % 2)
    return sha256(seed, struct.pack(">I", position // 2))[at : at + 16]


def opening(spec: LeafSpec, salt_: bytes) -> bytes:
    """The 61 bytes that a proof carries."""
    return struct.pack(">BIQ", spec.algorithm, spec.security_version, spec.time) + spec.record + salt_


def leaf_hash(spec: LeafSpec, salt_: bytes, digest: bytes) -> bytes:
    """SHA-256(0x00, leaf) of one leaf."""
    if len(digest) != (_DIGEST_SIZES[spec.algorithm] if spec.kind != 2 else 0):
        raise ValueError("digest length")
    head = b"sealpress/leaf\0\1" + bytes([spec.kind, 0]) + spec.key_id + spec.scope
    return sha256(b"\0", head, opening(spec, salt_), digest)


def items_root(salt_seed: bytes, names: Sequence[str], sizes: Sequence[int]) -> bytes:
    """RFC 6962 root over salt, u64 size, name of each item."""
    pairs = enumerate(zip(names, sizes, strict=True))
    leaves = [sha256(b"\0", salt(salt_seed, i), struct.pack(">Q", size), name.encode()) for i, (name, size) in pairs]
    return ReferenceTree(leaves).root(len(leaves))


# ---- texts: DESIGN 3.3, C2SP signed-note, tlog-checkpoint, tlog-proof ----


def _unbase64(text: str, size: int | None = None) -> bytes:
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text or (size is not None and len(data) != size):
        raise ValueError("base64")
    return data


def _decimal(text: str) -> int:
    if not _DECIMAL.fullmatch(text) or int(text) >= 1 << 64:
        raise ValueError("decimal")
    return int(text)


def _lines(data: bytes) -> list[str]:
    """Lines of a text that ends with a newline and holds no other control character."""
    text = data.decode()
    if len(data) > native_proof.PROOF_BYTES_MAX or not text.endswith("\n"):
        raise ValueError("size or last newline")
    if any((ord(c) < 0x20 and c != "\n") or ord(c) == 0x7F for c in text):
        raise ValueError("control character")
    return text[:-1].split("\n")


def parse_note(data: bytes) -> Note:
    """A checkpoint with its signature lines; ValueError otherwise."""
    lines = _lines(data)
    origin, size, root, blank, *signatures = lines
    if not origin or blank or not 1 <= len(signatures) <= 16:
        raise ValueError("note")
    parsed = []
    for line in signatures:
        dash, name, text = line.split(" ")
        signature = _unbase64(text)
        if dash != "—" or not name or "+" in name or any(c.isspace() for c in name) or len(signature) < 5:
            raise ValueError("signature line")
        parsed.append(NoteLine(name, signature[:4], signature[4:]))
    text = "".join(line + "\n" for line in lines[:3])
    return Note(text.encode(), origin, _decimal(size), _unbase64(root, 32), tuple(parsed))


def parse_proof(data: bytes) -> Proof:
    """A proof text; ValueError otherwise."""
    lines = _lines(data)
    magic, extra, index, *rest = lines
    if magic != "c2sp.org/tlog-proof@v1" or not extra.startswith("extra ") or not index.startswith("index "):
        raise ValueError("proof")
    hashes = rest[: rest.index("")]
    if len(hashes) > 63:
        raise ValueError("too many hashes")
    checkpoint = "".join(line + "\n" for line in rest[len(hashes) + 1 :]).encode()
    return Proof(
        _unbase64(extra.removeprefix("extra "), 61),
        _decimal(index.removeprefix("index ")),
        b"".join(_unbase64(text, 32) for text in hashes),
        checkpoint,
        parse_note(checkpoint),
    )


def write_proof(opening_: bytes, index: int, hashes: bytes, checkpoint: bytes) -> bytes:
    """The proof text."""
    lines = ["c2sp.org/tlog-proof@v1", f"extra {base64.b64encode(opening_).decode()}", f"index {index}"]
    lines += [base64.b64encode(hash_).decode() for hash_ in split(hashes)]
    return "\n".join([*lines, "", ""]).encode() + checkpoint


def self_check() -> None:
    """A few leaves through the C core and through this file; Damaged if they differ. Some milliseconds, at start."""
    count, first, seed = 37, 5, bytes(range(32))
    spec = LeafSpec(1, 1, sha256(b"key"), scope("self.check/1", "a/b/c/d/e"), 3, 1_700_000_000, sha256(b"record"))
    digests = [sha256(bytes([i])) for i in range(count)]
    leaves = [leaf_hash(spec, salt(seed, i), digest) for i, digest in enumerate(digests)]
    reference = ReferenceTree(leaves)
    tree = native_merkle.Tree()
    tree.append(native_leaf.leaf_hashes(spec, seed, b"".join(digests), count))
    root, last = reference.root(count), count - 1
    range_ = native_merkle.Range(b"".join(leaves[first:]), first, count, *tree.range(first, count - first, count), root)
    root_text = base64.b64encode(root).decode()
    note = f"self.check/1/1\n{count}\n{root_text}\n\n— self.check {root_text}\n"
    texts = native_proof.write_proofs(range_, opening(spec, b""), seed, note.encode())
    wanted = write_proof(opening(spec, salt(seed, last - first)), last, reference.inclusion(last, count), note.encode())
    good = (
        tree.root() == root
        and tree.inclusion(first, count) == reference.inclusion(first, count)
        and tree.consistency(first, count) == reference.consistency(first, count)
        and texts[-1] == wanted
        and native_proof.parse_proof(wanted) == parse_proof(wanted)
    )
    tree.close()
    if not good:
        raise Damaged(
            "the C core computes something else than its reference",
            reason="SELF_CHECK",
            hint="the build or this machine is broken: rebuild, then check memory and processor",
        )
