"""A compiled policy: which rule lets an identity ask for a line, and what that rule admits.

A decision has two halves. `Policy.match` looks at who asks; its answer is remembered per identity object and line, so
hand in the same object for the same certificate or token. `Rule.admits` looks at what is asked, and when.

Guarantees: default deny; a rule of class `low` or above never matches a token of a fork's or an unprotected ref's
pipeline, whatever it says (GR-104); the same policy and inputs always give the same answer; nothing but the memo ever
changes, and that holds MEMO_MAX answers at most. Does not: know grants, key states or rates; verify tokens; tell
callers why (the fields are for the record, GR-22).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sealpress.errors import Precondition
from sealpress.governance.form import (
    ArtifactSection,
    Constraint,
    Hold,
    Isolation,
    Matcher,
    ProvenanceSection,
    Separation,
)
from sealpress.governance.matchers import Test
from sealpress.values import DigestAlgorithm, Format, Identity, KeyClass, Mode, SignAsk
from sealpress.verify.change import Required

MEMO_MAX = 8_192
PRESENTED_MAX = 512
AUDIENCE = "aud"  # the claim that names whom the token is for
FORK_TRIGGERS = frozenset({"pull_request_target", "external_pull_request_event"})
TRIGGERS = ("event_name", "build_trigger", "pipeline_source")
REF_PROTECTED = "ref_protected"
FORK = "fork"  # "true": somebody outside may have set the job off or written what it builds (claims.py)
NOT_PERMITTED = "NOT_PERMITTED"

Verdict = Literal["match", "mismatch", "absent"]
"""Of the pipeline that a rule expects (GR-23); absent: no rule of the line is about such an identity."""

Claims = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Field:
    """One expectation of a rule beside what was presented; an absent claim is presented as the empty text."""

    name: str
    expected: str
    presented: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Condition:
    """One expectation of a rule about a claim."""

    name: str
    expected: str
    test: Test = field(repr=False, compare=False)
    matcher: Matcher | None = None  # None: it comes with the class
    optional: bool = False  # an absent claim is good


@dataclass(frozen=True, slots=True)
class Calendar:
    """When a rule admits anything; UTC."""

    days: frozenset[int]  # Monday is 0
    from_minute: int
    until_minute: int
    closed: frozenset[int]  # days since 1970

    def open(self, now_s: int) -> bool:
        """Whether it is time."""
        day, second = divmod(now_s, 86_400)
        # 1970 began on a Thursday.
        return (
            (day + 3) % 7 in self.days
            and day not in self.closed
            and self.from_minute <= second // 60 < self.until_minute
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, compiled."""

    id: str
    line: str
    identities: frozenset[str]  # certificate names; empty: the rule is about tokens
    issuer: str
    audience: str
    conditions: tuple[Condition, ...]
    algorithms: frozenset[DigestAlgorithm]
    artifact: ArtifactSection
    ttl_s_max: int  # of a grant under this rule
    constraint: Constraint  # of such a grant, at least
    max_uses: int  # of such a grant; 0: one for each digest that it names
    gates: tuple[str, ...]
    hold: Hold
    calendar: Calendar | None
    max_per_minute: int  # 0: no bound
    provenance: ProvenanceSection
    passes: Callable[[Identity, Claims], bool] = field(repr=False, compare=False)
    admits: Callable[[SignAsk, int], str] = field(repr=False, compare=False)
    """`admits(ask, now_s)`: empty, or ALGORITHM_NOT_ALLOWED, ARTIFACT_NOT_ALLOWED, OUTSIDE_CALENDAR."""

    def misses(self, identity: Identity, claims: Claims) -> int:
        """How many of its expectations are not met."""
        if self.identities:
            return int(identity.id not in self.identities)
        wrong = sum(
            not (condition.test(claims[condition.name]) if condition.name in claims else condition.optional)
            for condition in self.conditions
        )
        return wrong + (identity.issuer != self.issuer)

    def fields(self, identity: Identity) -> tuple[Field, ...]:
        """Each expectation beside what this identity presents."""
        if self.identities:
            expected = min(self.identities) if len(self.identities) == 1 else f"one of {len(self.identities)} names"
            return (Field("identity", expected, _cut(identity.id), identity.id in self.identities),)
        claims = dict(identity.claims)
        issuer = Field("issuer", f"= {self.issuer}", _cut(identity.issuer), identity.issuer == self.issuer)
        return issuer, *(
            Field(
                condition.name,
                condition.expected,
                _cut(claims.get(condition.name, "")),
                condition.test(claims[condition.name]) if condition.name in claims else condition.optional,
            )
            for condition in self.conditions
            if not condition.optional or condition.name in claims
        )


