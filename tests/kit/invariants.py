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
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kit.town import Leaf, Town
from kit.weaker import weaker
from kit.world import APPROVING, QUORUM, STRICT, Event, Given, World, apart, fingerprint
from sealpress.governance import facts as f

"""Roles that approve, by kind of change or its first word."""

"""The crosses of GOVERNANCE 3.4."""


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
