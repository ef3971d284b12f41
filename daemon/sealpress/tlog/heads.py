"""Judges signed heads: that each is a head of this very tree, and that who signed it is who should.

Guarantees: two heads that both pass are prefixes of one tree; a signature of a key that was given verifies, or the head
is refused; where the log's key was given, every head of the log bears its signature. Does not: verify keys that were
not given (they are counted: a line has several, one after the other), compare an OUTCOME with its requests (the pass
over the frames did), or read files.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Sequence

from sealpress.core.proof import Note, parse_note, parse_proof
from sealpress.errors import CoreError, Invalid
from sealpress.tlog.entry import OutcomeStatus
from sealpress.tlog.record import Record
from sealpress.verify.note import LineKey, LogKey, parse_vkey, verify_line, verify_log

LEAF_AGE_S_MAX = 300
_SIGNING = (OutcomeStatus.SIGNED, OutcomeStatus.PARTIAL, OutcomeStatus.UNKNOWN)


class Heads:
    """What the checker knows of heads; 40 bytes a COMMIT."""

    def __init__(self, origin: str, name: str, keys: Sequence[str]) -> None:
        """`keys`: vkeys of the log and of its lines."""
        self.log_id = hashlib.sha256(origin.encode()).digest()
        self.heads = 0
        self.signatures = 0
        self.unknown = 0
        self._origin = origin
        self._name = name
        self._keys: dict[tuple[str, bytes], LogKey | LineKey] = {}
        for vkey in keys:
            key = parse_vkey(vkey)
            self._keys[key.name, key.key_id] = key
        self._sizes = array("Q", [0])
        self._roots = bytearray(hashlib.sha256().digest())

    def commits(self, sizes: bytes, roots: bytes) -> None:
        """COMMITs in order, as a Step of core.replay has them: only their heads could ever be signed."""
        self._sizes.frombytes(sizes)
        self._roots += roots

    def outcome(self, record: Record, time_min: int, time_max: int) -> str | None:
        """What is wrong with an OUTCOME; None if nothing. The times: of its leaves, Unix seconds, 0 if unknown."""
        event = record.head.event
        leaves = sum(ref.count for ref in event.requests)
        if event.status in _SIGNING and event.signatures and len(event.signatures) != leaves:
            return f"{len(event.signatures)} signatures for {leaves} leaves"
        hashes = [hashlib.sha256(signature).digest() if signature else bytes(32) for signature in event.signatures]
        if event.signature_sha256 != b"".join(hashes):
            return "the stored hash of a signature is not its hash"
        if not event.checkpoint:
            return "a sealed OUTCOME without its checkpoint" if event.status is OutcomeStatus.SEALED else None
        if event.tree_size > record.head.first_leaf:
            return "a head that was signed before its leaves were there"
        times = (time_min, time_max) if time_max else None
        return self.note(event.checkpoint, line=event.line, size=event.tree_size, leaf_times=times)

    def note(
        self, text: bytes, *, line: str | None, size: int | None = None, leaf_times: tuple[int, int] | None = None
    ) -> str | None:
        """What is wrong with a signed head; `line`: the one whose line must be there besides the log's."""
        try:
            note = parse_note(text)
        except CoreError as error:
            return f"the signed head does not parse: {error.message}"
        found = self._head(note)
        if found is None and size is not None and note.size != size:
            found = f"the head has {note.size} leaves, the OUTCOME says {size}"
        if found is not None:
            return found
        self.heads += 1
        names = [signature.name for signature in note.lines]
        expected = [self._origin] if line is None else [self._origin, f"{self._name}/{line}"]
        missing = [name for name in expected if name not in names]
        if missing:
            return f"the head lacks the signature line of {missing[0]}"
        ours = {key for key in self._keys if key[0] == self._origin}
        if ours and ours.isdisjoint((signature.name, signature.key_id) for signature in note.lines):
            return f"the head lacks a signature by the key of {self._origin}"
        return self._signatures(note, expected[1:], leaf_times)

    def older(self, text: bytes) -> str | None:
        """Whether a checkpoint or a proof that the caller kept is a prefix of this log."""
        try:
            note = parse_note(text)
        except CoreError:
            try:
                note = parse_proof(text).note
            except CoreError:
                return "the older text is neither a signed checkpoint nor a proof"
        return self._head(note) or self._signatures(note, [], None)

    def _head(self, note: Note) -> str | None:
        if note.origin != self._origin:
            return f"the head is of {note.origin!r}"
        at = bisect_left(self._sizes, note.size)
        if at == len(self._sizes):
            return f"a head of {note.size} leaves, but the log has {self._sizes[-1]}: records are lost"
        if self._sizes[at] != note.size:
            return f"a head of {note.size} leaves, where no COMMIT ends"
        if bytes(self._roots[at * 32 : at * 32 + 32]) != note.root:
            return f"the head at {note.size} leaves has another root: two histories"
        return None

    def _signatures(self, note: Note, lines: Sequence[str], leaf_times: tuple[int, int] | None) -> str | None:
        for signature in note.lines:
            key = self._keys.get((signature.name, signature.key_id))
            if key is None:
                self.unknown += 1
                continue
            try:
                time = _verify(key, note.text, signature.signature)
            except Invalid:
                return f"the signature of {signature.name} does not verify"
            self.signatures += 1
            if time is None or signature.name not in lines:
                continue
            if leaf_times and not leaf_times[1] <= time <= leaf_times[0] + LEAF_AGE_S_MAX:
                return f"{signature.name} signed at {time}: before its leaves, or more than {LEAF_AGE_S_MAX} s after"
        return None


def _verify(key: LogKey | LineKey, text: bytes, signature: bytes) -> int | None:
    """The time of a cosignature; Invalid unless the key signed."""
    if isinstance(key, LineKey):
        return verify_line(key, text, signature)
    verify_log(key, text, signature)
    return None
