"""Who may request which line: `policy.toml`, decoded strictly and compiled into an immutable snapshot.

The file (a subset of GOVERNANCE 4; this docstring and the structs below are its manual):

    schema = 1
    [line."organisation/product/region/environment/purpose"]
    class = "test"                  # test | low | release | firmware | root; must be that of the line's key
    mode = "proof"                  # proof | direct; must be that of the line's key
    format = "tlog-proof"           # tlog-proof | ecdsa-der | rsa-pkcs1v15 | rsa-pss; likewise
    digest_algs = ["sha256"]        # default: all three
    hold = "none"                   # what a signature waits for after the append; only "none" so far
    release = "leaf"                # "outcome": the outcome is durable before the answer; default as in [journal]
    [line."…".rule.ci]
    action = "sign"
    identities = ["uri:spiffe://acme/ci", "spki:sha256:<64 hex digits>"]
    [audit]
    identities = ["uri:spiffe://acme/auditor"]

Guarantees: default deny; an unknown key, a bad line name or identity, or a rule without identities is a ConfigError
that names it; the same bytes always compile to the same decisions; a snapshot never changes. Does not: read files or
clocks.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sealpress.errors import ConfigError, Malformed
from sealpress.values import DigestAlgorithm, Format, KeyClass, Mode, check_line

IDENTITY = re.compile(r"uri:[\x21-\x7e]{1,2000}|spki:sha256:[0-9a-f]{64}", re.ASCII)
RULE_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
POLICY_BYTES_MAX = 1 << 20
HINT = "the keys of policy.toml are listed in sealpress/governance/policy.py"


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """No key that we do not know is ever ignored."""


class RuleSection(_Strict, frozen=True):
    """`[line."…".rule.<id>]`: any of these identities may."""

    action: Literal["sign"]
    identities: Annotated[tuple[str, ...], Meta(min_length=1)]


class LineSection(_Strict, frozen=True):
    """`[line."…"]`."""

    class_: KeyClass = msgspec.field(name="class")
    mode: Mode
    format: Format
    digest_algs: Annotated[tuple[Literal["sha256", "sha384", "sha512"], ...], Meta(min_length=1)] = (
        "sha256",
        "sha384",
        "sha512",
    )
    hold: Literal["none"] = "none"
    release: Literal["leaf", "outcome"] | None = None
    rule: dict[str, RuleSection] = {}


class AuditSection(_Strict, frozen=True):
    """`[audit]`: who may read the logs."""

    identities: tuple[str, ...] = ()


class PolicyFile(_Strict, frozen=True):
    """The whole of `policy.toml`."""

    schema: Literal[1]
    line: dict[str, LineSection] = {}
    audit: AuditSection = AuditSection()


@dataclass(frozen=True, slots=True)
class LineRules:
    """One line, compiled."""

    class_: KeyClass
    mode: Mode
    format: Format
    algorithms: frozenset[DigestAlgorithm]
    release: Literal["leaf", "outcome"] | None
    rule_of: dict[str, str]  # identity → id of the first rule that allows it


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The policy as one decision sees it; replaced whole, never changed."""

    body: bytes  # the file, as recorded
    sha256: bytes
    lines: dict[str, LineRules]
    auditors: frozenset[str]
    governance_seq: int = 0  # of the last governance record that this decision saw

    def decide(self, identity: str, line: str) -> str | None:
        """The id of the rule by which `identity` may request `line`; None: it may not, or there is no such line."""
        rules = self.lines.get(line)
        return None if rules is None else rules.rule_of.get(identity)

    def may_audit(self, identity: str) -> bool:
        """Whether `identity` has the role of [audit]."""
        return identity in self.auditors

    def at(self, governance_seq: int) -> Snapshot:
        """The same policy, seen at a later governance record."""
        return replace(self, governance_seq=governance_seq)


def compile_policy(body: bytes, name: str = "policy.toml") -> Snapshot:
    """Decode, check and compile the bytes of a policy file; `name` is for the error's text."""
    if len(body) > POLICY_BYTES_MAX:
        raise ConfigError(f"{name}: larger than {POLICY_BYTES_MAX} bytes", reason="POLICY", hint=HINT)
    try:
        file = msgspec.toml.decode(body, type=PolicyFile)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: {error}", reason="POLICY", hint=HINT) from error
    lines = {line: _compile_line(name, line, section) for line, section in file.line.items()}
    for identity in file.audit.identities:
        _check_identity(f"{name}: [audit]", identity)
    return Snapshot(body, hashlib.sha256(body).digest(), lines, frozenset(file.audit.identities))


def _compile_line(name: str, line: str, section: LineSection) -> LineRules:
    where = f'{name}: [line."{line}"]'
    try:
        check_line(line)
    except Malformed as error:
        raise ConfigError(f"{where}: {error.message}", reason="POLICY", hint=HINT) from None
    if (section.mode is Mode.PROOF) != (section.format is Format.TLOG_PROOF):
        raise ConfigError(
            f"{where}: mode {section.mode} does not go with format {section.format}",
            reason="POLICY",
            hint='mode "proof" has format "tlog-proof"; the other formats are direct',
        )
    rule_of: dict[str, str] = {}
    for rule_id, rule in section.rule.items():
        if not RULE_ID.fullmatch(rule_id):
            raise ConfigError(f"{where}: rule id {rule_id!r} is not a-z 0-9 . _ -", reason="POLICY", hint=HINT)
        for identity in rule.identities:
            _check_identity(f"{where}: rule {rule_id}", identity)
            rule_of.setdefault(identity, rule_id)
    algorithms = frozenset(DigestAlgorithm.parse(label) for label in section.digest_algs)
    return LineRules(section.class_, section.mode, section.format, algorithms, section.release, rule_of)


def _check_identity(where: str, identity: str) -> None:
    if not IDENTITY.fullmatch(identity):
        raise ConfigError(
            f"{where}: {identity!r} is not an identity",
            reason="POLICY",
            hint='write "uri:<the URI in the certificate>" or "spki:sha256:<64 lower-case hex digits>"',
        )
