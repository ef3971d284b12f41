"""The form of `policy.toml`: who may have what signed, and whose approval it takes. This file is its manual.

    schema = 1
    [line."organisation/product/region/environment/purpose"]
    class = "firmware"              # test | low | release | firmware | root; must be that of the line's key
    mode = "proof"                  # proof | direct; must be that of the line's key
    format = "tlog-proof"           # tlog-proof | ecdsa-der | rsa-pkcs1v15 | rsa-pss; likewise
    digest_algs = ["sha384"]        # default: all three
    hold = "none"                   # "witnessed": after the append, until the quorum of witnesses has cosigned the head
    release = "leaf"                # "outcome": the outcome is durable before the answer; default as in [journal]
    isolation = "slot"              # shared | process | slot | hsm; default and floor by class
    environment = "prod"            # only as the line's name says it; "test" is for class test
    owner = "person:alice"
    backup_owner = "person:bob"
    max_requesters = 8              # how many certificate names and repositories the rules may name together
    trusts = ["firmware"]           # what believes this key; firmware, boot and recovery_path need class firmware
    operator_separation = "strict"  # strict | warn (a security officer waives); default: strict from release up
    [line."…".rule.ci]              # client certificates by name ...
    action = "sign"
    identities = ["uri:spiffe://acme/ci", "spki:sha256:<64 hex digits>"]
    [line."…".rule.gha]             # ... or tokens: every claim must fit
    action = "sign"
    issuer = "https://token.actions.githubusercontent.com"
    audience = "https://sign.acme.example"
    claims.repository_id       = { eq = "74" }           # exactly this
    claims.runner_environment  = { in = ["github-hosted"] }
    claims.ref                 = { prefix = "refs/tags/v" }
    claims.firmware_version    = { semver_range = ">=1.4.0 <2.0.0" }   # all of them; see matchers.py
    claims.run_attempt         = { int_range = [1, 3] }  # both ends belong to it
    claims.groups              = { set_subset = ["ci", "release"] }    # words parted by commas or blanks
    # what the requester says about each artifact; what is asked for here must be said
    artifact   = { kinds = ["uefi-capsule"], digest_algs = ["sha384"], max_size = 268435456,
                   names = { prefix = "router-" }, versions = { semver_range = ">=1.0.0" } }
    # constraint: "any", "name-version", "manifest", "exact-digests"; max_uses: by default one for each digest
    grant = { max_ttl = "8h", constraint = "exact-digests" }
    gates = ["release.open", "release.manifest", "release.promote"]
    hold  = "none"                  # default: as the line; "witnessed" in one rule holds the whole line
    calendar = "office"
    max_per_minute = 60
    provenance = { required = false, builder = "gha-slsa3", min_level = 3, external = { workflow = "sign.yml" } }
    [line."…".approvals]            # all but `exception` from class release up; floors by class stand in floors.py
    issuance   = { quorum = 3, groups = ["key-officers"] }
    signing    = { quorum = 2, groups = ["release-approvers", "product-security"], min_groups = 2,
                   valid = "72h", credential = "sk+uv" }
    retirement = { quorum = 2, groups = ["retirement-officers"] }
    exception  = { quorum = 2, groups = ["release-approvers", "security-officers"],
                   must_include = ["security-officers"], valid = "4h" }
    [calendar.office]               # UTC
    days = ["mon", "tue", "wed", "thu", "fri"]
    from = "08:00"
    until = "18:00"
    closed = ["2026-12-24"]
    [audit]
    identities = ["uri:spiffe://acme/auditor"]
    [denied]                        # leaked keys, published test keys: no line may have one of these
    spki_sha256 = ["<64 hex digits>"]
    [approvals]                     # of the node: for policies, and for persons and roles; defaults as shown
    policy = { quorum = 2, groups = ["policy-approvers", "security-officers"], must_include = ["security-officers"] }
    access = { quorum = 2, groups = ["access-admins", "security-officers"] }

Durations are "90s", "15m", "8h", "14d". TOML wants an inline table on one line; here some are broken for the reader.

Guarantees: default deny; an unknown key, a bad line name or identity, a value below its class's floor is a ConfigError
that says where; so is, for a governed node, every error of lint.py; the same bytes always compile to the same
decisions. Does not: read files or clocks; decide (rules.py).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections import deque
from dataclasses import replace
from types import MappingProxyType

from sealpress.errors import ConfigError, Malformed
from sealpress.governance import floors
from sealpress.governance.floors import Floor, Profile, at_least
from sealpress.governance.form import (
    HINT,
    POLICY_BYTES_MAX,
    ArtifactSection,
    CalendarSection,
    Constraint,
    GrantSection,
    LineSection,
    PathSection,
    PolicyFile,
    RuleSection,
    decode_policy,
    duration,
    seconds,
)
from sealpress.governance.lint import lint
from sealpress.governance.matchers import compile_matcher, shown, values
from sealpress.governance.rules import (
    AUDIENCE,
    Calendar,
    Condition,
    Field,
    LineRules,
    Match,
    Policy,
    Rule,
    class_conditions,
    compile_admits,
    compile_calendar,
    compile_claims,
    compile_names,
)
from sealpress.values import DigestAlgorithm, Format, KeyClass, Mode, check_line
from sealpress.verify.change import Required

__all__ = ["POLICY_BYTES_MAX", "Field", "LineRules", "Match", "Policy", "Rule", "compile_policy"]

IDENTITY = re.compile(r"uri:[\x21-\x7e]{1,2000}|spki:sha256:[0-9a-f]{64}", re.ASCII)
RULE_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
EPOCH = dt.date(1970, 1, 1).toordinal()


def compile_policy(
    body: bytes, name: str = "policy.toml", *, governed: bool = False, profile: Profile = "baseline"
) -> Policy:
    """Decode, check and compile the bytes of a policy file; `name` is for the error's text.

    The last few are kept: a change is compiled when it is proposed, shown, approved and put in force, and of a file of
    two thousand lines each time takes half a second.
    """
    key = (body, governed, profile)
    kept = next((policy for known, policy in tuple(_KEPT) if known == key), None)
    if kept is None:
        kept = _compile(body, name, governed, profile)
        _KEPT.append((key, kept))
    return replace(kept, _memo={})  # nobody's answers are kept with it


_KEPT: deque[tuple[tuple[bytes, bool, Profile], Policy]] = deque(maxlen=2)  # the one in force, and the next


def _compile(body: bytes, name: str, governed: bool, profile: Profile) -> Policy:
    file = decode_policy(body, name)
    days = {id_: _calendar(f"{name}: [calendar.{id_}]", section) for id_, section in file.calendar.items()}
    lines = {line: _line(name, line, section, days, profile) for line, section in file.line.items()}
    for identity in file.audit.identities:
        _check_identity(f"{name}: [audit]", identity)
    policy = Policy(
        body,
        hashlib.sha256(body).digest(),
        lines,
        frozenset(file.audit.identities),
        _node_paths(f"{name}: [approvals]", file, lines),
        frozenset(file.denied.spki_sha256),
    )
    wrong = [finding for finding in lint(policy) if finding.level == "error"] if governed else []
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise ConfigError(
            f"{name}: {wrong[0].where}: {wrong[0].text}{more}",
            reason="POLICY",
            hint="`sealpress policy validate` lists everything that a governed node does not take",
        )
    return policy


def _line(name: str, line: str, section: LineSection, days: dict[str, Calendar], profile: Profile) -> LineRules:
    where = f'{name}: [line."{line}"]'
    environment = _check_line(where, line, section)
    least = floors.floor(section.class_, profile)
    isolation = section.isolation or least.isolation
    if floors.ISOLATIONS.index(isolation) < floors.ISOLATIONS.index(least.isolation):
        raise _wrong(where, f'isolation "{isolation}" is less than "{least.isolation}"', "a policy may only tighten")
    rules = tuple(_rule(where, line, id_, rule, section, least, days) for id_, rule in section.rule.items())
    rule_of: dict[str, Rule] = {}
    for rule in rules:
        for identity in rule.identities:
            rule_of.setdefault(identity, rule)
    strict = at_least(section.class_, KeyClass.RELEASE)
    return LineRules(
        name=line,
        class_=section.class_,
        mode=section.mode,
        format=section.format,
        algorithms=_algorithms(section.digest_algs),
        release=section.release,
        hold=section.hold,
        held="witnessed" in (section.hold, *(rule.hold for rule in rules)),
        isolation=isolation,
        environment=environment,
        owner=section.owner,
        backup_owner=section.backup_owner,
        max_requesters=section.max_requesters,
        trusts=frozenset(section.trusts),
        operator_separation=section.operator_separation or ("strict" if strict else "warn"),
        rules=rules,
        approvals=_paths(f"{where}.approvals", section, least),
        rule_of=MappingProxyType(rule_of),
    )


def _check_line(where: str, line: str, section: LineSection) -> str:
    """The environment, which the line's name says."""
    try:
        environment = check_line(line).split("/")[3]
    except Malformed as error:
        raise _wrong(where, error.message) from None
    if (section.mode is Mode.PROOF) != (section.format is Format.TLOG_PROOF):
        raise _wrong(
            where,
            f"mode {section.mode} does not go with format {section.format}",
            'mode "proof" has format "tlog-proof"; the other formats are direct',
        )
    if section.environment not in (None, environment):
        raise _wrong(where, f"environment {section.environment!r}, but the name says {environment!r}", "leave it out")
    heavy = sorted(floors.TRUSTS_FIRMWARE.intersection(section.trusts))
    if heavy and not at_least(section.class_, KeyClass.FIRMWARE):
        raise _wrong(
            where,
            f"class {section.class_}, but {', '.join(heavy)} trusts it",
            "what trusts such a key cannot recall it: class firmware at least",
        )
    return environment


