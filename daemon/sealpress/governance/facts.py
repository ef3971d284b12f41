"""The facts of governance: everything that a GOVERNANCE record may say, each with one canonical encoding.

A fact is in the past tense: steps/_office.py checked it against the state before it was appended, and fold.py folds it.
`kind` names the fact in the record; the body is canonical JSON (verify/change.py), so that any tool can read it years
later. Only the kind "policy" differs: its body is the policy file as it was approved.

Guarantees: `decode(kind, encode(fact)) == fact`; an unknown kind or another spelling is Invalid; a fact holds no
secret (I18). Does not: check whether a fact may be.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sealpress.errors import Invalid
from sealpress.values import Format, KeyClass, Mode
from sealpress.verify.change import (
    Canonical,
    ChangeRecord,
    Hex32,
    Name,
    Natural,
    Seconds,
    Text,
    encode,
)
from sealpress.verify.change import (
    decode as _decode,
)

IdentityKind = Literal["person", "workload", "service", "agent", "partner"]
Names = tuple[Name, ...]


class AnchorsAdopted(Canonical, frozen=True, kw_only=True, tag="anchors"):
    """The TrustAnchors document in force from here on (verify/anchors.py), with its signatures."""

    document: str
    signatures: tuple[str, ...]


class PolicyScheduled(Canonical, frozen=True, kw_only=True, tag="policy.scheduled"):
    """An approved policy, in force from `effective` on; its text is the change's request."""

    change_id: Name
    policy_sha256: Hex32
    effective: Seconds


class PolicyInForce(Canonical, frozen=True, kw_only=True, tag="policy"):
    """The policy file that decides from here on. In the record its body is the bare file."""

    body: str


class ChangeSubmitted(Canonical, frozen=True, kw_only=True, tag="change.submitted"):
    """Somebody proposes."""

    change: ChangeRecord


class ChangeMoved(Canonical, frozen=True, kw_only=True, tag="change.moved"):
    """One arrow of the table CHANGE."""

    change_id: Name
    verb: Name
    actor: Name  # authenticated name; empty: time or the last approval did it
    person: Name = ""
    reason: Text = ""


class ApprovalCounted(Canonical, frozen=True, kw_only=True, tag="approval.counted"):
    """A person's signature over the statement was verified and counts."""

    change_id: Name
    person: Name
    statement: str
    signature: str  # SSHSIG, armored
    credential: Name  # fingerprint of the key
    groups: Names  # of the path, that the person belonged to
    flags: Annotated[int, Meta(ge=0, le=255)] | None  # of a FIDO2 key
    counter: Natural | None
    nonce: Name
    expires: Seconds


class ApprovalEnded(Canonical, frozen=True, kw_only=True, tag="approval.ended"):
    """A counted approval counts no more: revoke (by its author), expire, or invalidate."""

    change_id: Name
    person: Name
    verb: Literal["revoke", "expire", "invalidate"]
    actor: Name
    reason: Text = ""


class IdentityEnrolled(Canonical, frozen=True, kw_only=True, tag="identity.enrolled"):
    """A person, machine or partner is known from here on. `names` are how it authenticates (Identity.id)."""

    identity: Name  # person:alice, workload:router-ci, ...
    kind: IdentityKind
    names: Names
    owner: Name  # a person
    backup_owner: Name
    trust_domain: Name
    environment: Name
    line: Name = ""  # GR-56: a machine of class low and above serves one line
    on_behalf_of: Name = ""  # agents: the person who counts as creator (GR-33)
    sponsor: Name = ""  # partners (GR-100)
    agreement: Name = ""
    expires: Seconds = 0  # 0: never
    change_id: Name


class IdentityMoved(Canonical, frozen=True, kw_only=True, tag="identity.moved"):
    """One arrow of the table IDENTITY. A stop (suspend, offboard) needs one person and no change."""

    identity: Name
    verb: Name
    actor: Name
    reason: Text
    change_id: Name = ""


class CredentialEnrolled(Canonical, frozen=True, kw_only=True, tag="credential.enrolled"):
    """A key that a person approves with, or a name by which he connects."""

    person: Name
    fingerprint: Name
    public: Text  # as in an authorized_keys file
    application: Name  # of a FIDO2 key
    effective: Seconds
    expires: Seconds
    change_id: Name


class CredentialRevoked(Canonical, frozen=True, kw_only=True, tag="credential.revoked"):
    """From here on it counts for nothing."""

    fingerprint: Name
    actor: Name
    reason: Text


class BindingMade(Canonical, frozen=True, kw_only=True, tag="binding.made"):
    """An identity holds a role on a line, or on all (`*`); `group` is what approval paths name."""

    binding: Name
    identity: Name
    role: Name
    line: Name
    group: Name
    not_after: Seconds
    change_id: Name


class BindingMoved(Canonical, frozen=True, kw_only=True, tag="binding.moved"):
    """One arrow of the table BINDING."""

    binding: Name
    verb: Name
    actor: Name
    reason: Text
    change_id: Name = ""


class IssuerRegistered(Canonical, frozen=True, kw_only=True, tag="issuer.registered"):
    """Tokens of this issuer are read from here on; an unregistered one is refused (GR-70)."""

    issuer: Name
    kind: Literal["github", "gitlab", "buildkite", "generic"]
    audience: Name
    owner: Name
    change_id: Name


