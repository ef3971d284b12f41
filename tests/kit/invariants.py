"""The invariants of GOVERNANCE 3.3 as one small function each, over what a town has seen: facts and leaves, in order.

Written from the text of GOVERNANCE.md, not from the rules: the only things shared are the names of facts and fields. A
function looks at the newest event and at `World`, an index of all events up to it that has no opinion; by induction
it holds for the whole history. `Watch` runs them all after each event and ends in an AssertionError that names one.

I9, I10, I16 and I20 are about the log and the token, I14 about exceptions: other tests.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kit.town import Leaf, Town
from sealpress.governance import facts as f

Event = f.Fact | Leaf

APPROVING = {
    "sign.release": {"release-approver", "security-officer"},
    "key.resume": {"release-approver", "security-officer"},
    "key.compromise": {"incident-responder", "security-officer"},
    "policy.change": {"policy-approver", "security-officer"},
    "access": {"access-admin", "security-officer"},
    "key": {"security-officer"},
    "recovery": {"security-officer"},
}
"""Roles that approve, by kind of change or its first word."""

_WRITING = {
    "requester", "issuance-operator", "release-approver", "releaser", "retirement-operator", "policy-author",
    "policy-approver", "security-officer", "access-admin", "access-reviewer", "recovery-custodian", "log-operator",
}  # fmt: skip
_APART: dict[str, set[str]] = {
    "issuance-operator": {"retirement-operator", "requester", "releaser"},
    "release-approver": {"requester", "releaser", "issuance-operator"},
    "policy-author": {"policy-approver"},
    "access-admin": {
        "requester", "releaser", "release-approver", "policy-approver", "security-officer", "issuance-operator",
        "retirement-operator", "recovery-custodian",
    },
    "access-reviewer": {"access-admin"},
    "auditor": _WRITING,
    "log-operator": (_WRITING | {"auditor"}) - {"log-operator"},
    "recovery-custodian": {"issuance-operator", "retirement-operator"},
}  # fmt: skip
"""The crosses of GOVERNANCE 3.4."""

STRICT = ("release", "firmware", "root")
QUORUM = ("firmware", "root")


def apart(one: str, other: str) -> bool:
    """Whether nobody may hold both."""
    return other in _APART.get(one, ()) or one in _APART.get(other, ())


@dataclass
class Given:
    """An approval."""

    fact: f.ApprovalCounted
    state: str = "counted"


@dataclass
class World:
    """What was said and done so far."""

    now: int = 0
    seq: int = -1
    anchors: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=dict)
    policy_sha256: str = ""
    former: dict[str, Any] = field(default_factory=dict)  # the policy before
    scheduled: dict[str, str] = field(default_factory=dict)  # digest of a policy → its change
    enrolled: Counter[str] = field(default_factory=Counter)  # ids, names and keys: how often
    identities: dict[str, str] = field(default_factory=dict)  # → state
    ends: dict[str, int] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # → identity
    credentials: dict[str, f.CredentialEnrolled | None] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)  # of credentials
    revoked: set[str] = field(default_factory=set)
    bindings: dict[str, f.BindingMade] = field(default_factory=dict)
    loose: set[str] = field(default_factory=set)  # bindings that do not count
    changes: dict[str, f.ChangeSubmitted] = field(default_factory=dict)
    given: dict[str, list[Given]] = field(default_factory=dict)
    proposed: dict[str, f.KeyProposed] = field(default_factory=dict)
    key_states: dict[str, str] = field(default_factory=dict)
    key_ends: dict[str, int] = field(default_factory=dict)
    software: set[str] = field(default_factory=set)
    key_ids: list[tuple[str, str]] = field(default_factory=list)
    grants: dict[str, f.GrantIssued] = field(default_factory=dict)
    over: set[str] = field(default_factory=set)  # grants
    passed: dict[str, list[f.GatePassed]] = field(default_factory=dict)
    uses: Counter[str] = field(default_factory=Counter)  # of grants and keys

    def roles(self, identity: str, line: str) -> Iterator[f.BindingMade]:
        """Its bindings on a line, whether it is active or not."""
        for id_, made in self.bindings.items():
            alive = id_ not in self.loose and (not made.not_after or self.now < made.not_after)
            if alive and made.identity == identity and made.line in ("*", line):
                yield made

    def active(self, identity: str) -> bool:
        """Enrolled, and neither suspended nor over."""
        end = self.ends.get(identity, 0)
        return self.identities.get(identity) == "active" and (not end or self.now < end)

    def class_of(self, line: str) -> str:
        """By the policy in force."""
        return str(self.policy.get("line", {}).get(line, {}).get("class", ""))

    def approvers(self, change_id: str) -> list[Given]:
        """Whose approvals stand, used or not."""
        return [one for one in self.given.get(change_id, ()) if one.state in ("counted", "consumed")]

    # ---- how it grows ----

    def see(self, event: Event, town: Town) -> None:
        """One event more."""
        self.now = town.now
        if isinstance(event, Leaf):
            self.uses.update([f"key {event.key}", f"grant {event.grant}"])
            return
        self.seq += 1
        if type(event) in _SEES:
            _SEES[type(event)](self, event)


def _see_anchors(w: World, fact: f.AnchorsAdopted) -> None:
    w.anchors = msgspec.json.decode(fact.document)
    for officer in w.anchors["officers"]:
        w.enrolled.update([] if officer["person"] in w.identities else [officer["person"], *officer["names"]])
        w.identities.setdefault(officer["person"], "active")
        w.names.update(dict.fromkeys(officer["names"], officer["person"]))
        for key in officer["keys"]:
            w.enrolled[fingerprint(key["public"])] = 1
            w.owners[fingerprint(key["public"])] = officer["person"]
        id_ = f"anchors/{w.anchors['version']}/{officer['person']}"
        w.bindings[id_] = f.BindingMade(
            binding=id_, identity=officer["person"], role="security-officer", line="*", group="officers",
            not_after=0, change_id="",
        )  # fmt: skip


def _see_policy(w: World, fact: f.PolicyInForce) -> None:
    w.former, w.policy = w.policy, tomllib.loads(fact.body)
    w.policy_sha256 = hashlib.sha256(fact.body.encode()).hexdigest()


def _see_enrolled(w: World, fact: f.IdentityEnrolled) -> None:
    w.enrolled.update([fact.identity, *fact.names])
    w.identities[fact.identity] = "active"
    w.ends[fact.identity] = fact.expires
    w.names.update(dict.fromkeys(fact.names, fact.identity))


def _see_identity(w: World, fact: f.IdentityMoved) -> None:
    w.identities[fact.identity] = {"suspend": "suspended", "restore": "active"}.get(fact.verb, "offboarded")
    if fact.verb == "offboard":
        w.revoked |= {key for key, owner in w.owners.items() if owner == fact.identity}
        w.loose |= {id_ for id_, made in w.bindings.items() if made.identity == fact.identity}


def _see_credential(w: World, fact: f.CredentialEnrolled) -> None:
    w.credentials[fact.fingerprint] = fact
    w.enrolled[fact.fingerprint] += 1
    w.owners[fact.fingerprint] = fact.person


def _see_binding(w: World, fact: f.BindingMoved) -> None:
    (w.loose.discard if fact.verb == "restore" else w.loose.add)(fact.binding)


def _see_approval(w: World, fact: f.ApprovalCounted) -> None:
    w.given.setdefault(fact.change_id, []).append(Given(fact))


def _see_ended(w: World, fact: f.ApprovalEnded) -> None:
    for one in w.approvers(fact.change_id):
        if one.fact.person == fact.person:
            one.state = fact.verb


def _see_change(w: World, fact: f.ChangeMoved) -> None:
    if fact.verb == "execute":
        for one in w.approvers(fact.change_id):
            one.state = "consumed"


def _see_proposed(w: World, fact: f.KeyProposed) -> None:
    w.proposed[fact.key], w.key_states[fact.key] = fact, "proposed"
    w.key_ends[fact.key] = fact.not_after


def _see_generated(w: World, fact: f.KeyGenerated) -> None:
    w.key_ids.append((fact.key_id, fact.key))
    if fact.software_token:
        w.software.add(fact.key)


def _see_key(w: World, fact: f.KeyMoved) -> None:
    w.key_states[fact.key] = {"activate": "active", "resume": "active", "suspend": "suspended"}.get(
        fact.verb, "compromised" if fact.verb == "mark_compromised" else fact.verb
    )


def _see_passed(w: World, fact: f.GatePassed) -> None:
    w.passed.setdefault(fact.grant, []).append(fact)


_SEES: dict[type[Any], Callable[[World, Any], None]] = {
    f.AnchorsAdopted: _see_anchors,
    f.PolicyScheduled: lambda w, fact: w.scheduled.update({fact.policy_sha256: fact.change_id}),
    f.PolicyInForce: _see_policy,
    f.IdentityEnrolled: _see_enrolled,
    f.IdentityMoved: _see_identity,
    f.CredentialEnrolled: _see_credential,
    f.CredentialRevoked: lambda w, fact: w.revoked.add(fact.fingerprint),
    f.BindingMade: lambda w, fact: w.bindings.update({fact.binding: fact}),
    f.BindingMoved: _see_binding,
    f.ChangeSubmitted: lambda w, fact: w.changes.update({fact.change.change_id: fact}),
    f.ChangeMoved: _see_change,
    f.ApprovalCounted: _see_approval,
    f.ApprovalEnded: _see_ended,
    f.KeyProposed: _see_proposed,
    f.KeyGenerated: _see_generated,
    f.KeyMoved: _see_key,
    f.KeyExtended: lambda w, fact: w.key_ends.update({fact.key: fact.not_after}),
    f.GrantIssued: lambda w, fact: w.grants.update({fact.grant: fact}),
    f.GrantMoved: lambda w, fact: w.over.add(fact.grant),
    f.GatePassed: _see_passed,
}


# ---- the invariants: World has seen the event ------------------------------------------------------------------------


def i1(w: World, event: Event, town: Town) -> None:
    """Distinct persons: requester not among approvers, approvers pairwise, creator, approvers, releaser (GR-30)."""
    if isinstance(event, f.ApprovalCounted):
        record = w.changes[event.change_id].change
        assert event.person.startswith("person:"), "a machine approved"
        assert event.person not in (record.requester_person, record.creator_person), "own change approved"
        persons = [one.fact.person for one in w.approvers(event.change_id)]
        assert persons.count(event.person) == 1, "counted twice"
    if isinstance(event, f.ChangeMoved) and event.verb == "execute":
        approvers = {one.fact.person for one in w.approvers(event.change_id)}
        assert event.person not in approvers, "who approved carried out"
    if isinstance(event, f.GatePassed):
        grant = w.grants[event.grant]
        record = w.changes[grant.change_id].change
        others = {one.fact.person for one in w.approvers(grant.change_id)}
        others |= {record.requester_person, record.creator_person, grant.creator_person}
        assert event.person.startswith("person:") and event.person not in others, "the releaser had a part before"


def i2(w: World, event: Event, town: Town) -> None:
    """Each approval's statement names the digest of the change record, at execution; and it approves."""
    if isinstance(event, f.ChangeMoved) and event.verb == "execute":
        sha256 = hashlib.sha256(msgspec.json.encode(w.changes[event.change_id].change)).hexdigest()
        for one in w.approvers(event.change_id):
            said = dict(line.split(": ", 1) for line in one.fact.statement.split("\n")[1:-1])
            assert said["change-sha256"] == sha256, "approved something else"
            assert (said["decision"], said["person"]) == ("approve", one.fact.person)