@dataclass(frozen=True, slots=True)
class Match:
    """What the policy says about an identity on a line."""

    verdict: Verdict
    rule: Rule | None  # the first that matches
    rules: tuple[Rule, ...]  # all that match, in the order of the file
    closest: str  # id of the rule that `fields` is about; empty: the line has no rules, or there is no such line
    fields: tuple[Field, ...]
    identity: Identity = field(repr=False, compare=False)

    def admit(self, ask: SignAsk, now_s: int) -> tuple[Rule | None, str]:
        """The first matching rule that admits the request; or None and the first one's reason."""
        reason = NOT_PERMITTED
        for rule in self.rules:
            said = rule.admits(ask, now_s)
            if not said:
                return rule, ""
            if rule is self.rule:
                reason = said
        return None, reason

    def fields_of(self, rule: Rule) -> tuple[Field, ...]:
        """What this rule expects, beside what is presented."""
        return self.fields if rule is self.rule else rule.fields(self.identity)


@dataclass(frozen=True, slots=True)
class LineRules:
    """One line, compiled."""

    name: str
    class_: KeyClass
    mode: Mode
    format: Format
    algorithms: frozenset[DigestAlgorithm]
    release: Literal["leaf", "outcome"] | None
    hold: Hold
    held: bool  # whether its key waits for witnesses: it signs whole heads, so one rule that holds is enough
    isolation: Isolation
    environment: str
    owner: str
    backup_owner: str
    max_requesters: int
    trusts: frozenset[str]
    operator_separation: Separation
    rules: tuple[Rule, ...]
    approvals: Mapping[str, Required]  # issuance, signing, retirement, exception: those that there are
    rule_of: Mapping[str, Rule] = field(repr=False, compare=False)  # certificate name → first rule about it

    def required(self, path: str) -> Required:
        """The approval path of that name; Precondition NO_APPROVAL_PATH if the policy gives none."""
        found = self.approvals.get(path)
        if found is None:
            raise Precondition(
                f"the policy has no approval path {path!r} for line {self.name}",
                reason="NO_APPROVAL_PATH",
                hint=f'propose a policy with {path} in [line."{self.name}".approvals]',
            )
        return found

    def rule(self, id_: str) -> Rule | None:
        """The rule of that id."""
        return next((rule for rule in self.rules if rule.id == id_), None)


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy file, compiled; replaced whole, never changed."""

    body: bytes  # the file, as recorded
    sha256: bytes
    lines: dict[str, LineRules]
    auditors: frozenset[str]
    approvals: Mapping[str, Required]  # policy, access
    denied: frozenset[str] = frozenset()  # SHA-256 of public keys that no line may have
    _memo: dict[tuple[int, str], Match] = field(default_factory=dict, repr=False, compare=False)

    def match(self, identity: Identity, line: str) -> Match:
        """Which rule lets this identity ask for the line; remembered for this object."""
        key = id(identity), line
        known = self._memo.get(key)
        # The memo keeps its identities alive, so that no other object can have the id of one.
        if known is not None and known.identity is identity:
            return known
        found = self.evaluate(identity, line)
        if line not in self.lines:
            return found  # a name that anybody can make up: it takes no place from others
        if len(self._memo) >= MEMO_MAX:
            self._memo.clear()
        self._memo[key] = found
        return found

    def evaluate(self, identity: Identity, line: str) -> Match:
        """As `match`, without memory."""
        rules = self.lines[line].rules if line in self.lines else ()
        claims = dict(identity.claims)
        matching = tuple(rule for rule in rules if rule.passes(identity, claims))
        if matching:
            return Match("match", matching[0], matching, matching[0].id, matching[0].fields(identity), identity)
        kin = [rule for rule in rules if bool(rule.identities) != bool(identity.issuer)]
        verdict: Verdict = "mismatch" if kin else "absent"
        closest, fields = _closest(kin or rules, identity)
        return Match(verdict, None, (), closest, fields, identity)

    def requestable(self, identity: Identity) -> list[str]:
        """The lines that this identity may ask for, in the order of the file; nothing is remembered for the others."""
        claims = dict(identity.claims)
        return [name for name, line in self.lines.items() if any(rule.passes(identity, claims) for rule in line.rules)]

    def required(self, path: Literal["policy", "access"]) -> Required:
        """An approval path of the node."""
        return self.approvals[path]


def _closest(rules: Sequence[Rule], identity: Identity) -> tuple[str, tuple[Field, ...]]:
    """The rule that fails in the fewest fields, the first of several."""
    if not rules:
        return "", ()
    claims = dict(identity.claims)
    best = min(rules, key=lambda rule: rule.misses(identity, claims))
    return best.id, best.fields(identity)


def _cut(text: str) -> str:
    return text if len(text) <= PRESENTED_MAX else text[: PRESENTED_MAX - 1] + "…"
