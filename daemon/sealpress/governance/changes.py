"""Which changes there are: what each asks for, who may propose and carry it out, and on which approval path.

No issuance, activation, resumption, policy, role or retirement verb acts without a change record of its kind in state
`approved` (GR-13). What stops (suspend, revoke, offboard) is not here: it needs one person and no approval.

Guarantees: a request decodes from one byte string only. Does not: know states (steps/_office.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sealpress.errors import Invalid
from sealpress.governance.facts import IdentityKind, Names
from sealpress.governance.roles import Plane, Role
from sealpress.values import Format, KeyClass, KeyKind, Mode
from sealpress.verify.change import Canonical, ChangeRecord, Name, Natural, ReleaseRequest, Seconds, Text, decode

PATHS = ("issuance", "signing", "retirement", "exception", "policy", "access", "root", "compromise")


class KeyRequest(Canonical, frozen=True, kw_only=True):
    """`key.issue` and `key.adopt`: a key for one line (GR-02, 83, 110). Times are Unix seconds."""

    key: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}\Z")]  # id, as in [key.<id>]
    line: Name
    class_: KeyClass = msgspec.field(name="class")
    environment: Name
    purpose: Name
    trusts: Names = ()
    fleet_estimate: Natural = 0
    mode: Mode
    format: Format
    algorithm: KeyKind
    slot: Name
    not_before: Seconds
    rotate_by: Seconds
    not_after: Seconds
    max_signatures: Annotated[int, Meta(ge=1)]
    owner: Name
    backup_owner: Name
    accepted_risk: Text = ""  # of an adopted key, whose birth nobody can prove


class KeyAct(Canonical, frozen=True, kw_only=True):
    """`key.activate`, `key.resume`, `key.deactivate`, `key.destroy`: one arrow for one key."""

    key: Name
    line: Name


class CompromiseRequest(Canonical, frozen=True, kw_only=True):
    """`key.compromise`: nothing signed since then can be trusted (GR-114)."""

    key: Name
    line: Name
    since: Seconds
    evidence: Text


class ExtendRequest(Canonical, frozen=True, kw_only=True):
    """`key.extend`: once, at most 90 days, by the root quorum (GR-110)."""

    key: Name
    line: Name
    rotate_by: Seconds
    not_after: Seconds


class PolicyRequest(Canonical, frozen=True, kw_only=True):
    """`policy.change`: the whole file."""

    policy: Annotated[str, Meta(max_length=1 << 20)]


class EnrolRequest(Canonical, frozen=True, kw_only=True):
    """`access.enrol`: a person, machine, agent or partner (GR-32, 33, 55, 56, 100)."""

    identity: Annotated[str, Meta(pattern=r"^(person|workload|service|agent|partner):[A-Za-z0-9._@-]{1,120}\Z")]
    kind: IdentityKind
    names: Annotated[Names, Meta(min_length=1, max_length=16)]
    owner: Name = ""
    backup_owner: Name = ""
    trust_domain: Name = ""
    environment: Name = ""
    line: Name = ""
    on_behalf_of: Name = ""
    sponsor: Name = ""
    agreement: Name = ""
    expires: Seconds = 0


class CredentialRequest(Canonical, frozen=True, kw_only=True):
    """`access.credential`: a key that a person approves with; `proof` is its signature over `proof_text`."""

    person: Name
    public: Text
    expires: Seconds
    proof: Text  # SSHSIG, armored


class BindRequest(Canonical, frozen=True, kw_only=True):
    """`access.bind`: a role on a line, or on all (`*`)."""

    identity: Name
    role: Role
    line: Name
    group: Name = ""
    not_after: Seconds = 0


class RestoreRequest(Canonical, frozen=True, kw_only=True):
    """`access.restore`: what was suspended counts again."""

    what: Literal["identity", "binding"]
    id: Name


class IssuerRequest(Canonical, frozen=True, kw_only=True):
    """`access.issuer`: tokens of this issuer are read (GR-70)."""

    issuer: Name
    kind: Literal["github", "gitlab", "buildkite", "generic"]
    audience: Name
    owner: Name


class SharesRequest(Canonical, frozen=True, kw_only=True):
    """`recovery.shares`: a key's backup, split m of n (GR-61); no share itself."""

    key: Name
    line: Name
    set_id: Name
    m: Annotated[int, Meta(ge=2)]
    n: Annotated[int, Meta(ge=3)]
    custodians: Names
    commitments: Names


Request = (
    KeyRequest | KeyAct | CompromiseRequest | ExtendRequest | PolicyRequest | EnrolRequest | CredentialRequest
    | BindRequest | RestoreRequest | IssuerRequest | SharesRequest | ReleaseRequest
)  # fmt: skip