def i3(w: World, event: Event, town: Town) -> None:
    """Nothing is carried out without the quorum of this moment: active persons, in role, with good credentials."""
    if not isinstance(event, f.ChangeMoved) or event.verb != "execute":
        return
    record = w.changes[event.change_id].change
    required = record.required
    unnamed = record.kind == "sign.release" and not record.creator_person
    sets = [found for one in w.approvers(event.change_id) if (found := _standing(w, record, one)) is not None]
    assert len(sets) >= required.quorum + unnamed, f"{len(sets)} approvals of {required.quorum + unnamed}"
    if required.groups and required.quorum:
        choices = [set(choice) for choice in itertools.product(*sets)]  # each stands for one of his groups
        assert any(len(choice) >= required.min_groups for choice in choices), "min_groups"
        assert any(choice >= set(required.must_include) for choice in choices), "must_include"


def _standing(w: World, record: Any, one: Given) -> set[str] | None:
    """The groups that an approver stands for now; None: he does not count."""
    who = one.fact.person
    roles = APPROVING.get(record.kind) or APPROVING[record.kind.split(".")[0]]
    groups = {made.group for made in w.roles(who, record.line) if made.role in roles}
    enrolled = w.credentials.get(one.fact.credential)
    good = w.owners.get(one.fact.credential) == who and one.fact.credential not in w.revoked
    alive = enrolled is None or not enrolled.expires or w.now < enrolled.expires
    flags = one.fact.flags
    level = {
        "ssh": True,
        "sk": flags is not None and flags & 0x19 == 1,
        "sk+uv": flags is not None and flags & 0x1D == 5,
    }
    counts = w.active(who) and good and alive and level[record.required.credential] and w.now <= one.fact.expires + 60
    if not counts or not groups or (record.required.groups and not groups & set(record.required.groups)):
        return None
    return groups & set(record.required.groups) if record.required.groups else groups


