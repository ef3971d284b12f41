"""Who can sign with a line, and with what an identity can sign: answered from the policy, not from history (GR-73).

Guarantees: every rule of the line stands in the answer once for each certificate name or repository that it is about.
Does not: know bindings, grants or key states, which may stop what the policy allows.
"""

from __future__ import annotations

from dataclasses import dataclass

from sealpress.governance.diff import requesters
from sealpress.governance.rules import LineRules, Policy, Rule
from sealpress.values import Identity, KeyClass


@dataclass(frozen=True, slots=True)
class Right:
    """One way to have something signed."""

    line: str
    class_: KeyClass
    rule: str
    who: str  # a certificate name, a repository, or the tokens of an issuer
    conditions: tuple[str, ...]  # what a token must say, in words
    quorum: int  # persons who approve each release; 0: none
    constraint: str  # what a grant must name
    gates: tuple[str, ...]


def who_can_sign(policy: Policy, line: str) -> list[Right]:
    """Everybody who may ask for the line, in the order of its rules; empty for an unknown line."""
    rules = policy.lines.get(line)
    if rules is None:
        return []
    return [_right(rules, rule, who) for rule in rules.rules for who in requesters(rule)]


def what_can_sign(policy: Policy, identity: Identity) -> list[Right]:
    """Everything that this identity may ask for, line by line."""
    found: list[Right] = []
    for name, rules in policy.lines.items():
        matching = policy.evaluate(identity, name).rules
        found += [_right(rules, rule, identity.id) for rule in matching]
    return found


def _right(line: LineRules, rule: Rule, who: str) -> Right:
    signing = line.approvals.get("signing")
    conditions = tuple(f"{condition.name} {condition.expected}" for condition in rule.conditions)
    if rule.issuer:
        conditions = (f"issuer = {rule.issuer}", *conditions)
    return Right(
        line.name,
        line.class_,
        rule.id,
        who,
        conditions,
        0 if signing is None else signing.quorum,
        rule.constraint,
        rule.gates,
    )
