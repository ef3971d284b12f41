"""What stands in the journal's frames: the events, their heads, and the one encoding that counts.

A head is the MessagePack of `Head` as an array; its bytes go into the leaf (through `record`), so there is one encoding
of each: a decoder re-encodes what it read and compares.

Guarantees: `decode(type, version, encode(head)) == head`; other bytes that would decode to the same head are refused,
as are unknown types and versions. Does not: hash, know segments, or judge what an
event says.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from sealpress.errors import Invalid
from sealpress.values import NO_ARTIFACT, Artifact, DigestAlgorithm, Format, Mode, RecordType

VERSION = 1  # of every frame we write; another one is refused, never guessed at
NONCE_BYTES = 16
EVENT_ID = slice(24, 40)  # where it stands in the head of a REQUEST
HEAD_STARTS = b"\x95\xc4\x10"  # every head: an array of five, a nonce of sixteen bytes

Bytes16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Digest = Annotated[bytes, Meta(max_length=64)]
Natural = Annotated[int, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)]
Claims = tuple[tuple[str, str], ...]


class _Canonical(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Encoded as an array of all its fields in this order: appending one is a new frame version."""


class Where(NamedTuple):
    """Where a committed frame stands."""

    segment: int
    offset: int


class OutcomeStatus(enum.StrEnum):
    """What became of leaves that a REQUEST appended."""

    SEALED = "sealed"  # proof: a signed head covers them
    SIGNED = "signed"  # direct: every item has its signature here
    PARTIAL = "partial"  # direct: some have
    UNKNOWN = "unknown"  # the token may have signed; nobody knows
    STOPPED = "stopped"  # a stop came before the signature
    LAPSED = "lapsed"  # too old to be signed, ever


class ArtifactEvent(_Canonical, frozen=True):
    """What the requester said about the artifact; recorded, never trusted."""

    name: str
    version: str
    size: Natural
    media_type: str


class FieldEvent(_Canonical, frozen=True):
    """One expectation of a rule beside what was presented (GR-23)."""

    name: str
    expected: str
    presented: str
    ok: bool


class RequestEvent(_Canonical, frozen=True):
    """REQUEST: somebody was allowed to have these digests signed (GR-20).

    `grant_id` is the grant that is spent, asked for or found; what stands behind it follows from `change_id`.
    """

    event_id: Bytes16  # ULID
    request_id: str
    identity: str
    cert_sha256: bytes
    line: str
    key_id: Bytes32
    mode: Mode
    format: Format
    algorithm: DigestAlgorithm
    same: Bytes32  # SHA-256 of the fields that make two requests the same (DESIGN 6)
    security_version: Count
    artifact: ArtifactEvent
    computed_by: str  # who hashed: "client" or "daemon"
    policy_sha256: Bytes32
    rule: str
    decision: str  # "allow"
    governance_seq: Natural  # the last governance record that the decision saw
    batch: bool
    source: str  # address of the peer
    grant_id: str = ""
    change_id: str = ""  # that brought the grant
    issuer: str = ""  # of a token
    subject: str = ""
    claims: Claims = ()  # of a token, normalised
    token_sha256: bytes = b""
    jti: str = ""
    verdict: str = ""  # of the expected pipeline: match, mismatch, absent
    fields: tuple[FieldEvent, ...] = ()  # of the rule that decided
    profile: str = ""  # of a governed node: lab, baseline, regulated


class RequestRef(_Canonical, frozen=True):
    """Leaves of one REQUEST, or a part of them."""

    seq: Natural
    first_leaf: Natural
    count: Count


class OutcomeEvent(_Canonical, frozen=True):
    """OUTCOME: what became of the leaves of `requests`.

    proof: once per batch and line, `checkpoint` is the signed note with the lines of the log and of `line`.
    direct: `signatures` has one entry per leaf of `requests`, in that order, empty for an item that failed;
    `signature_sha256` has 32 bytes for each of them, zeros for one that failed.
    """

    requests: tuple[RequestRef, ...]
    line: str
    key_id: Bytes32
    status: OutcomeStatus
    rv: Natural  # CKR_* of the token
    latency_us: Natural
    slot: str
    tree_size: Natural
    checkpoint: bytes
    signatures: tuple[bytes, ...]
    signature_sha256: bytes
    governance_seq: Natural