def i4(w: World, event: Event, town: Town) -> None:
    """A person has one person_id; a credential belongs to one person."""
    if isinstance(event, f.CredentialEnrolled):
        assert w.enrolled[event.fingerprint] == 1, "a key enrolled twice"
        assert fingerprint(event.public) == event.fingerprint
    if isinstance(event, f.IdentityEnrolled):
        assert w.enrolled[event.identity] == 1, "an id used again"
        assert all(w.enrolled[name] == 1 for name in event.names), "a name of two identities"


def i5(w: World, event: Event, town: Town) -> None:
    """Nobody holds two roles of the conflict matrix on one line of class release or above."""
    if not isinstance(event, f.BindingMade | f.BindingMoved | f.PolicyInForce | f.AnchorsAdopted | f.IdentityMoved):
        return
    lines = [line for line, rules in w.policy.get("line", {}).items() if rules["class"] in STRICT]
    several = Counter(made.identity for made in w.bindings.values())
    for identity in (one for one, count in several.items() if count > 1):
        for line in ("*", *lines):
            held = {made.role for made in w.roles(identity, line)}
            clash = [pair for pair in itertools.combinations(sorted(map(str, held)), 2) if apart(*pair)]
            assert not clash, f"{identity} is {' and '.join(clash[0])} of {line}"


