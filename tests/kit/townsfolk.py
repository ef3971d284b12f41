"""Who lives in a town (kit/town.py) and what they have: persons with keys, pipelines, the policy, keys that sign.

All of it is the same in every town, and made once.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import structs

from kit.softkeys import SoftKey
from sealpress.governance import changes as c
from sealpress.governance import facts as f
from sealpress.governance.policy import compile_policy
from sealpress.governance.rules import Policy
from sealpress.values import Format, Identity, KeyClass, Mode
from sealpress.verify import origin
from sealpress.verify.anchors import NAMESPACE as ANCHORS
from sealpress.verify.anchors import (
    AnchorKey,
    LineApprover,
    LineRule,
    Officer,
    TrustAnchors,
    verify_genesis,
)
from sealpress.verify.change import ChangeRecord
from sealpress.verify.change import encode as canonical

GENESIS = 1_764_000_000  # a Monday
HOUR_S, DAY_S = 3_600, 86_400
GITHUB, AUDIENCE = "https://token.actions.githubusercontent.com", "https://sign.acme.example"
TEST, LOW = "acme/app/eu/test/images", "acme/app/eu/prod/images"
RELEASE, FIRMWARE = "acme/router/eu/prod/app", "acme/router/eu/prod/firmware"
LINES = {TEST: "test", LOW: "low", RELEASE: "release", FIRMWARE: "firmware"}
OFFICERS = ("olga", "otto", "oscar")

ROLES: tuple[tuple[str, str, str, str], ...] = (
    ("ines", "issuance-operator", "*", ""),
    ("ivan", "issuance-operator", "*", ""),
    ("kim", "security-officer", "*", "key-officers"),
    ("karl", "security-officer", "*", "key-officers"),
    ("rita", "release-approver", "*", "release-approvers"),
    ("rob", "release-approver", "*", "release-approvers"),
    ("sam", "release-approver", "*", "product-security"),
    ("sue", "release-approver", "*", "product-security"),
    ("lena", "releaser", "*", ""),
    ("liam", "releaser", "*", ""),
    ("rex", "requester", "*", ""),
    ("rena", "retirement-operator", "*", ""),
    ("tom", "security-officer", "*", "retirement-officers"),
    ("tina", "security-officer", "*", "retirement-officers"),
    ("paul", "policy-author", "*", ""),
    ("pia", "policy-approver", "*", "policy-approvers"),
    ("stella", "security-officer", "*", "security-officers"),
    ("ada", "access-admin", "*", "access-admins"),
    ("abe", "access-admin", "*", "access-admins"),
    ("iris", "incident-responder", "*", "responders"),
    ("dora", "auditor", "*", ""),
)
NEWCOMERS = tuple(f"p{number}" for number in range(9))  # may become approvers of firmware: the anchors know them
PEOPLE = (*OFFICERS, *dict.fromkeys(name for name, *_ in ROLES))
MACHINES: dict[str, dict[str, Any]] = {
    "workload:ci-test": {},
    "workload:ci-app": {},
    "workload:ci-router": {},
    "agent:helper": {"on_behalf_of": "person:rex"},
    "partner:fab": {"line": RELEASE, "sponsor": "person:rex", "agreement": "A-1", "trust_domain": "fab.example",
                    "expires": GENESIS + 300 * DAY_S},
}  # fmt: skip
NAMES_OF = {
    TEST: ("ci-test", "ci-app"),
    LOW: ("ci-app",),
    RELEASE: ("ci-router", "helper", "fab", "rex"),
    FIRMWARE: ("ci-router", "rex"),
}


def uri(name: str) -> str:
    """What its certificate says."""
    return f"uri:spiffe://acme/{name}"


def person(name: str) -> str:
    """Its id."""
    return f"person:{name}"


@cache
def key_of(name: str) -> SoftKey:
    """The security key of a person, the same in every town; `name/ssh` and `name/lost` are others of his."""
    return SoftKey.make("ssh-ed25519") if name.endswith("/ssh") else SoftKey.make()


def policy_text(
    *,
    signing: int = 2,
    release_signing: int = 1,
    low_class: str = "low",
    low_rate: int = 60,
    low_uses: int = 500,
    ttl: str = "8h",
    repositories: tuple[str, ...] = ("74",),
    names: Sequence[str] = (),
    separation: str = "strict",
    requesters_max: int = 8,
    lines: Sequence[str] = tuple(LINES),
    head: str = "",
) -> str:
    """The town's policy, or another; every argument beyond its default tightens or loosens."""
    parts = ["schema = 1", f"# {head}"]
    for line in lines:
        class_ = low_class if line == LOW else LINES[line]
        requesters = ", ".join(f'"{uri(name)}"' for name in (*NAMES_OF[line], *names))
        table = f'line."{line}"'
        parts += [f"[{table}]", f'class = "{class_}"', 'mode = "proof"', 'format = "tlog-proof"']
        parts.append(f"max_requesters = {requesters_max}")
        if class_ in ("release", "firmware"):
            parts.append(f'operator_separation = "{separation}"')
        parts += [f"[{table}.rule.ci]", 'action = "sign"', f"identities = [{requesters}]"]
        if class_ == "low":
            parts += [f"max_per_minute = {low_rate}", f"grant = {{ max_uses = {low_uses} }}"]
        if class_ in ("release", "firmware"):
            parts += ['gates = ["release.promote"]', f'grant = {{ max_ttl = "{ttl}", constraint = "exact-digests" }}']
            parts += _token_rule(table, ttl, repositories)
            quorum, more = (signing, ", min_groups = 2") if class_ == "firmware" else (release_signing, "")
            groups = '"release-approvers", "product-security"'
            parts += [
                f"[{table}.approvals]",
                'issuance = { quorum = 2, groups = ["key-officers"] }',
                f"signing = {{ quorum = {quorum}, groups = [{groups}]{more} }}",
                'retirement = { quorum = 2, groups = ["retirement-officers"] }',
            ]
    return "\n".join([*parts, ""])


