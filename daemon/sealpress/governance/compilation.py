"""Compilation of one rule: from its section in the file to the two functions that decide, `passes` and `admits`.

Guarantees: a rule is never weaker than its line, nor than its class's floor; what class `low` and above demand of every
token (GR-104) is in it, whatever it says. Does not: decide (rules.py), or compile lines and paths (policy.py,
quorums.py).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

from sealpress.governance import floors
from sealpress.governance.floors import Floor, at_least
from sealpress.governance.form import (
    ArtifactSection,
    CalendarSection,
    Constraint,
    GrantSection,
    LineSection,
    RuleSection,
    duration,
    seconds,
    wrong,
)
from sealpress.governance.matchers import compile_matcher, shown, values
from sealpress.governance.rules import (
    AUDIENCE,
    FORK,
    FORK_TRIGGERS,
    REF_PROTECTED,
    TRIGGERS,
    Calendar,
    Claims,
    Condition,
    Rule,
)
from sealpress.values import DigestAlgorithm, Identity, KeyClass, SignAsk

IDENTITY = re.compile(r"uri:[\x21-\x7e]{1,2000}|spki:sha256:[0-9a-f]{64}", re.ASCII)
RULE_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
EPOCH = dt.date(1970, 1, 1).toordinal()


def compile_rule(
    where: str, line: str, id_: str, rule: RuleSection, section: LineSection, least: Floor, days: dict[str, Calendar]
) -> Rule:
    """One rule of a line, which is no weaker than `least`."""
    if not RULE_ID.fullmatch(id_):
        raise wrong(where, f"rule id {id_!r} is not a-z 0-9 . _ -")
    where = f"{where}: rule {id_}"
    for identity in rule.identities or ():
        check_identity(where, identity)
    if rule.provenance.required:
        raise wrong(where, "provenance.required = true is not built yet", "write required = false")
    if rule.calendar is not None and rule.calendar not in days:
        raise wrong(where, f"there is no [calendar.{rule.calendar}]", "add it, or name one that is there")
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
        raise wrong(where, f"claims.{AUDIENCE} is what `audience` says", "leave it out")
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
    of_line = algorithms_of(section.digest_algs)
    if artifact.digest_algs is None:
        return of_line
    of_rule = algorithms_of(artifact.digest_algs)
    if not of_rule <= of_line:
        raise wrong(where, "artifact.digest_algs has more than the line's digest_algs", "the line's are the most")
    return of_rule


def _grant(where: str, grant: GrantSection, class_: KeyClass, least: Floor) -> tuple[int, Constraint]:
    """How long a grant lasts at most, and what it must name at least."""
    ttl_s = least.grant_ttl_s if grant.max_ttl is None else seconds(grant.max_ttl)
    if ttl_s > least.grant_ttl_s_max:
        most = duration(least.grant_ttl_s_max)
        raise wrong(where, f"grant.max_ttl is more than the {most} of class {class_}", "shorten it")
    constraint = grant.constraint or least.constraint_default
    if floors.CONSTRAINTS.index(constraint) < floors.CONSTRAINTS.index(least.constraint):
        raise wrong(
            where,
            f'grant.constraint "{constraint}" is weaker than "{least.constraint}" of class {class_}',
            "tighten it",
        )
    if grant.max_uses is not None and at_least(class_, KeyClass.FIRMWARE):
        raise wrong(where, f"class {class_} has one use for each digest", "leave out grant.max_uses")
    return ttl_s, constraint


def calendar_of(where: str, section: CalendarSection) -> Calendar:
    """When rules with this calendar admit anything."""
    try:
        closed = frozenset(dt.date.fromisoformat(day).toordinal() - EPOCH for day in section.closed)
    except ValueError as error:
        raise wrong(where, f"closed: {error}", 'write days as "2026-12-24"') from error
    return compile_calendar(section, closed)


def algorithms_of(labels: tuple[str, ...]) -> frozenset[DigestAlgorithm]:
    """The digest algorithms of these labels."""
    return frozenset(DigestAlgorithm.parse(label) for label in labels)


def check_identity(where: str, identity: str) -> None:
    """A ConfigError unless it is a name that a certificate can have."""
    if not IDENTITY.fullmatch(identity):
        raise wrong(
            where,
            f"{identity!r} is not an identity",
            'write "uri:<the URI in the certificate>" or "spki:sha256:<64 lower-case hex digits>"',
        )


def compile_names(identities: frozenset[str]) -> Callable[[Identity, Claims], bool]:
    """A rule about certificates."""
    return lambda identity, claims: identity.id in identities


def compile_claims(issuer: str, conditions: tuple[Condition, ...]) -> Callable[[Identity, Claims], bool]:
    """A rule about tokens: all conditions hold."""
    demanded = tuple((condition.name, condition.test) for condition in conditions if not condition.optional)
    optional = tuple((condition.name, condition.test) for condition in conditions if condition.optional)

    def passes(identity: Identity, claims: Claims) -> bool:
        if identity.issuer != issuer:
            return False
        for name, test in demanded:
            value = claims.get(name)
            if value is None or not test(value):
                return False
        return all(name not in claims or test(claims[name]) for name, test in optional)

    return passes


def class_conditions() -> tuple[Condition, ...]:
    """What holds for every token at class `low` and above (GR-104)."""
    triggers = tuple(
        Condition(name, "not from a fork", lambda value: value not in FORK_TRIGGERS, optional=True) for name in TRIGGERS
    )
    return (
        *triggers,
        Condition(FORK, "= false", "false".__eq__, optional=True),
        Condition(REF_PROTECTED, "= true", "true".__eq__, optional=True),
    )


def compile_admits(
    algorithms: frozenset[DigestAlgorithm], artifact: ArtifactSection, calendar: Calendar | None, where: str
) -> Callable[[SignAsk, int], str]:
    """What the rule says about requests and times."""
    # An IntEnum hashes in Python; its bits do not.
    mask = sum(1 << algorithm for algorithm in algorithms)
    fits = _artifact(artifact, where)

    def admits(ask: SignAsk, now_s: int) -> str:
        if not mask >> ask.algorithm & 1:
            return "ALGORITHM_NOT_ALLOWED"
        if fits is not None and not fits(ask):
            return "ARTIFACT_NOT_ALLOWED"
        if calendar is not None and not calendar.open(now_s):
            return "OUTSIDE_CALENDAR"
        return ""

    return admits


def compile_calendar(section: CalendarSection, closed: frozenset[int]) -> Calendar:
    """`closed` as days since 1970."""
    names = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    return Calendar(
        frozenset(names.index(day) for day in section.days), _minute(section.from_), _minute(section.until), closed
    )


def _artifact(artifact: ArtifactSection, where: str) -> Callable[[SignAsk], bool] | None:
    """All that is asked about artifacts but the algorithm; None: nothing. What is asked for must have been said."""
    kinds = None if artifact.kinds is None else frozenset(artifact.kinds)
    size_max = artifact.max_size
    name = None if artifact.names is None else compile_matcher(artifact.names, f"{where}: artifact.names")
    version = None if artifact.versions is None else compile_matcher(artifact.versions, f"{where}: artifact.versions")
    if kinds is None and size_max is None and name is None and version is None:
        return None

    def fits(ask: SignAsk) -> bool:
        said = ask.artifact
        if kinds is not None and said.media_type not in kinds:
            return False
        if version is not None and not version(said.version):
            return False
        if size_max is not None:
            sizes = ask.sizes if ask.batch else (said.size,)
            if not sizes or min(sizes) < 1 or max(sizes) > size_max:
                return False
        if name is not None:
            names = ask.names if ask.batch else (said.name,)
            return bool(names) and all(map(name, names))
        return True

    return fits


def _minute(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])