class RefusalEvent(_Canonical, frozen=True):
    """REFUSAL: somebody was not allowed (GR-22), or a summary of `suppressed` such refusals."""

    event_id: Bytes16
    request_id: str
    identity: str
    cert_sha256: bytes
    line: str  # as the caller wrote it, cut and escaped: no such line need exist
    reason: str
    digest: Digest  # the first of them
    count: Count
    suppressed: Natural
    policy_sha256: Bytes32
    governance_seq: Natural
    source: str
    issuer: str = ""
    subject: str = ""
    verdict: str = ""
    fields: tuple[FieldEvent, ...] = ()  # of the closest rule; nobody but auditors hears of them
    profile: str = ""


class GovernanceEvent(_Canonical, frozen=True):
    """GOVERNANCE: "log.created" (leaf 0), or one fact of governance/facts.py; sha256 is that of the body."""

    kind: str
    body: bytes
    sha256: Bytes32
    profile: str = ""


class LogCreated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON body of "log.created": leaf 0 says which log this is."""

    format: int
    name: str
    number: int
    segment_bytes: int


class RecoveryEvent(_Canonical, frozen=True):
    """RECOVERY: what a restart found and repaired."""

    kind: str  # "torn_tail"
    segment: Natural
    damage_from: Natural  # offsets in that segment
    damage_to: Natural
    copy_name: str  # in broken/
    copy_sha256: bytes
    next_seq: Natural  # where the log went on
    tree_size: Natural


Event = RequestEvent | OutcomeEvent | RefusalEvent | GovernanceEvent | RecoveryEvent
E_co = TypeVar("E_co", bound=Event, covariant=True)


class Head(msgspec.Struct, Generic[E_co], array_like=True, frozen=True, forbid_unknown_fields=True):
    """What the leaf's `record` covers; of an event record it is the whole payload."""

    nonce: Bytes16
    event: E_co
    first_leaf: Natural
    count: Annotated[int, Meta(ge=1, le=0xFFFF_FFFF)]
    items_root: Bytes32


class RequestForm:
    """What the heads of many REQUESTs have in common, encoded once: all but what each of them has of its own.

    `head` gives the very bytes of `encode(Head(nonce, event, first_leaf, count, items_root))`.
    """

    __slots__ = ("_before", "_behind", "_plain")

    def __init__(self, event: RequestEvent) -> None:
        """From any of them."""
        values = msgspec.structs.astuple(event)
        assert _OF_ITS_OWN == event.__struct_fields__[_BEHIND - 3 : _BEHIND]
        self._before = _ENCODER.encode(values[2 : _BEHIND - 3])[1:] + _BYTES_32  # what stands between id and `same`
        self._behind = _ENCODER.encode(values[_BEHIND:])[3:]  # after the artifact
        self._plain = _own_fields(0, NO_ARTIFACT) + self._behind  # most say nothing of an artifact

    def head(
        self,
        nonce: bytes,
        event_id: bytes,
        request_id: str,
        same: bytes,
        security_version: int,
        artifact: Artifact | ArtifactEvent,
        first_leaf: int,
        count: int,
        items_root: bytes,
    ) -> bytes:
        """The head of one of them; ValueError for a field of a wrong length."""
        if not (len(nonce) == NONCE_BYTES and len(event_id) == 16 and len(same) == len(items_root) == 32):
            raise ValueError("nonce and event id have 16 bytes, sameness and root 32")
        if security_version or artifact is not NO_ARTIFACT:
            behind = _own_fields(security_version, artifact) + self._behind
        else:
            behind = self._plain
        end = _ENCODER.encode((first_leaf, count, items_root))[1:]  # without the tuple's header
        id_ = _ENCODER.encode(request_id)
        return b"".join((HEAD_STARTS, nonce, _EVENT_STARTS, event_id, id_, self._before, same, behind, end))