def _token_rule(table: str, ttl: str, repositories: Iterable[str]) -> list[str]:
    ids = ", ".join(f'"{one}"' for one in repositories)
    return [
        f"[{table}.rule.gha]",
        'action = "sign"',
        f'issuer = "{GITHUB}"',
        f'audience = "{AUDIENCE}"',
        f"claims.repository_id = {{ in = [{ids}] }}",
        'claims.repository_owner_id = { eq = "65" }',
        'claims.ref = { prefix = "refs/tags/v" }',
        'claims.ref_protected = { eq = "true" }',
        'claims.event_name = { in = ["push"] }',
        'gates = ["release.promote"]',
        f'grant = {{ max_ttl = "{ttl}", constraint = "exact-digests" }}',
    ]


@cache
def compiled(text: str, profile: str = "baseline") -> Policy:
    """One object for each text: a policy never changes."""
    return compile_policy(text.encode(), governed=True, profile=profile)  # type: ignore[arg-type]


@cache
def certificate(name: str, number: int = 0) -> Identity:
    """A client certificate; another `number` is another certificate of the same name."""
    return Identity(uri(name), hashlib.sha256(f"{name} {number}".encode()).digest(), GENESIS + 900 * DAY_S)


@cache
def token(number: int = 0, until: int = GENESIS + 900 * DAY_S, issuer: str = GITHUB, **claims: str) -> Identity:
    """A GitHub token that the rules are about; `claims` replace its own, an empty one takes it away."""
    said = {
        "aud": AUDIENCE, "repository_id": "74", "repository_owner_id": "65", "ref": "refs/tags/v1",
        "ref_protected": "true", "event_name": "push", "actor_id": "1001", "fork": "false",
    } | claims  # fmt: skip
    return Identity(
        f"oidc:{issuer}#repo:acme/router", b"", until, issuer, "repo:acme/router",
        tuple(sorted((name, value) for name, value in said.items() if value)), secret_token(number), f"jti-{number}",
    )  # fmt: skip


def secret_token(number: int) -> bytes:
    """SHA-256 of what the pipeline really sent: its text is a secret."""
    return hashlib.sha256(f"eyJhbGciOiJSUzI1NiJ9.secret-{number}".encode()).digest()


def digest(number: int) -> bytes:
    """Of artifact `number`."""
    return hashlib.sha256(f"artifact {number}".encode()).digest()


@cache
def genesis(profile: str) -> tuple[str, tuple[str, ...]]:
    """The trust anchors, signed by all officers; the signatures are verified here, once."""
    officers = tuple(
        Officer(
            person=person(name), names=(uri(name),),
            keys=(AnchorKey(public=key_of(name).line, application=key_of(name).application),),
        )
        for name in OFFICERS
    )  # fmt: skip
    groups = ("release-approvers", "product-security")
    standing = {name: (group,) for name, role, _, group in ROLES if role == "release-approver"}
    standing |= dict.fromkeys(NEWCOMERS, groups)
    approvers = tuple(
        LineApprover(
            person=person(name), groups=of,
            keys=(AnchorKey(public=key_of(name).line, application=key_of(name).application),),
        )
        for name, of in standing.items()
    )  # fmt: skip
    document = canonical(
        TrustAnchors(
            version=1, deployment="town.sign.acme.example", profile=profile,  # type: ignore[arg-type]
            log="sign.acme.example/governance", officers=officers, root_threshold=2,
            approvers=approvers, lines={FIRMWARE: LineRule(quorum=2, min_groups=2, groups=groups)},
            created=GENESIS - DAY_S, expires=GENESIS + 2_000 * DAY_S,
        )
    )  # fmt: skip
    signatures = tuple(key_of(name).sign(document, ANCHORS) for name in OFFICERS)
    verify_genesis(document, signatures)
    return document.decode(), signatures


