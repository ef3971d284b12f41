"""What is wrong with a policy that can be compiled: rules that admit more than anybody means, paths that do not part.

| code | level | what it finds |
|---|---|---|
| WILDCARD | error | a `*`, an empty prefix, a ref that any branch and tag fits (GR-50) |
| MUTABLE_NAMES | error | a token rule without the immutable ids of repository and owner (GR-50) |
| REF_OPEN | error from release up, warning at low | a token rule that says nothing about the ref |
| PREFIX_OPEN | warning | a prefix that ends within a name: `acme/ci` fits `acme/ci-evil`, too |
| FORK_TRIGGER | error | a rule that names triggers of forks or unprotected refs (GR-104) |
| REF_UNPROTECTED | warning | a token rule that does not demand `ref_protected` (GR-104) |
| HUMAN_TRIGGER | error if named, else warning | a person may start the job, and no gate holds it (GR-57) |
| APPROVALS_MISSING | error | not all of issuance, signing, retirement are there (GR-11) |
| ONE_GROUP | error | one group supplies the whole quorum of all three (GR-11) |
| ONE_GROUP_SIGNS | warning | the quorum of a firmware line may come from one group (GR-81) |
| MAX_REQUESTERS | error | the rules name more than max_requesters (GR-50) |
| TEST_ENVIRONMENT | error | a line of class test outside of environment `test` (GR-84) |
| PRODUCTION_CLASS | warning | a line of another class in environment `test` (GR-84) |
| IDENTITY_REUSED | warning | a certificate name on several lines (GR-56) |
| AUDITOR_REQUESTS | error | an auditor who may also request (GOVERNANCE.md) |
| OWNER_MISSING | warning | no owner, no backup owner, or one for both (GR-55) |

MUTABLE_NAMES to HUMAN_TRIGGER, IDENTITY_REUSED and OWNER_MISSING concern classes from `low` up; HUMAN_TRIGGER,
APPROVALS_MISSING, ONE_GROUP and AUDITOR_REQUESTS those from `release` up.

Guarantees: the same policy gives the same findings in the same order. Does not: know persons, or how many a group has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sealpress.governance.claims import OWNER_IDS, REPOSITORY_IDS
from sealpress.governance.floors import at_least
from sealpress.governance.form import Matcher
from sealpress.governance.matchers import values
from sealpress.governance.rules import (
    FORK,
    FORK_TRIGGERS,
    REF_PROTECTED,
    TRIGGERS,
    Condition,
    LineRules,
    Policy,
    Rule,
)
from sealpress.values import KeyClass

Level = Literal["error", "warning"]
REFS = ("ref", "source_repository_ref")
PEOPLE = ("workflow_dispatch", "web", "ui", "chat")  # GitHub, GitLab, Buildkite: a person pressed a button
STAGES = ("issuance", "signing", "retirement")
SEPARATORS = "/:@#="


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    level: Level
    where: str
    code: str
    text: str


def lint(policy: Policy) -> list[Finding]:
    """Everything that is wrong, line by line in the order of the file."""
    found: list[Finding] = []
    for line in policy.lines.values():
        found += _line(line)
        for rule in line.rules:
            found += _wildcards(rule)
            if at_least(line.class_, KeyClass.LOW) and not rule.identities:
                found += _names(rule, line.class_)
                found += _triggers(rule, line.class_)
    found += _identities(policy)
    return found


def _line(line: LineRules) -> Iterator[Finding]:
    where = f'[line."{line.name}"]'
    test = line.class_ is KeyClass.TEST
    if test and line.environment != "test":
        yield Finding(
            "error",
            where,
            "TEST_ENVIRONMENT",
            f"class test in environment {line.environment}: test never meets production",
        )
    if not test and line.environment == "test":
        yield Finding("warning", where, "PRODUCTION_CLASS", f"class {line.class_} in environment test")
    count = _requesters(line)
    if count > line.max_requesters:
        yield Finding(
            "error", where, "MAX_REQUESTERS", f"{count} requesters are more than max_requesters = {line.max_requesters}"
        )
    if not test and (not line.owner or not line.backup_owner or line.owner == line.backup_owner):
        yield Finding("warning", where, "OWNER_MISSING", "owner and backup_owner are two persons")
    if at_least(line.class_, KeyClass.RELEASE):
        yield from _approvals(line, f'[line."{line.name}".approvals]')


def _approvals(line: LineRules, where: str) -> Iterator[Finding]:
    missing = [path for path in STAGES if path not in line.approvals]
    if missing:
        yield Finding("error", where, "APPROVALS_MISSING", f"class {line.class_} needs {', '.join(missing)}, too")
        return
    paths = [line.approvals[path] for path in STAGES]
    for group in paths[0].groups:
        # One group suffices if nothing asks for a second.
        if all(group in path.groups and path.min_groups <= 1 and set(path.must_include) <= {group} for path in paths):
            yield Finding("error", where, "ONE_GROUP", f"group {group} alone approves issuance, signing and retirement")
    if at_least(line.class_, KeyClass.FIRMWARE) and line.approvals["signing"].min_groups < 2:
        yield Finding("warning", where, "ONE_GROUP_SIGNS", "the quorum of signing may come from one group")


def _wildcards(rule: Rule) -> Iterator[Finding]:
    where = _where(rule)
    for name, text in (("issuer", rule.issuer), ("audience", rule.audience)):
        if "*" in text:
            yield Finding("error", where, "WILDCARD", f"{name}: there are no patterns; * stands for itself")
    artifact = (("artifact.names", rule.artifact.names), ("artifact.versions", rule.artifact.versions))
    claims = ((f"claims.{condition.name}", condition.matcher) for condition in rule.conditions)
    for name, matcher in (*claims, *artifact):
        if matcher is None:
            continue
        if any("*" in text for text in _texts(matcher)):
            yield Finding("error", where, "WILDCARD", f"{name}: there are no patterns; * stands for itself")
        if matcher.prefix == "":
            yield Finding("error", where, "WILDCARD", f"{name}: every text begins with the empty prefix")


def _names(rule: Rule, class_: KeyClass) -> Iterator[Finding]:
    """What the rule says about whose job it is, and of which source."""
    where = _where(rule)
    if not _immutable(rule):
        yield Finding(
            "error", where, "MUTABLE_NAMES",
            "names can be given to others: match repository_id (or project_id) and the owner's id with eq or in",
        )  # fmt: skip
    refs = [condition for condition in rule.conditions if condition.name in REFS]
    for condition in refs:
        prefix = None if condition.matcher is None else condition.matcher.prefix
        if prefix and any(kind.startswith(prefix) for kind in ("refs/heads/", "refs/tags/")):
            level: Level = "warning" if prefix in ("refs/heads/", "refs/tags/") else "error"
            yield Finding(level, where, "WILDCARD", f"claims.{condition.name}: every branch or tag fits {prefix}")
    if not refs and not _demands(rule, REF_PROTECTED) and not _spiffe(rule):
        level = "error" if at_least(class_, KeyClass.RELEASE) else "warning"
        yield Finding(level, where, "REF_OPEN", "every branch may request: match ref")
    for condition in rule.conditions:
        prefix = None if condition.matcher is None else condition.matcher.prefix
        if prefix and condition.name not in REFS and prefix[-1] not in SEPARATORS:
            yield Finding(
                "warning",
                where,
                "PREFIX_OPEN",
                f"claims.{condition.name}: {prefix} ends within a name; end with / or @",
            )


def _triggers(rule: Rule, class_: KeyClass) -> Iterator[Finding]:
    """What may set the job off."""
    where = _where(rule)
    of_forks = ((TRIGGERS, FORK_TRIGGERS), ((FORK,), {"true"}), ((REF_PROTECTED,), {"false"}))
    for names, texts in of_forks:
        for condition in _written(rule, names):
            accepted = sorted(filter(condition.test, texts))
            if accepted:
                yield Finding(
                    "error",
                    where,
                    "FORK_TRIGGER",
                    f"claims.{condition.name} accepts {', '.join(accepted)}; it is refused",
                )
    if not _demands(rule, REF_PROTECTED) and not _spiffe(rule):
        yield Finding("warning", where, "REF_UNPROTECTED", 'demand claims.ref_protected = { eq = "true" }')
    # Firmware and root always have a releaser; their job is held in any case.
    if class_ is not KeyClass.RELEASE or rule.gates or _spiffe(rule):
        return
    triggers = _written(rule, TRIGGERS)
    by_hand = sorted({text for condition in triggers for text in PEOPLE if condition.test(text)})
    if by_hand:
        yield Finding(
            "error", where, "HUMAN_TRIGGER", f"{', '.join(by_hand)} is a person at a machine's identity: add a gate"
        )
    elif not triggers:
        yield Finding("warning", where, "HUMAN_TRIGGER", "a person may start the job: match event_name, or add a gate")


def _identities(policy: Policy) -> Iterator[Finding]:
    """What one certificate name may do across the policy."""
    lines: dict[str, list[LineRules]] = defaultdict(list)
    for line in policy.lines.values():
        for identity in line.rule_of:
            lines[identity].append(line)
    for identity, on in lines.items():
        strict = [line.name for line in on if at_least(line.class_, KeyClass.RELEASE)]
        if identity in policy.auditors and strict:
            yield Finding("error", "[audit]", "AUDITOR_REQUESTS", f"{identity} may also request on {strict[0]}")
        if len(on) > 1 and any(at_least(line.class_, KeyClass.LOW) for line in on):
            yield Finding("warning", f'[line."{on[1].name}"]', "IDENTITY_REUSED", f"{identity} is also on {on[0].name}")


def _requesters(line: LineRules) -> int:
    """Certificate names, and repositories of token rules, each once; a rule that names no repository is one."""
    found = set(line.rule_of)
    for rule in line.rules:
        if rule.identities:
            continue
        named = [texts for condition in _written(rule, (*REPOSITORY_IDS, "sub")) if (texts := _values(condition))]
        fewest = min(named, key=len, default=frozenset({f"rule {rule.id}"}))
        found.update(f"{rule.issuer}#{text}" for text in fewest)
    return len(found)


def _immutable(rule: Rule) -> bool:
    ids = (_written(rule, names) for names in (REPOSITORY_IDS, OWNER_IDS))
    return _spiffe(rule) or all(any(map(_values, conditions)) for conditions in ids)


def _spiffe(rule: Rule) -> bool:
    """Whether the subject itself is the immutable name."""
    named = [texts for condition in _written(rule, ("sub",)) if (texts := _values(condition))]
    return any(all(text.startswith("spiffe://") for text in texts) for texts in named)


def _demands(rule: Rule, name: str) -> bool:
    return any(not condition.test("false") for condition in _written(rule, (name,)))


def _written(rule: Rule, names: tuple[str, ...]) -> list[Condition]:
    """What the policy itself says about these claims."""
    return [condition for condition in rule.conditions if condition.name in names and condition.matcher is not None]


def _values(condition: Condition) -> frozenset[str] | None:
    return None if condition.matcher is None else values(condition.matcher)


def _texts(matcher: Matcher) -> list[str]:
    """Whatever a person wrote into it."""
    single = (matcher.eq, matcher.prefix, matcher.semver_range)
    return [*filter(None, single), *(matcher.in_ or ()), *(matcher.set_subset or ())]


def _where(rule: Rule) -> str:
    return f'[line."{rule.line}".rule.{rule.id}]'