def i6(w: World, event: Event, town: Town) -> None:
    """A key is in one line; a public key appears once."""
    if isinstance(event, f.KeyGenerated):
        ids = [key_id for key_id, _ in w.key_ids]
        assert ids.count(event.key_id) == 1, "a public key that was there before"
        assert hashlib.sha256(base64.b64decode(event.spki)).hexdigest() == event.key_id
    if isinstance(event, f.KeyMoved) and event.verb == "activate":
        line = w.proposed[event.key].line
        signing = [k for k, s in w.key_states.items() if s in ("active", "suspended") and w.proposed[k].line == line]
        assert signing == [event.key], f"{signing} sign on one line"


def i7(w: World, event: Event, town: Town) -> None:
    """Signatures only by a key that is active, of this line, in its time, under its cap."""
    if isinstance(event, Leaf):
        key = w.proposed[event.key]
        assert w.key_states[event.key] == "active", w.key_states[event.key]
        assert key.line == event.line, "another line's key"
        assert key.not_before <= event.time < w.key_ends[event.key], "outside of the key's time"
        assert w.uses[f"key {event.key}"] <= key.max_signatures, "over the key's cap"


def i8(w: World, event: Event, town: Town) -> None:
    """A grant's uses, time, holder and artifacts; without a grant only class test (GR-43)."""
    if not isinstance(event, Leaf):
        return
    if not event.grant:
        assert w.class_of(event.line) == "test", "no grant"
        return
    grant = w.grants[event.grant]
    assert (grant.identity, grant.line) == (event.identity.id, event.line), "another's grant"
    who = event.identity
    own = who.signed_sha256 if who.signed_sha256 else who.token_sha256 + who.certificate_sha256
    assert grant.holder in ("", own.hex()), "another credential"
    assert w.uses[f"grant {event.grant}"] <= grant.max_uses, "used too often"
    assert grant.not_before <= event.time < grant.not_after, "outside of the grant's time"
    assert not grant.digests or event.digest.hex() in grant.digests, "an artifact that it does not name"
    assert set(grant.gates) <= {one.gate for one in w.passed.get(event.grant, ())}, "a gate that nobody passed"


def i11(w: World, event: Event, town: Town) -> None:
    """The policy that decided is the last one that entered into force."""
    if isinstance(event, Leaf):
        assert event.policy_sha256 == w.policy_sha256
    assert town.state.policy_sha256 == w.policy_sha256


def i12(w: World, event: Event, town: Town) -> None:
    """Loosening needs the root quorum: as many officers as the anchors say, none of them the author."""
    if not isinstance(event, f.PolicyInForce) or not (w.former and weaker(w.former, w.policy)):
        return
    change_id = w.scheduled.get(w.policy_sha256, "")
    officers = {one["person"] for one in w.anchors["officers"]}
    signed = {one.fact.person for one in w.given.get(change_id, ())} & officers
    assert len(signed) >= w.anchors["root_threshold"], "loosened without the root quorum"


def i13(w: World, event: Event, town: Town) -> None:
    """Signatures of firmware and root cite exact digests that a change lists, and uses are as many as digests."""
    if isinstance(event, Leaf) and w.class_of(event.line) in QUORUM:
        grant = w.grants[event.grant]
        assert event.digest.hex() in grant.digests and grant.constraint == "exact-digests"
        assert grant.max_uses <= len(set(grant.digests)), "more uses than digests"
        record = w.changes[grant.change_id].change
        listed = [item["digest"] for item in msgspec.json.decode(record.request)["items"]]
        assert record.kind == "sign.release" and event.digest.hex() in listed, "no change lists it"
        assert w.passed.get(event.grant), "nobody released it"


