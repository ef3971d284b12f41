"""Change records: what is proposed, by whom, why, and whose approval it needs; immutable, with one encoding.

The digest that approvers sign is SHA-256 of `encode(change)`, the canonical JSON: fields in the order below, no spaces.
`request` is itself canonical JSON: the exact bytes of what is to be done.

Guarantees: `decode(encode(change)) == change`; other bytes that would decode to the same change are refused. Does not:
know who may propose what (governance), or how far a change has come.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from sealpress.errors import Invalid

CHANGE_BYTES_MAX = 8 << 20
REQUEST_BYTES_MAX = 4 << 20
TEXT_MAX = 4_096

Text = Annotated[str, Meta(max_length=TEXT_MAX)]
Name = Annotated[str, Meta(max_length=512)]
Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Seconds = Annotated[int, Meta(ge=0, le=1 << 40)]
Natural = Annotated[int, Meta(ge=0)]

Credential = Literal["ssh", "sk", "sk+uv"]
"""What an approver signs with: any SSH key; a FIDO2 key that was touched; one that also checked its owner."""

T = TypeVar("T", bound=msgspec.Struct)


class Canonical(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Encoded as a JSON object of all its fields in their order."""


class Required(Canonical, frozen=True, kw_only=True):
    """Whose approval a change needs, as the policy in force at its submission says."""

    path: Name  # issuance, signing, retirement, exception, policy, access, root, ...
    quorum: Annotated[int, Meta(ge=0, le=32)]
    groups: tuple[Name, ...] = ()  # an approver belongs to one of them
    min_groups: Natural = 1  # how many of them the approvers come from
    must_include: tuple[Name, ...] = ()
    credential: Credential = "sk"
    valid_s: Seconds = 86_400  # how long one approval counts


class ChangeRecord(Canonical, frozen=True, kw_only=True):
    """One proposal (GR-13). Times are Unix seconds."""

    schema: Literal[1] = 1
    change_id: Name  # ULID
    profile: Name  # lab, baseline, regulated
    deployment: Name
    log: Name  # name of the governance log
    kind: Name
    line: Name  # empty where no line is meant
    request: Annotated[str, Meta(max_length=REQUEST_BYTES_MAX)]
    summary: Name
    reason: Text
    risk: Text
    rollback: Text
    ticket: Name
    policy_sha256: Hex32  # in force at submission
    requester: Name  # the authenticated name
    requester_person: Name  # the person behind it; empty for a machine
    creator_person: Name  # who triggered the build, for sign.release; empty if nobody could be named
    created: Seconds
    expires: Seconds
    required: Required

    @property
    def sha256(self) -> str:
        """What approvers sign, as hex."""
        return hashlib.sha256(encode(self)).hexdigest()


class ReleaseItem(Canonical, frozen=True, kw_only=True):
    """One artifact of a release: its exact digest, and what it is called."""

    digest: Annotated[str, Meta(pattern=r"^([0-9a-f]{64}|[0-9a-f]{96}|[0-9a-f]{128})\Z")]
    name: Name = ""
    version: Name = ""
    size: Natural = 0


class ReleaseRequest(Canonical, frozen=True, kw_only=True):
    """The request of `sign.release`: these digests, on this line, for this identity, in this time."""

    release_id: Name
    line: Name
    identity: Name  # who will ask for the signatures
    rule: Name
    algorithm: Literal["sha256", "sha384", "sha512"]
    items: Annotated[tuple[ReleaseItem, ...], Meta(min_length=1, max_length=100_000)]
    manifest_sha256: Hex32  # of the canonical JSON of `items`
    ttl_s: Seconds
    gates: tuple[Name, ...] = ()
    security_version: Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)] = 0  # the counter that their leaves must carry


def encode(value: msgspec.Struct) -> bytes:
    """The only bytes of this value."""
    return msgspec.json.encode(value)


def decode(body: bytes | str, type_: type[T]) -> T:
    """A value from its only bytes; Invalid for any other bytes."""
    raw = body.encode() if isinstance(body, str) else body
    hint = "give the bytes as they were recorded, unchanged"
    if len(raw) > CHANGE_BYTES_MAX:
        raise Invalid("the record is too large", reason="CHANGE_ENCODING", hint=hint)
    try:
        value = msgspec.json.decode(raw, type=type_)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"the record does not decode: {error}", reason="CHANGE_ENCODING", hint=hint) from None
    if encode(value) != raw:
        raise Invalid("the record is not in its canonical encoding", reason="CHANGE_ENCODING", hint=hint)
    return value


def manifest_sha256(items: tuple[ReleaseItem, ...]) -> str:
    """What stands for a list of artifacts, as hex."""
    return hashlib.sha256(msgspec.json.encode(items)).hexdigest()
