"""One committed record read back: what it says, the leaves it made, and what an answer about it needs.

Guarantees: what a `Record` says of its leaves is what the commit thread hashed from the same bytes; a record that does
not decode canonically is Invalid. Does not: read files (reader.py) or trust what it is given: whoever has a
root compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import msgspec

from sealpress.core import leaf
from sealpress.core.leaf import LeafSpec
from sealpress.core.segment import Frame
from sealpress.errors import Invalid
from sealpress.tlog import entry
from sealpress.tlog.entry import Event, Head, OutcomeEvent, RequestEvent, RequestRef, Where
from sealpress.values import LeafKind, Mode, RecordType

NANOSECONDS = 1_000_000_000
_KINDS = {Mode.PROOF: LeafKind.PROOF, Mode.DIRECT: LeafKind.DIRECT}


@dataclass(frozen=True, slots=True)
class Record:
    """A frame that made leaves."""

    where: Where
    next: Where  # where the frame after it starts
    type: RecordType
    version: int
    seq: int
    time_ns: int
    head: Head[Any]
    head_bytes: bytes
    salt_seed: bytes  # the columns of a REQUEST; empty for all others
    names: bytes
    digests: bytes

    @property
    def event(self) -> Event:
        """What happened."""
        event: Event = self.head.event
        return event

    @property
    def hash(self) -> bytes:
        """`record` of the leaves: 32 bytes that bind type, version, seq, time and head."""
        return leaf.record_hash(self.type, 0, self.version, self.seq, self.time_ns, self.head_bytes)

    def spec(self, log_name: str) -> LeafSpec:
        """What its leaves have in common."""
        event = self.head.event
        seconds = self.time_ns // NANOSECONDS
        if not isinstance(event, RequestEvent):
            return LeafSpec(LeafKind.EVENT, 0, bytes(32), scope(log_name, ""), 0, seconds, self.hash)
        return request_spec(event, log_name, seconds, self.hash)


class Stored(msgspec.Struct, frozen=True, dict=True):
    """A stored REQUEST with all that its proofs are made of."""

    where: Where
    seq: int
    time_ns: int
    first_leaf: int
    count: int
    head: bytes
    spec: LeafSpec  # record included
    salt_seed: bytes
    names: bytes
    digests: bytes

    @cached_property
    def event(self) -> RequestEvent:
        """What was asked; decoded when somebody wants to know."""
        event: RequestEvent = entry.decode(RecordType.REQUEST, entry.VERSION, self.head).event
        return event

    @property
    def event_id(self) -> bytes:
        """The event's, without the rest of it."""
        return self.head[entry.EVENT_ID]

    @property
    def request_id(self) -> bytes:
        """Likewise, UTF-8."""
        return entry.request_id_of(self.head)

    @property
    def opening(self) -> bytes:
        """The 45 bytes of the opening that its leaves share; the salt follows in each."""
        return leaf.opening(self.spec, bytes(16))[:45]

    def item_opening(self, position: int) -> bytes:
        """The whole opening of one item, 61 bytes."""
        return leaf.opening(self.spec, leaf.salts(self.salt_seed, position, 1))

    def leaf_hashes(self) -> bytes:
        """Hashes of its leaves, end to end."""
        return leaf.leaf_hashes(self.spec, self.salt_seed, self.digests, self.count)


@dataclass(frozen=True, slots=True)
class StoredOutcome:
    """A stored OUTCOME."""

    where: Where
    seq: int
    time_ns: int
    event: OutcomeEvent

    def signatures_of(self, request_seq: int) -> dict[int, bytes]:
        """Direct signatures of one request by leaf index; items that failed are absent."""
        found: dict[int, bytes] = {}
        at = 0
        for ref in self.event.requests:
            if ref.seq == request_seq:
                part = self.event.signatures[at : at + ref.count]
                found.update((ref.first_leaf + i, signature) for i, signature in enumerate(part) if signature)
            at += ref.count
        return found


@lru_cache(maxsize=4096)
def scope(log_name: str, line: str) -> bytes:
    """The leaf's scope; the same few lines again and again."""
    return leaf.scope(log_name, line)


def request_spec(event: RequestEvent, log_name: str, time: int, record: bytes = bytes(32)) -> LeafSpec:
    """What the leaves of a REQUEST have in common, given its time in seconds and its record hash."""
    return LeafSpec(
        _KINDS[event.mode],
        event.algorithm,
        event.key_id,
        scope(log_name, event.line),
        event.security_version,
        time,
        record,
    )


def from_frame(segment: int, frame: Frame) -> Record:
    """Decode a frame that has a head; Invalid if it does not decode canonically or its columns do not fit."""
    head = entry.decode(frame.type, frame.version, frame.head)
    event = head.event
    if isinstance(event, RequestEvent) and len(frame.digests) != event.algorithm.size * head.count:
        raise Invalid("a REQUEST's digests do not match its count", reason="ENTRY_ENCODING")
    return Record(
        Where(segment, frame.offset),
        Where(segment, frame.next_offset),
        RecordType(frame.type),
        frame.version,
        frame.seq,
        frame.time_ns,
        head,
        frame.head,
        frame.salt_seed,
        frame.names,
        frame.digests,
    )


def stored(record: Record, log_name: str) -> Stored:
    """All of a REQUEST that an answer needs; Invalid for another record."""
    if not isinstance(record.head.event, RequestEvent):
        raise Invalid("this record is no REQUEST", reason="ENTRY_TYPE")
    return Stored(
        record.where,
        record.seq,
        record.time_ns,
        record.head.first_leaf,
        record.head.count,
        record.head_bytes,
        record.spec(log_name),
        record.salt_seed,
        record.names,
        record.digests,
    )


def stored_outcome(record: Record) -> StoredOutcome:
    """An OUTCOME's content; Invalid for another record."""
    event = record.head.event
    if not isinstance(event, OutcomeEvent):
        raise Invalid("this record is no OUTCOME", reason="ENTRY_TYPE")
    return StoredOutcome(record.where, record.seq, record.time_ns, event)


def ref_of(known: Any) -> RequestRef:
    """The reference that an OUTCOME uses for a whole request: of a Placed, Stored or KnownRequest."""
    return RequestRef(known.seq, known.first_leaf, known.count)