def i15(w: World, event: Event, town: Town) -> None:
    """No production signature by a test key or token, and conversely (GR-84)."""
    if isinstance(event, Leaf):
        test = event.line.split("/")[3] == "test"
        keys_class = str(w.proposed[event.key].class_)
        assert (w.class_of(event.line) == "test") is test is (keys_class == "test"), "test meets production"
        assert test or event.key not in w.software or w.anchors["profile"] == "lab", "a software token"
        assert keys_class == w.class_of(event.line), "a key issued for another class"


def i17(w: World, event: Event, town: Town) -> None:
    """Shares: two at least, one may be lost, custodians are different persons."""
    if isinstance(event, f.SharesRecorded):
        assert 2 <= event.m <= event.n - 1 and len(set(event.custodians)) == event.n


SECRETS = re.compile(rb"PRIVATE KEY|eyJ[A-Za-z0-9_-]+\.|pin-value")


def i18(w: World, event: Event, town: Town) -> None:
    """No private key, PIN or token in any record."""
    if not isinstance(event, Leaf):
        assert SECRETS.search(f.body_of(event)) is None


def i19(w: World, event: Event, town: Town) -> None:
    """A stop takes effect before the next signature: key, identity, grant, issuer."""
    if isinstance(event, Leaf):
        known = w.names.get(event.identity.id)
        assert known is None or w.active(known), "a stopped identity"
        assert w.key_states[event.key] not in ("suspended", "compromised"), "a stopped key"
        assert event.grant not in w.over, "a stopped grant"


INVARIANTS = {name: check for name, check in list(globals().items()) if re.fullmatch(r"i[0-9]+", name)}


@dataclass
class Watch:
    """All of them, after each event; `world` is what they know."""

    world: World = field(default_factory=World)

    def __call__(self, event: Event, town: Town) -> None:
        """AssertionError that names the invariant."""
        self.world.see(event, town)
        for name, check in INVARIANTS.items():
            try:
                check(self.world, event, town)
            except AssertionError as error:
                raise BrokenError(
                    f"{name.upper()} after {type(event).__name__}: {error}\n{str(event)[:500]}"
                ) from error


class BrokenError(AssertionError):
    """An invariant does not hold."""


def fingerprint(public: str) -> str:
    """As `ssh-keygen -l` prints it."""
    blob = base64.b64decode(public.split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


# ---- is a policy weaker than another? For the policies that the tests write; not for all -----------------------------


def weaker(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether it demands less of anybody, or lets anybody do more."""
    ranks = ["test", "low", "release", "firmware", "root"]
    if set(new["line"]) - set(old["line"]):
        return True
    for line, now in new["line"].items():
        was = old["line"][line]
        if ranks.index(now["class"]) < ranks.index(was["class"]):
            return True
        if now.get("operator_separation") == "warn" != was.get("operator_separation"):
            return True
        if any(_less(was.get("approvals", {}).get(path), now_) for path, now_ in now.get("approvals", {}).items()):
            return True
        if any(_more(was["rule"].get(id_), rule) for id_, rule in now["rule"].items()):
            return True
    return False


def _less(was: dict[str, Any] | None, now: dict[str, Any]) -> bool:
    if was is None:  # below class release nobody needs to say more
        return False
    groups = set(now["groups"]) - set(was["groups"])
    return bool(groups) or now["quorum"] < was["quorum"] or now.get("min_groups", 1) < was.get("min_groups", 1)


def _more(was: dict[str, Any] | None, now: dict[str, Any]) -> bool:
    if was is None:
        return True

    def who(rule: dict[str, Any]) -> set[str]:
        return {*rule.get("identities", ()), *rule.get("claims", {}).get("repository_id", {}).get("in", ())}

    def hours(rule: dict[str, Any]) -> int:
        return int(rule.get("grant", {}).get("max_ttl", "0h").removesuffix("h"))

    def bound(rule: dict[str, Any], name: str) -> int:
        return int(rule.get(name) or rule.get("grant", {}).get(name) or 1 << 40)

    return (
        bool(who(now) - who(was))
        or hours(now) > hours(was)
        or any(bound(now, name) > bound(was, name) for name in ("max_per_minute", "max_uses"))
        or bool(set(was.get("gates", ())) - set(now.get("gates", ())))
    )
