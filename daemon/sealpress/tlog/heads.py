"""Judges signed heads: that each is a head of this very tree, and that who signed it is who should.

Guarantees: two heads that both pass are prefixes of one tree; a signature of a key that was given verifies, or the head
is refused. Does not: verify keys that were not given (they are counted), or read files.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from sealpress.core.proof import Note, parse_note, parse_proof
from sealpress.errors import CoreError, Invalid
from sealpress.tlog.entry import OutcomeStatus
from sealpress.tlog.record import NANOSECONDS, Record
from sealpress.values import Mode
from sealpress.verify.note import LineKey, LogKey, parse_vkey, verify_line, verify_log

REQUESTS_OPEN_MAX = 1_000_000
LEAF_AGE_S_MAX = 300
_SEALING = (OutcomeStatus.SEALED,)
_SIGNING = (OutcomeStatus.SIGNED, OutcomeStatus.PARTIAL, OutcomeStatus.UNKNOWN)


@dataclass(frozen=True, slots=True)
class _Request:
    first_leaf: int
    count: int
    time: int
    line: str
    key_id: bytes
    mode: Mode


class Heads:
    """What the checker knows of heads and of requests that wait for an outcome; 40 bytes a COMMIT."""

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
        self._requests: OrderedDict[int, _Request] = OrderedDict()

    def commit(self, size: int, root: bytes) -> None:
        """A COMMIT: only its head could ever be signed."""
        if size != self._sizes[-1]:
            self._sizes.append(size)
            self._roots += root

    def request(self, record: Record) -> None:
        """A REQUEST that OUTCOMEs may name from now on."""
        event, head = record.head.event, record.head
        self._requests[record.seq] = _Request(
            head.first_leaf, head.count, record.time_ns // NANOSECONDS, event.line, event.key_id, event.mode
        )
        if len(self._requests) > REQUESTS_OPEN_MAX:
            self._requests.popitem(last=False)

    def outcome(self, record: Record) -> str | None:
        """What is wrong with an OUTCOME; None if nothing."""
        event = record.head.event
        leaves = sum(ref.count for ref in event.requests)
        if event.status in _SIGNING and event.signatures and len(event.signatures) != leaves:
            return f"{len(event.signatures)} signatures for {leaves} leaves"
        for signature, at in zip(event.signatures, range(0, len(event.signature_sha256), 32), strict=False):
            stored = event.signature_sha256[at : at + 32]
            if stored != (hashlib.sha256(signature).digest() if signature else bytes(32)):
                return "the stored hash of a signature is not its hash"
        times: list[int] = []
        for ref in event.requests:
            request = self._requests.get(ref.seq)
            if ref.first_leaf + ref.count > record.head.first_leaf:
                return "an OUTCOME of leaves that come after it"
            if request is None:
                continue  # beyond what the checker keeps
            if ref.first_leaf < request.first_leaf or (ref.first_leaf + ref.count > request.first_leaf + request.count):
                return f"the OUTCOME names leaves that request {ref.seq} does not have"
            if (request.line, request.key_id) != (event.line, event.key_id):
                return f"the OUTCOME names another line or key than request {ref.seq}"
            if event.status in _SEALING and ref.first_leaf + ref.count > event.tree_size:
                return "a leaf was sealed under a head that does not hold it"
            times.append(request.time)
            if request.mode is Mode.PROOF or ref.count == request.count:
                del self._requests[ref.seq]
        if event.checkpoint:
            return self.note(event.checkpoint, line=event.line, size=event.tree_size, leaf_times=times)
        return "a sealed OUTCOME without its checkpoint" if event.status in _SEALING else None

    def note(
        self, text: bytes, *, line: str | None, size: int | None = None, leaf_times: Sequence[int] = ()
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
        return self._head(note) or self._signatures(note, [], ())

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

    def _signatures(self, note: Note, lines: Sequence[str], leaf_times: Sequence[int]) -> str | None:
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
            if leaf_times and not max(leaf_times) <= time <= min(leaf_times) + LEAF_AGE_S_MAX:
                return f"{signature.name} signed at {time}: before its leaves, or more than {LEAF_AGE_S_MAX} s after"
        return None


def _verify(key: LogKey | LineKey, text: bytes, signature: bytes) -> int | None:
    """The time of a cosignature; Invalid unless the key signed."""
    if isinstance(key, LineKey):
        return verify_line(key, text, signature)
    verify_log(key, text, signature)
    return None