class KeyProposed(Canonical, frozen=True, kw_only=True, tag="key.proposed"):
    """A key is to be made, or adopted. Times are Unix seconds (GR-110)."""

    key: Name  # id of the key, as in [key.<id>]
    line: Name
    class_: KeyClass = msgspec.field(name="class")
    environment: Name
    purpose: Name
    trusts: Names
    fleet_estimate: Natural
    mode: Mode
    format: Format
    algorithm: Name  # values.KeyKind
    slot: Name
    not_before: Seconds
    rotate_by: Seconds
    not_after: Seconds
    max_signatures: Natural
    owner: Name
    backup_owner: Name
    adopted: bool
    change_id: Name


class KeyGenerated(Canonical, frozen=True, kw_only=True, tag="key.generated"):
    """What the custodian found on the token after it made (or adopted) the key."""

    key: Name
    spki: Text  # base64: of RSA it is longer than a Name
    key_id: Hex32
    attributes: dict[str, bool]  # read back: sensitive, extractable, always_sensitive, never_extractable, local, ...
    origin: Literal["attestation", "ceremony", "custodian", "none"]
    origin_proof: Text  # base64; custodian: the key's signature over the statement of its birth
    origin_sha256: Name
    software_token: bool
    operator: Name  # the person
    accepted_risk: Text = ""  # of an adopted key without proof


class KeyCertified(Canonical, frozen=True, kw_only=True, tag="key.certified"):
    """A certificate chain for the key."""

    key: Name
    chain_sha256: Hex32
    chain: str  # PEM
    operator: Name


class KeyMoved(Canonical, frozen=True, kw_only=True, tag="key.moved"):
    """One arrow of the table KEY; the public half follows from it."""

    key: Name
    verb: Name
    actor: Name
    person: Name
    reason: Text
    change_id: Name = ""
    since: Seconds = 0  # mark_compromised: earliest suspected time
    witnesses: Names = ()  # destroy


class KeyExtended(Canonical, frozen=True, kw_only=True, tag="key.extended"):
    """Later dates, once, by root quorum (GR-110)."""

    key: Name
    rotate_by: Seconds
    not_after: Seconds
    change_id: Name


class GrantIssued(Canonical, frozen=True, kw_only=True, gc=False, tag="grant.issued"):
    """A bounded right to use a line (GR-41); immutable."""

    grant: Name
    change_id: Name  # empty for a job grant of class low, whose rule the policy's change approved
    identity: Name  # the authenticated name
    holder: Name  # hex SHA-256 of the certificate or of a token's signed part; empty: any of this identity
    line: Name
    rule: Name
    policy_sha256: Hex32
    constraint: Literal["any", "name-version", "manifest", "exact-digests"]
    algorithm: Name
    digests: Names  # hex
    manifest_sha256: Name
    name: Name
    version: Name
    max_uses: Natural
    not_before: Seconds
    not_after: Seconds
    gates: Names  # that must be passed first
    creator_person: Name = ""
    security_version: Natural = 0  # that requests under exact digests must carry


class GrantMoved(Canonical, frozen=True, kw_only=True, tag="grant.moved"):
    """`revoke`, or time's `expire`. Uses are counted from the REQUEST records."""

    grant: Name
    verb: Literal["revoke", "expire"]
    actor: Name
    reason: Text


class GatePassed(Canonical, frozen=True, kw_only=True, tag="gate.passed"):
    """A checkpoint of a release was passed by a person (GR-42)."""

    grant: Name
    gate: Name
    person: Name
    actor: Name


class SharesRecorded(Canonical, frozen=True, kw_only=True, tag="shares.recorded"):
    """A key's backup is split m of n (GR-61); no share is ever in the log."""

    key: Name
    set_id: Name
    m: Natural
    n: Natural
    custodians: Names
    commitments: Names
    change_id: Name


class AlertRaised(Canonical, frozen=True, kw_only=True, tag="alert"):
    """Something that people must see: a due date, a decreasing counter, a refused act of a suspended key."""

    name: Name
    subject: Name
    text: Text


class SnapshotTaken(Canonical, frozen=True, kw_only=True, tag="snapshot.taken"):
    """A file with the state after `seq` exists; it counts only if this is its hash."""

    seq: Natural
    sha256: Hex32


Fact = (
    AnchorsAdopted | PolicyScheduled | PolicyInForce | ChangeSubmitted | ChangeMoved | ApprovalCounted | ApprovalEnded
    | IdentityEnrolled | IdentityMoved | CredentialEnrolled | CredentialRevoked | BindingMade | BindingMoved
    | IssuerRegistered | KeyProposed | KeyGenerated | KeyCertified | KeyMoved
    | KeyExtended | GrantIssued | GrantMoved | GatePassed
    | SharesRecorded | AlertRaised | SnapshotTaken
)  # fmt: skip

KINDS: dict[str, type[Fact]] = {fact.__struct_config__.tag: fact for fact in Fact.__args__}
POLICY = "policy"
OTHERS = frozenset({"log.created"})  # facts of the log itself; governance does not fold them


def kind_of(fact: Fact) -> str:
    """What the record calls it."""
    return str(type(fact).__struct_config__.tag)


def body_of(fact: Fact) -> bytes:
    """The record's body."""
    return fact.body.encode() if isinstance(fact, PolicyInForce) else encode(fact)


def decode(kind: str, body: bytes) -> Fact:
    """The fact of a record; Invalid for an unknown kind or another spelling."""
    if kind == POLICY:
        try:
            return PolicyInForce(body=body.decode())
        except UnicodeDecodeError:
            raise Invalid("a policy is UTF-8 text", reason="FACT_KIND") from None
    type_ = KINDS.get(kind)
    if type_ is None:
        raise Invalid(f"an unknown kind of governance record: {kind!r}", reason="FACT_KIND")
    return _decode(body, type_)