EVENTS: dict[RecordType, type[Event]] = {
    RecordType.REQUEST: RequestEvent,
    RecordType.OUTCOME: OutcomeEvent,
    RecordType.REFUSAL: RefusalEvent,
    RecordType.GOVERNANCE: GovernanceEvent,
    RecordType.RECOVERY: RecoveryEvent,
}
_TYPES: dict[type[Event], RecordType] = {event: type_ for type_, event in EVENTS.items()}
_DECODERS: dict[int, msgspec.msgpack.Decoder[Any]] = {
    int(type_): msgspec.msgpack.Decoder(Head[event])  # type: ignore[valid-type]
    for type_, event in EVENTS.items()
}
_ENCODER = msgspec.msgpack.Encoder()


def _own_fields(security_version: int, artifact: Artifact | ArtifactEvent) -> bytes:
    """Of a RequestEvent, as they stand in its array."""
    fields = security_version, (artifact.name, artifact.version, artifact.size, artifact.media_type)
    return _ENCODER.encode(fields)[1:]  # without the tuple's header of one byte


_EVENT_STARTS = b"\xdc" + len(RequestEvent.__struct_fields__).to_bytes(2, "big") + b"\xc4\x10"  # then the id
_BYTES_32 = b"\xc4\x20"
_OF_ITS_OWN = ("same", "security_version", "artifact")
_BEHIND = RequestEvent.__struct_fields__.index("computed_by")


@dataclass(frozen=True, slots=True)
class Commit:
    """The payload of a COMMIT frame: closes a batch."""

    first_seq: int
    count: int  # frames of the batch without the COMMIT
    tree_size: int
    root: bytes
    chain: bytes
    durable_seq: int | None  # highest seq known durable when it was written


def type_of(event: Event) -> RecordType:
    """The frame type that carries such an event."""
    return _TYPES[type(event)]


def request_id_of(head: bytes) -> bytes:
    """The request id in the head of a REQUEST, UTF-8 of at most 255 bytes, without decoding the rest."""
    at, size = EVENT_ID.stop + 1, head[EVENT_ID.stop]
    if size == 0xD9:  # its length is in a byte of its own
        at, size = at + 1, head[at]
    else:
        size &= 0x1F
    return head[at : at + size]


def encode(head: Head[Event]) -> bytes:
    """The only bytes of this head."""
    return _ENCODER.encode(head)


def decode(type_: int, version: int, head: bytes | memoryview) -> Head[Any]:
    """The head of a record; Invalid unless these are its only bytes and type and version are known."""
    decoder = _DECODERS.get(type_)
    if decoder is None:
        raise Invalid(f"a frame of type {type_} has no head", reason="ENTRY_TYPE")
    if version != VERSION:
        raise Invalid(
            f"record version {version} is unknown; this release knows {VERSION}",
            reason="ENTRY_VERSION",
            hint="read it with the release that wrote it, or a newer one",
        )
    try:
        decoded: Head[Any] = decoder.decode(head)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"the record does not decode: {error}", reason="ENTRY_ENCODING") from error
    if _ENCODER.encode(decoded) != head:
        raise Invalid("the record is not in its canonical encoding", reason="ENTRY_ENCODING")
    return decoded


def unpack_names(names: bytes) -> list[tuple[int, str]]:
    """The names column as (size, name) per item; Invalid unless it is exact."""
    items: list[tuple[int, str]] = []
    at = 0
    while at < len(names):
        if at + 12 > len(names):
            raise Invalid("the names column is cut short", reason="ENTRY_ENCODING")
        item_size, name_size = struct.unpack_from("<QI", names, at)
        at += 12
        raw = names[at : at + name_size]
        if len(raw) != name_size:
            raise Invalid("the names column is cut short", reason="ENTRY_ENCODING")
        try:
            items.append((item_size, raw.decode()))
        except UnicodeDecodeError as error:
            raise Invalid("a name is not UTF-8", reason="ENTRY_ENCODING") from error
        at += name_size
    return items


_COMMIT = struct.Struct("<QIQ32s32sQ")
_DURABLE_NONE = 2**64 - 1


def decode_commit(payload: bytes | memoryview) -> Commit:
    """The fields of a COMMIT; Invalid if it has another length."""
    if len(payload) != _COMMIT.size:
        raise Invalid("a COMMIT has the wrong length", reason="ENTRY_ENCODING")
    first_seq, count, tree_size, root, chain, durable = _COMMIT.unpack(payload)
    return Commit(first_seq, count, tree_size, root, chain, None if durable == _DURABLE_NONE else durable)