def _rule(
    where: str, line: str, id_: str, rule: RuleSection, section: LineSection, least: Floor, days: dict[str, Calendar]
) -> Rule:
    if not RULE_ID.fullmatch(id_):
        raise _wrong(where, f"rule id {id_!r} is not a-z 0-9 . _ -")
    where = f"{where}: rule {id_}"
    for identity in rule.identities or ():
        _check_identity(where, identity)
    if rule.provenance.required:
        raise _wrong(where, "provenance.required = true is not built yet", "write required = false")
    if rule.calendar is not None and rule.calendar not in days:
        raise _wrong(where, f"there is no [calendar.{rule.calendar}]", "add it, or name one that is there")
    calendar = None if rule.calendar is None else days[rule.calendar]
    identities = frozenset(rule.identities or ())
    conditions = () if identities else _conditions(where, rule, section.class_)
    algorithms = _rule_algorithms(where, rule.artifact, section)
    ttl_s, constraint = _grant(where, rule.grant, section.class_, least)
    issuer = rule.issuer or ""
    return Rule(
        id=id_,
        line=line,
        identities=identities,
        issuer=issuer,
        audience=rule.audience or "",
        conditions=conditions,
        algorithms=algorithms,
        artifact=rule.artifact,
        ttl_s_max=ttl_s,
        constraint=constraint,
        max_uses=rule.grant.max_uses or 0,
        gates=rule.gates,
        hold=rule.hold or section.hold,
        calendar=calendar,
        max_per_minute=rule.max_per_minute or 0,
        provenance=rule.provenance,
        passes=compile_names(identities) if identities else compile_claims(issuer, conditions),
        admits=compile_admits(algorithms, rule.artifact, calendar, where),
    )