def key_request(key: str, line: str, now: int, **other: Any) -> c.KeyRequest:
    """A key as it should be proposed; `other` fields replace these."""
    class_ = LINES[line]
    request = c.KeyRequest(
        key=key, line=line, class_=KeyClass(class_), environment=line.split("/")[3], purpose=line.split("/")[4],
        trusts=("firmware",) if class_ == "firmware" else (), mode=Mode.PROOF, format=Format.TLOG_PROOF,
        algorithm="ed25519", slot="token", not_before=now, rotate_by=now + 60 * DAY_S, not_after=now + 80 * DAY_S,
        max_signatures=1_000, owner=person("kim"), backup_owner=person("karl"), accepted_risk="bought so",
    )  # fmt: skip
    return structs.replace(request, **other)


def birth(key: str, operator: str, seed: str = "", **other: Any) -> f.KeyGenerated:
    """What the custodian reports of a good key, without its proof (`proved`); `other` fields replace these."""
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"{key} {seed}".encode()).digest())
    spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    _SECRETS[base64.b64encode(spki).decode()] = private
    attributes = dict.fromkeys(
        ("sensitive", "always_sensitive", "never_extractable", "local", "private", "token"), True
    )
    report = f.KeyGenerated(
        key=key, spki=base64.b64encode(spki).decode(), key_id=hashlib.sha256(spki).hexdigest(),
        attributes={**attributes, "extractable": False}, origin="custodian", origin_proof="", origin_sha256="",
        software_token=False, operator=operator, accepted_risk="",
    )  # fmt: skip
    return structs.replace(report, **other)


def proved(report: f.KeyGenerated, record: ChangeRecord) -> f.KeyGenerated:
    """The same with the key's signature over the statement of its birth, as the custodian makes it."""
    if report.origin != "custodian" or report.origin_proof:
        return report
    said = origin.Birth(
        record.change_id, record.sha256, report.key, record.line, report.key_id,
        tuple(sorted(report.attributes.items())), record.created, report.operator,
    )  # fmt: skip
    statement = origin.render(said)
    proof = origin.prove(statement, _SECRETS[report.spki].sign(statement))
    return structs.replace(report, origin_proof=proof, origin_sha256=hashlib.sha256(statement).hexdigest())


_SECRETS: dict[str, Ed25519PrivateKey] = {}


def resident(name: str, *names: str) -> list[f.Fact]:
    """A person enrolled, with his security key."""
    key = key_of(name)
    return [
        f.IdentityEnrolled(
            identity=person(name), kind="person", names=(uri(name), *names), owner="", backup_owner="",
            trust_domain="", environment="", change_id="founding",
        ),
        f.CredentialEnrolled(
            person=person(name), fingerprint=key.fingerprint, public=key.line, application=key.application,
            effective=GENESIS - DAY_S, expires=GENESIS + 360 * DAY_S, change_id="founding",
        ),
    ]  # fmt: skip


@cache
def founding(keys: bool) -> tuple[f.Fact, ...]:
    """Everybody enrolled and bound, the policy, an active key on each line: what a town has seen before we look."""
    by = "founding"
    found: list[f.Fact] = [f.PolicyInForce(body=policy_text())]
    for name in PEOPLE[len(OFFICERS) :]:
        found += resident(name, *([f"actor:{GITHUB}#1001"] if name == "dora" else []))
    owners = {"owner": person("kim"), "backup_owner": person("karl"), "trust_domain": "", "environment": ""}
    for identity, more in MACHINES.items():
        kind, name = identity.split(":")
        said = {**owners, **more}
        found.append(
            f.IdentityEnrolled(identity=identity, kind=kind, names=(uri(name),), change_id=by, **said)  # type: ignore[arg-type]
        )
    for number, (name, role, line, group) in enumerate(ROLES):
        found.append(
            f.BindingMade(
                binding=f"b{number}", identity=person(name), role=role, line=line, group=group, not_after=0,
                change_id=by,
            )
        )  # fmt: skip
    found.append(f.IssuerRegistered(issuer=GITHUB, kind="github", audience=AUDIENCE, owner=person("kim"), change_id=by))
    return (*found, *(fact for line in LINES for fact in _founded_key(line))) if keys else tuple(found)


def _founded_key(line: str) -> list[f.Fact]:
    asked = key_request(f"k-{LINES[line]}", line, GENESIS)
    fields = {name: getattr(asked, name) for name in f.KeyProposed.__struct_fields__ if hasattr(asked, name)}
    moves = {
        verb: f.KeyMoved(key=asked.key, verb=verb, actor="", person=person("ines"), reason="", change_id="founding")
        for verb in ("approve", "generate", "verify", "activate")
    }
    made: list[f.Fact] = [
        f.KeyProposed(**fields, adopted=False, change_id="founding"),
        moves["approve"],
        moves["generate"],
    ]
    return [*made, birth(asked.key, person("ines")), moves["verify"], moves["activate"]]
