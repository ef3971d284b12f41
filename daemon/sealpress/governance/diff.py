"""What a new policy changes, by meaning: who may ask for more or less, and whose approval it takes.

Everything that gives anybody more, or demands less, is a loosening and takes the root quorum (GR-36); so does whatever
we cannot compare. A rule that goes, or that admits less, can loosen, too: where its requests then fall to a later rule
of the line that demands less.

Guarantees: a policy differs from itself in nothing; if no change loosens, whoever may ask for something under the new
policy may ask for it under the old one, under demands that are no higher. Does not: know who belongs to a group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sealpress.governance.floors import CONSTRAINTS, CREDENTIALS, ISOLATIONS, RANK
from sealpress.governance.form import Matcher, duration
from sealpress.governance.matchers import apart, shown, values, within
from sealpress.governance.rules import Calendar, LineRules, Policy, Rule
from sealpress.verify.change import Required

HOLDS = ("none", "witnessed")
REPOSITORIES = {"repository_id": "repository", "source_repository_id": "repository", "project_id": "project"}


@dataclass(frozen=True, slots=True)
class Change:
    """One difference."""

    text: str
    loosening: bool
    line: str = ""  # empty: of the node

    def __str__(self) -> str:
        return f"{self.text} (loosening, root quorum)" if self.loosening else self.text


def diff(old: Policy, new: Policy) -> list[Change]:
    """Every difference of meaning, line by line."""
    found = list(_node(old, new))
    for name in sorted(old.lines.keys() | new.lines.keys()):
        before, after = old.lines.get(name), new.lines.get(name)
        if before is None:
            assert after is not None
            found += _line_added(after)
        elif after is None:
            found.append(Change(f"- line {name}: nobody may request on it", False, name))
        else:
            found += _line(before, after)
    return found


def _node(old: Policy, new: Policy) -> Iterator[Change]:
    for auditor in sorted(new.auditors - old.auditors):
        yield Change(f"+ {auditor} may now audit", True)
    for auditor in sorted(old.auditors - new.auditors):
        # Who sees nothing tells nothing: the last auditor is not easily sent away.
        yield Change(f"- {auditor} may no longer audit", not new.auditors)
    for key in sorted(new.denied - old.denied):
        yield Change(f"- no line may have the key {key[:16]}…", False)
    for key in sorted(old.denied - new.denied):
        yield Change(f"+ a line may have the key {key[:16]}… again", True)
    for path in ("policy", "access"):
        yield from _required(f"{path} of the node", old.approvals.get(path), new.approvals.get(path), "")


def _line_added(line: LineRules) -> Iterator[Change]:
    yield Change(f"+ line {line.name} of class {line.class_}", True, line.name)
    for rule in line.rules:
        for who in requesters(rule):
            yield Change(f"+ {who} may now request on line {line.name} (rule {rule.id})", True, line.name)


def _line(old: LineRules, new: LineRules) -> Iterator[Change]:
    name = old.name
    if old.class_ is not new.class_:
        yield Change(f"class of {name} {old.class_}→{new.class_}", RANK[new.class_] < RANK[old.class_], name)
    if (old.mode, old.format) != (new.mode, new.format):
        yield Change(f"format of {name} {old.mode} {old.format}→{new.mode} {new.format}", True, name)
    yield from _set("algorithm", (a.label for a in old.algorithms), (a.label for a in new.algorithms), name, more=True)
    # `none` leaves it to the journal's setting, which may be either.
    if old.release != new.release:
        yield Change(f"release of {name} {old.release or '-'}→{new.release or '-'}", new.release != "outcome", name)
    yield from _scale(f"hold of {name}", old.hold, new.hold, HOLDS, name)
    yield from _scale(f"isolation of {name}", old.isolation, new.isolation, ISOLATIONS, name)
    separation = f"operator_separation of {name}"
    yield from _scale(separation, old.operator_separation, new.operator_separation, ("warn", "strict"), name)
    yield from _bound(f"max_requesters of {name}", old.max_requesters, new.max_requesters, name)
    yield from _set("trust", old.trusts, new.trusts, name, more=False)
    for what, before, after in (
        ("owner", old.owner, new.owner),
        ("backup owner", old.backup_owner, new.backup_owner),
    ):
        if before != after:
            yield Change(f"{what} of {name} {before or '-'}→{after or '-'}", True, name)
    for path in ("issuance", "signing", "retirement", "exception"):
        yield from _required(f"{path} on {name}", old.approvals.get(path), new.approvals.get(path), name)
    yield from _rules(old, new)


def _required(where: str, old: Required | None, new: Required | None, line: str) -> Iterator[Change]:
    if old == new:
        return
    if old is None or new is None:
        # Without a path nothing of its kind can be approved.
        yield Change(f"{'+' if old is None else '-'} approvals of {where}", old is None, line)
        return
    if old.quorum != new.quorum:
        yield Change(f"quorum of {where} {old.quorum}→{new.quorum}", new.quorum < old.quorum, line)
    if bool(old.groups) != bool(new.groups):
        # No groups: whoever holds the role may approve.
        text = f"who approves {where}: {_list(old.groups, 'any group')}→{_list(new.groups, 'any group')}"
        yield Change(text, not new.groups, line)
    else:
        for group in sorted(set(new.groups) - set(old.groups)):
            yield Change(f"+ group {group} may now approve {where}", True, line)
        for group in sorted(set(old.groups) - set(new.groups)):
            yield Change(f"- group {group} may no longer approve {where}", False, line)
    if old.min_groups != new.min_groups:
        text = f"groups that must approve {where} {old.min_groups}→{new.min_groups}"
        yield Change(text, new.min_groups < old.min_groups, line)
    for group in sorted(set(new.must_include) - set(old.must_include)):
        yield Change(f"+ {where} needs one of {group}", False, line)
    for group in sorted(set(old.must_include) - set(new.must_include)):
        yield Change(f"- {where} no longer needs one of {group}", True, line)
    if old.credential != new.credential:
        weaker = CREDENTIALS.index(new.credential) < CREDENTIALS.index(old.credential)
        yield Change(f"credential of {where} {old.credential}→{new.credential}", weaker, line)
    if old.valid_s != new.valid_s:
        text = f"an approval of {where} counts for {duration(old.valid_s)}→{duration(new.valid_s)}"
        yield Change(text, new.valid_s > old.valid_s, line)


def _rules(old: LineRules, new: LineRules) -> Iterator[Change]:
    name = old.name
    before, after = {rule.id: rule for rule in old.rules}, {rule.id: rule for rule in new.rules}
    shrunk: set[str] = set()
    for id_ in (*before, *(id_ for id_ in after if id_ not in before)):
        if id_ not in before:
            for who in requesters(after[id_]):
                yield Change(f"+ {who} may now request on line {name} (rule {id_})", True, name)
        elif id_ not in after:
            shrunk.add(id_)
            for who in requesters(before[id_]):
                yield Change(f"- {who} may no longer request on line {name} by rule {id_}", False, name)
        else:
            changes = list(_rule(before[id_], after[id_]))
            if changes:
                shrunk.add(id_)
            yield from changes
    yield from _shifted(old, new, shrunk)


def _shifted(old: LineRules, new: LineRules, shrunk: set[str]) -> Iterator[Change]:
    """Requests that were under one rule and may now be under another that demands less."""
    after = {rule.id: place for place, rule in enumerate(new.rules)}
    for place, first in enumerate(old.rules):
        for second in old.rules[place + 1 :]:
            there = after.get(second.id)
            if there is None or not _overlap(first, second):
                continue
            swapped = after.get(first.id, there) > there
            looser = any(change.loosening for change in _demands(first, new.rules[there]))
            if swapped or (looser and first.id in shrunk):
                text = f"requests under rule {first.id} of {old.name} may now be under rule {second.id}"
                yield Change(f"{text}, which demands less" if looser else text, looser, old.name)


def _rule(old: Rule, new: Rule) -> Iterator[Change]:
    """One rule that both policies have."""
    line, where = old.line, f"rule {old.id} on {old.line}"
    if bool(old.identities) != bool(new.identities):
        yield Change(f"{where} is about others: {_who(old)}→{_who(new)}", True, line)
    elif old.identities:
        for identity in sorted(new.identities - old.identities):
            yield Change(f"+ {identity} may now request on line {line} (rule {old.id})", True, line)
        for identity in sorted(old.identities - new.identities):
            yield Change(f"- {identity} may no longer request on line {line} by rule {old.id}", False, line)
    else:
        for what, before, after in (("issuer", old.issuer, new.issuer), ("audience", old.audience, new.audience)):
            if before != after:
                yield Change(f"{what} of {where} {before}→{after}", True, line)
        was, is_ = _matchers(old), _matchers(new)
        for claim in sorted(was.keys() | is_.keys()):
            yield from _claim(claim, was.get(claim), is_.get(claim), old)
    yield from _admitted(old, new)
    yield from _demands(old, new)


def _claim(claim: str, old: Matcher | None, new: Matcher | None, rule: Rule) -> Iterator[Change]:
    if old == new:
        return
    where = f"{claim} of rule {rule.id} on {rule.line}"
    before = None if old is None else values(old)
    after = None if new is None else values(new)
    if claim in REPOSITORIES and before is not None and after is not None:
        what = REPOSITORIES[claim]
        for text in sorted(after - before):
            yield Change(f"+ {what} {text} may now request on line {rule.line} (rule {rule.id})", True, rule.line)
        for text in sorted(before - after):
            yield Change(
                f"- {what} {text} may no longer request on line {rule.line} by rule {rule.id}", False, rule.line
            )
        if before != after:
            return
    yield from _matcher(where, old, new, rule.line)


def _matcher(where: str, old: Matcher | None, new: Matcher | None, line: str) -> Iterator[Change]:
    looser = new is None or (old is not None and not within(new, old))
    if old == new or (old is not None and new is not None and not looser and within(old, new)):
        return  # other words for the same
    said = f"{'anything' if old is None else shown(old)}→{'anything' if new is None else shown(new)}"
    yield Change(f"{where} {said}", looser, line)


def _admitted(old: Rule, new: Rule) -> Iterator[Change]:
    """Which requests the rule takes, and when."""
    line, where = old.line, f"rule {old.id} on {old.line}"
    yield from _set(
        f"algorithm of rule {old.id}", (a.label for a in old.algorithms), (a.label for a in new.algorithms), line,
        more=True,
    )  # fmt: skip
    was, is_ = old.artifact, new.artifact
    if set(was.kinds or ()) != set(is_.kinds or ()):
        looser = is_.kinds is None or (was.kinds is not None and not set(is_.kinds) <= set(was.kinds))
        text = f"{', '.join(was.kinds or ('any',))}→{', '.join(is_.kinds or ('any',))}"
        yield Change(f"kinds of artifact of {where} {text}", looser, line)
    yield from _bound(f"artifact.max_size of {where}", was.max_size or 0, is_.max_size or 0, line)
    yield from _matcher(f"artifact.names of {where}", was.names, is_.names, line)
    yield from _matcher(f"artifact.versions of {where}", was.versions, is_.versions, line)
    if old.calendar != new.calendar:
        yield Change(f"calendar of {where} changes", not _calendar_within(new.calendar, old.calendar), line)


def _demands(old: Rule, new: Rule) -> Iterator[Change]:
    """What else it takes; also between two rules of one line."""
    line, where = new.line, f"rule {new.id} on {new.line}"
    if old.ttl_s_max != new.ttl_s_max:
        text = f"a grant under {where} lasts {duration(old.ttl_s_max)}→{duration(new.ttl_s_max)}"
        yield Change(text, new.ttl_s_max > old.ttl_s_max, line)
    yield from _scale(f"grant.constraint of {where}", old.constraint, new.constraint, CONSTRAINTS, line)
    # 0 is the number of digests, which is neither more nor less than a number.
    if old.max_uses != new.max_uses:
        looser = new.max_uses == 0 or old.max_uses == 0 or new.max_uses > old.max_uses
        yield Change(f"grant.max_uses of {where} {old.max_uses or 'digests'}→{new.max_uses or 'digests'}", looser, line)
    if old.gates != new.gates:
        looser = tuple(gate for gate in new.gates if gate in old.gates) != old.gates
        yield Change(f"gates of {where} {_list(old.gates)}→{_list(new.gates)}", looser, line)
    yield from _scale(f"hold of {where}", old.hold, new.hold, HOLDS, line)
    yield from _bound(f"max_per_minute of {where}", old.max_per_minute, new.max_per_minute, line)
    if old.provenance != new.provenance:
        yield Change(f"provenance of {where} changes", True, line)


def requesters(rule: Rule) -> list[str]:
    """Whom the rule is about, as short as it can be said: certificate names, or repositories of an issuer."""
    if rule.identities:
        return sorted(rule.identities)
    for claim, matcher in _matchers(rule).items():
        texts = values(matcher) if claim in REPOSITORIES else None
        if texts is not None:
            return [f"{REPOSITORIES[claim]} {text}" for text in sorted(texts)]
    return [f"a token of {rule.issuer}"]


def _who(rule: Rule) -> str:
    return ", ".join(requesters(rule))


def _matchers(rule: Rule) -> dict[str, Matcher]:
    """What the policy itself says about claims; what comes with the class changes with the class."""
    return {condition.name: condition.matcher for condition in rule.conditions if condition.matcher is not None}


def _overlap(one: Rule, other: Rule) -> bool:
    """Whether an identity may match both; True where we cannot tell."""
    if one.identities or other.identities:
        return bool(one.identities & other.identities)
    if (one.issuer, one.audience) != (other.issuer, other.audience):
        return False
    mine, theirs = _matchers(one), _matchers(other)
    return not any(apart(mine[claim], theirs[claim]) for claim in mine.keys() & theirs.keys())


def _calendar_within(narrow: Calendar | None, wide: Calendar | None) -> bool:
    if wide is None:
        return True
    return (
        narrow is not None
        and narrow.days <= wide.days
        and wide.from_minute <= narrow.from_minute
        and narrow.until_minute <= wide.until_minute
        and wide.closed <= narrow.closed
    )


def _set(what: str, old: Iterable[str], new: Iterable[str], line: str, *, more: bool) -> Iterator[Change]:
    """`more`: one more is a loosening; else one less is."""
    before, after = set(old), set(new)
    for text in sorted(after - before):
        yield Change(f"+ {what} {text} on {line}", more, line)
    for text in sorted(before - after):
        yield Change(f"- {what} {text} on {line}", not more, line)


def _scale(what: str, old: str, new: str, rising: Sequence[str], line: str) -> Iterator[Change]:
    """A step down a scale loosens."""
    if old != new:
        yield Change(f"{what} {old}→{new}", rising.index(new) < rising.index(old), line)


def _bound(what: str, old: int, new: int, line: str) -> Iterator[Change]:
    """0: no bound."""
    if old != new:
        yield Change(f"{what} {old or 'no bound'}→{new or 'no bound'}", not new or (bool(old) and new > old), line)


def _list(texts: tuple[str, ...], none: str = "none") -> str:
    return ", ".join(texts) or none
