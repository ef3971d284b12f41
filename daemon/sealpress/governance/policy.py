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

import hashlib
from collections import deque
from dataclasses import replace
from types import MappingProxyType

from sealpress.errors import ConfigError, Malformed
from sealpress.governance import floors, quorums
from sealpress.governance.compilation import algorithms_of, calendar_of, check_identity, compile_rule
from sealpress.governance.floors import Profile, at_least
from sealpress.governance.form import LineSection, decode_policy, wrong
from sealpress.governance.lint import lint
from sealpress.governance.rules import Calendar, LineRules, Policy, Rule
from sealpress.values import Format, KeyClass, Mode, check_line


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
    days = {id_: calendar_of(f"{name}: [calendar.{id_}]", section) for id_, section in file.calendar.items()}
    lines = {line: _line(name, line, section, days, profile) for line, section in file.line.items()}
    for identity in file.audit.identities:
        check_identity(f"{name}: [audit]", identity)
    policy = Policy(
        body,
        hashlib.sha256(body).digest(),
        lines,
        frozenset(file.audit.identities),
        quorums.paths_of_node(f"{name}: [approvals]", file, lines),
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
        raise wrong(where, f'isolation "{isolation}" is less than "{least.isolation}"', "a policy may only tighten")
    rules = tuple(compile_rule(where, line, id_, rule, section, least, days) for id_, rule in section.rule.items())
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
        algorithms=algorithms_of(section.digest_algs),
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
        approvals=quorums.paths_of_line(f"{where}.approvals", section, least),
        rule_of=MappingProxyType(rule_of),
    )


def _check_line(where: str, line: str, section: LineSection) -> str:
    """The environment, which the line's name says."""
    try:
        environment = check_line(line).split("/")[3]
    except Malformed as error:
        raise wrong(where, error.message) from None
    if (section.mode is Mode.PROOF) != (section.format is Format.TLOG_PROOF):
        raise wrong(
            where,
            f"mode {section.mode} does not go with format {section.format}",
            'mode "proof" has format "tlog-proof"; the other formats are direct',
        )
    if section.environment not in (None, environment):
        raise wrong(where, f"environment {section.environment!r}, but the name says {environment!r}", "leave it out")
    heavy = sorted(floors.TRUSTS_FIRMWARE.intersection(section.trusts))
    if heavy and not at_least(section.class_, KeyClass.FIRMWARE):
        raise wrong(
            where,
            f"class {section.class_}, but {', '.join(heavy)} trusts it",
            "what trusts such a key cannot recall it: class firmware at least",
        )
    return environment