def _conditions(where: str, rule: RuleSection, class_: KeyClass) -> tuple[Condition, ...]:
    audience = rule.audience or ""
    if AUDIENCE in rule.claims:
        raise _wrong(where, f"claims.{AUDIENCE} is what `audience` says", "leave it out")
    written = tuple(
        Condition(claim, shown(matcher), compile_matcher(matcher, f"{where}: claims.{claim}"), matcher)
        for claim, matcher in rule.claims.items()
    )
    whole = (Condition(AUDIENCE, f"= {audience}", audience.__eq__), *written)
    if not at_least(class_, KeyClass.LOW):
        return whole
    return *whole, *(one for one in class_conditions() if not _demanded(rule, one))


def _demanded(rule: RuleSection, condition: Condition) -> bool:
    """Whether the rule itself says at least as much, so that the record need not say it twice."""
    matcher = rule.claims.get(condition.name)
    accepted = None if matcher is None else values(matcher)
    return accepted is not None and all(map(condition.test, accepted))


def _rule_algorithms(where: str, artifact: ArtifactSection, section: LineSection) -> frozenset[DigestAlgorithm]:
    of_line = _algorithms(section.digest_algs)
    if artifact.digest_algs is None:
        return of_line
    of_rule = _algorithms(artifact.digest_algs)
    if not of_rule <= of_line:
        raise _wrong(where, "artifact.digest_algs has more than the line's digest_algs", "the line's are the most")
    return of_rule


def _grant(where: str, grant: GrantSection, class_: KeyClass, least: Floor) -> tuple[int, Constraint]:
    """How long a grant lasts at most, and what it must name at least."""
    ttl_s = least.grant_ttl_s if grant.max_ttl is None else seconds(grant.max_ttl)
    if ttl_s > least.grant_ttl_s_max:
        most = duration(least.grant_ttl_s_max)
        raise _wrong(where, f"grant.max_ttl is more than the {most} of class {class_}", "shorten it")
    constraint = grant.constraint or least.constraint_default
    if floors.CONSTRAINTS.index(constraint) < floors.CONSTRAINTS.index(least.constraint):
        raise _wrong(
            where,
            f'grant.constraint "{constraint}" is weaker than "{least.constraint}" of class {class_}',
            "tighten it",
        )
    if grant.max_uses is not None and at_least(class_, KeyClass.FIRMWARE):
        raise _wrong(where, f"class {class_} has one use for each digest", "leave out grant.max_uses")
    return ttl_s, constraint


