"""The form of `policy.toml` as strict structs; the manual of every key is policy.py.

Guarantees: an unknown key, a wrong type or two matchers in one is a ConfigError that says where. Does not: judge
(policy.py, lint.py), or read files.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sealpress.errors import ConfigError
from sealpress.values import Format, KeyClass, Mode
from sealpress.verify.change import Credential

POLICY_BYTES_MAX = 1 << 20
DURATION = re.compile(r"([1-9][0-9]{0,5})([smhd])", re.ASCII)
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
HINT = "the keys of policy.toml are listed in sealpress/governance/policy.py"

Text = Annotated[str, Meta(min_length=1, max_length=512, pattern=r"^[\x20-\x7e]+\Z")]
Word = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[a-z0-9][a-z0-9._-]*\Z")]
Claim = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:/-]+\Z")]
Duration = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,5}[smhd]\Z")]
Date = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]
Algorithm = Literal["sha256", "sha384", "sha512"]
Hold = Literal["none", "witnessed"]
Isolation = Literal["shared", "process", "slot", "hsm"]
Constraint = Literal["any", "name-version", "manifest", "exact-digests"]
Gate = Literal["release.open", "release.manifest", "release.promote"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Separation = Literal["strict", "warn"]
Integer = Annotated[int, Meta(ge=-(1 << 53), le=1 << 53)]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """No key that we do not know is ever ignored."""


class Matcher(_Strict, frozen=True):
    """Exactly one of the six; there is no regular expression, so that any tool can evaluate it years later."""

    eq: Annotated[str, Meta(max_length=512)] | None = None
    in_: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=256)] | None = msgspec.field(name="in", default=None)
    prefix: Annotated[str, Meta(max_length=512)] | None = None
    semver_range: Text | None = None
    int_range: tuple[Integer, Integer] | None = None
    set_subset: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=256)] | None = None

    def __post_init__(self) -> None:
        given = [name for name in self.__struct_fields__ if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("write exactly one of eq, in, prefix, semver_range, int_range, set_subset")


class ArtifactSection(_Strict, frozen=True):
    """What the requester must say about each artifact."""

    kinds: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=64)] | None = None  # the media type
    digest_algs: Annotated[tuple[Algorithm, ...], Meta(min_length=1)] | None = None
    max_size: Annotated[int, Meta(ge=1, le=1 << 62)] | None = None
    names: Matcher | None = None
    versions: Matcher | None = None


class GrantSection(_Strict, frozen=True):
    """What a grant under this rule may be at most (GR-41)."""

    max_ttl: Duration | None = None
    constraint: Constraint | None = None
    max_uses: Annotated[int, Meta(ge=1, le=100_000_000)] | None = None


class ProvenanceSection(_Strict, frozen=True):
    """What the provenance of an artifact must say (GR-101); kept, not checked yet."""

    required: bool = False
    builder: Word = "any"
    min_level: Annotated[int, Meta(ge=1, le=3)] = 1
    external: dict[Claim, Text] = {}


class RuleSection(_Strict, frozen=True):
    """`[line."…".rule.<id>]`: any of these identities, or any token whose claims all fit."""

    action: Literal["sign"]
    identities: Annotated[tuple[str, ...], Meta(min_length=1, max_length=1_024)] | None = None
    issuer: Text | None = None
    audience: Text | None = None
    claims: Annotated[dict[Claim, Matcher], Meta(max_length=64)] = {}
    artifact: ArtifactSection = ArtifactSection()
    grant: GrantSection = GrantSection()
    gates: tuple[Gate, ...] = ()
    hold: Hold | None = None
    calendar: Word | None = None
    max_per_minute: Annotated[int, Meta(ge=1, le=100_000_000)] | None = None
    provenance: ProvenanceSection = ProvenanceSection()

    def __post_init__(self) -> None:
        token = self.issuer is not None or self.audience is not None or bool(self.claims)
        if token == (self.identities is not None):
            raise ValueError("write either identities, or issuer, audience and claims")
        if token and (self.issuer is None or self.audience is None or not self.claims):
            raise ValueError("issuer, audience and claims belong together")


class PathSection(_Strict, frozen=True):
    """One approval path: how many persons, of which groups, with what credential, for how long."""

    quorum: Annotated[int, Meta(ge=0, le=32)]
    groups: Annotated[tuple[Word, ...], Meta(min_length=1, max_length=32)]
    min_groups: Annotated[int, Meta(ge=1, le=32)] = 1
    must_include: Annotated[tuple[Word, ...], Meta(max_length=32)] = ()
    valid: Duration | None = None
    credential: Credential | None = None


class ApprovalsSection(_Strict, frozen=True):
    """`[line."…".approvals]`."""

    issuance: PathSection | None = None
    signing: PathSection | None = None
    retirement: PathSection | None = None
    exception: PathSection | None = None


class NodeApprovalsSection(_Strict, frozen=True):
    """`[approvals]`: what concerns no single line."""

    policy: PathSection | None = None
    access: PathSection | None = None


class LineSection(_Strict, frozen=True):
    """`[line."…"]`."""

    class_: KeyClass = msgspec.field(name="class")
    mode: Mode
    format: Format
    digest_algs: Annotated[tuple[Algorithm, ...], Meta(min_length=1)] = ("sha256", "sha384", "sha512")
    hold: Hold = "none"
    release: Literal["leaf", "outcome"] | None = None
    isolation: Isolation | None = None
    environment: Word | None = None
    owner: Annotated[str, Meta(max_length=256)] = ""
    backup_owner: Annotated[str, Meta(max_length=256)] = ""
    max_requesters: Annotated[int, Meta(ge=1, le=1_024)] = 8
    trusts: Annotated[tuple[Word, ...], Meta(max_length=32)] = ()
    operator_separation: Separation | None = None
    rule: Annotated[dict[str, RuleSection], Meta(max_length=64)] = {}
    approvals: ApprovalsSection = ApprovalsSection()


class CalendarSection(_Strict, frozen=True):
    """`[calendar.<id>]`: when signing is allowed, UTC."""

    days: Annotated[tuple[Day, ...], Meta(min_length=1)] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    from_: Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]\Z")] = msgspec.field(
        name="from", default="00:00"
    )
    until: Annotated[str, Meta(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)\Z")] = "24:00"
    closed: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")], ...], Meta(max_length=366)
    ] = ()

    def __post_init__(self) -> None:
        if self.from_ >= self.until:
            raise ValueError("`from` is not before `until`; a night is two calendars")


class AuditSection(_Strict, frozen=True):
    """`[audit]`: who may read the logs."""

    identities: tuple[str, ...] = ()


class DeniedSection(_Strict, frozen=True):
    """`[denied]`: public keys that others know, as hex SHA-256 of the SPKI (GR-84)."""

    spki_sha256: Annotated[tuple[Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")], ...], Meta(max_length=10_000)] = ()


class PolicyFile(_Strict, frozen=True):
    """The whole of `policy.toml`."""

    schema: Literal[1]
    line: dict[str, LineSection] = {}
    calendar: dict[Word, CalendarSection] = {}
    audit: AuditSection = AuditSection()
    denied: DeniedSection = DeniedSection()
    approvals: NodeApprovalsSection = NodeApprovalsSection()


def decode_policy(body: bytes, name: str = "policy.toml") -> PolicyFile:
    """The file as a value; ConfigError, with `name`, for any other text."""
    if len(body) > POLICY_BYTES_MAX:
        raise ConfigError(f"{name}: larger than {POLICY_BYTES_MAX} bytes", reason="POLICY", hint=HINT)
    try:
        return msgspec.toml.decode(body, type=PolicyFile)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{name}: {error}", reason="POLICY", hint=HINT) from error


def seconds(duration: str) -> int:
    """Of "72h"; the form has checked the text."""
    match = DURATION.fullmatch(duration)
    assert match is not None
    return int(match[1]) * SECONDS[match[2]]


def duration(seconds: int) -> str:
    """As a person writes it."""
    for unit in "dhm":
        if seconds % SECONDS[unit] == 0 and seconds:
            return f"{seconds // SECONDS[unit]}{unit}"
    return f"{seconds}s"


def wrong(where: str, text: str, hint: str = HINT) -> ConfigError:
    """What a policy file is refused with."""
    return ConfigError(f"{where}: {text}", reason="POLICY", hint=hint)