_OFFICER = Role.SECURITY_OFFICER


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of change."""

    name: str
    request: type[Request]
    plane: Plane
    path: str
    proposers: frozenset[Role]
    executors: frozenset[Role]  # empty: it is carried out by the last approval
    approvers: frozenset[Role]
    expires_s: int = 14 * 86_400


def _kind(
    name: str,
    request: type[Request],
    plane: Plane,
    path: str,
    proposers: set[Role],
    executors: set[Role],
    approvers: set[Role],
) -> Kind:
    return Kind(name, request, plane, path, frozenset(proposers), frozenset(executors), frozenset(approvers))


_ISSUE = ({Role.ISSUANCE_OPERATOR}, {Role.ISSUANCE_OPERATOR}, {_OFFICER})
_RETIRE = ({Role.RETIREMENT_OPERATOR, _OFFICER}, {Role.RETIREMENT_OPERATOR}, {_OFFICER})
_ACCESS = ({Role.ACCESS_ADMIN, _OFFICER}, set[Role](), {_OFFICER, Role.ACCESS_ADMIN})

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        _kind("key.issue", KeyRequest, Plane.ISSUANCE, "issuance", *_ISSUE),
        _kind("key.adopt", KeyRequest, Plane.ISSUANCE, "issuance", *_ISSUE),
        _kind("key.activate", KeyAct, Plane.ISSUANCE, "issuance", *_ISSUE),
        _kind("key.resume", KeyAct, Plane.ISSUANCE, "signing", {Role.ISSUANCE_OPERATOR, _OFFICER}, set(),
              {_OFFICER, Role.RELEASE_APPROVER}),
        _kind("key.extend", ExtendRequest, Plane.ISSUANCE, "root", {Role.ISSUANCE_OPERATOR, _OFFICER}, set(),
              {_OFFICER}),
        _kind("recovery.shares", SharesRequest, Plane.ISSUANCE, "issuance", {Role.ISSUANCE_OPERATOR}, set(),
              {_OFFICER}),
        _kind("key.deactivate", KeyAct, Plane.RETIREMENT, "retirement", *_RETIRE),
        _kind("key.destroy", KeyAct, Plane.RETIREMENT, "retirement", *_RETIRE),
        _kind("key.compromise", CompromiseRequest, Plane.RETIREMENT, "compromise",
              {Role.RETIREMENT_OPERATOR, Role.INCIDENT_RESPONDER, _OFFICER}, set(),
              {_OFFICER, Role.INCIDENT_RESPONDER}),
        _kind("policy.change", PolicyRequest, Plane.POLICY, "policy", {Role.POLICY_AUTHOR, _OFFICER}, set(),
              {Role.POLICY_APPROVER, _OFFICER}),
        _kind("access.enrol", EnrolRequest, Plane.ACCESS, "access", *_ACCESS),
        _kind("access.credential", CredentialRequest, Plane.ACCESS, "access", *_ACCESS),
        _kind("access.bind", BindRequest, Plane.ACCESS, "access", *_ACCESS),
        _kind("access.restore", RestoreRequest, Plane.ACCESS, "access", *_ACCESS),
        _kind("access.issuer", IssuerRequest, Plane.ACCESS, "access", *_ACCESS),
        _kind("sign.release", ReleaseRequest, Plane.USE, "signing", {Role.REQUESTER}, set(),
              {Role.RELEASE_APPROVER, _OFFICER}),
    )
}  # fmt: skip


def request_of(record: ChangeRecord) -> Request:
    """The request of a record, decoded from its only bytes."""
    kind = KINDS.get(record.kind)
    if kind is None:
        raise Invalid(f"there is no change of kind {record.kind!r}", reason="UNKNOWN_KIND")
    return decode(record.request, kind.request)


def line_of(request: Request) -> str:
    """The line that a request is about; empty if it is about none."""
    line = getattr(request, "line", "")
    return "" if line == "*" else str(line)


def beneficiary_of(request: Request) -> str:
    """The identity that gains by it: it neither proposes nor approves (GR-34)."""
    match request:
        case BindRequest(identity=identity) | EnrolRequest(identity=identity):
            return identity
        case CredentialRequest(person=person):
            return person
        case _:
            return ""


def proof_text(person: str, deployment: str, public: str) -> bytes:
    """What the new key signs to show that its owner holds it."""
    return f"sealpress credential v1\ndeployment: {deployment}\nperson: {person}\nkey: {public}\n".encode()


CREDENTIAL_NAMESPACE = "credential@v1.sealpress"