def _paths(where: str, section: LineSection, least: Floor) -> MappingProxyType[str, Required]:
    """The four paths; where the policy is silent, those that its class can do without."""
    paths: dict[str, Required] = {}
    given = section.approvals
    strict = at_least(section.class_, KeyClass.RELEASE)
    stages = {"issuance": least.quorum_of_stages, "signing": least.quorum, "retirement": least.quorum_of_stages}
    for path, quorum in stages.items():
        written: PathSection | None = getattr(given, path)
        valid_s = least.valid_s if path == "signing" else least.valid_of_stages_s
        if written is not None:
            paths[path] = _path(f"{where}.{path}", path, written, quorum, least, valid_s)
        elif not strict:
            paths[path] = Required(path=path, quorum=quorum, credential=least.credential, valid_s=valid_s)
    if given.exception is not None:
        paths["exception"] = _exception(f"{where}.exception", given.exception, least)
    return MappingProxyType(paths)


def _exception(where: str, section: PathSection, least: Floor) -> Required:
    found = _path(where, "exception", section, floors.EXCEPTION_QUORUM, least, floors.EXCEPTION_VALID_S)
    if floors.SECURITY_OFFICERS not in found.must_include:
        raise _wrong(where, "must_include lacks security-officers", "an exception needs one of them")
    if found.valid_s > floors.EXCEPTION_VALID_S_MAX:
        raise _wrong(where, f"valid is more than {duration(floors.EXCEPTION_VALID_S_MAX)}", "shorten it")
    return found


def _path(where: str, path: str, section: PathSection, quorum: int, least: Floor, valid_s: int) -> Required:
    credential = section.credential or least.credential
    if section.quorum < quorum:
        raise _wrong(where, f"quorum {section.quorum} is less than {quorum}", "a policy may only tighten")
    if floors.CREDENTIALS.index(credential) < floors.CREDENTIALS.index(least.credential):
        raise _wrong(where, f'credential "{credential}" is less than "{least.credential}"', "a policy may only tighten")
    groups, must = set(section.groups), set(section.must_include)
    if not must <= groups or len(must) > section.quorum:
        raise _wrong(where, "must_include is no part of groups, or longer than the quorum", "correct it")
    if section.quorum and section.min_groups > min(len(groups), section.quorum):
        raise _wrong(where, "min_groups is more than there are groups, or than the quorum", "lower it")
    valid_s = valid_s if section.valid is None else seconds(section.valid)
    if valid_s > floors.VALID_S_MAX:
        raise _wrong(where, f"valid is more than {duration(floors.VALID_S_MAX)}", "shorten it")
    return Required(
        path=path,
        quorum=section.quorum,
        groups=section.groups,
        min_groups=section.min_groups,
        must_include=section.must_include,
        credential=credential,
        valid_s=valid_s,
    )


def _node_paths(where: str, file: PolicyFile, lines: dict[str, LineRules]) -> MappingProxyType[str, Required]:
    """Of policies and of access: what every line of the node depends on."""
    strict = any(at_least(rules.class_, KeyClass.RELEASE) for rules in lines.values())
    least = floors.floor(KeyClass.RELEASE if strict else KeyClass.TEST)
    paths: dict[str, Required] = {}
    for path, groups, must in floors.NODE_PATHS:
        written: PathSection | None = getattr(file.approvals, path)
        if written is None:
            paths[path] = Required(
                path=path, quorum=floors.NODE_QUORUM, groups=groups, must_include=must, valid_s=floors.NODE_VALID_S
            )
            continue
        found = _path(f"{where} {path}", path, written, floors.NODE_QUORUM, least, floors.NODE_VALID_S)
        if not set(must) <= set(found.must_include):
            raise _wrong(f"{where} {path}", f"must_include lacks {', '.join(must)}", "a policy needs one of them")
        paths[path] = found
    return MappingProxyType(paths)


def _calendar(where: str, section: CalendarSection) -> Calendar:
    try:
        closed = frozenset(dt.date.fromisoformat(day).toordinal() - EPOCH for day in section.closed)
    except ValueError as error:
        raise _wrong(where, f"closed: {error}", 'write days as "2026-12-24"') from error
    return compile_calendar(section, closed)


def _algorithms(labels: tuple[str, ...]) -> frozenset[DigestAlgorithm]:
    return frozenset(DigestAlgorithm.parse(label) for label in labels)


def _check_identity(where: str, identity: str) -> None:
    if not IDENTITY.fullmatch(identity):
        raise _wrong(
            where,
            f"{identity!r} is not an identity",
            'write "uri:<the URI in the certificate>" or "spki:sha256:<64 lower-case hex digits>"',
        )


def _wrong(where: str, text: str, hint: str = HINT) -> ConfigError:
    return ConfigError(f"{where}: {text}", reason="POLICY", hint=hint)
