"""What a town has seen, as an index of facts and leaves that has no opinion: the invariants look at it."""

from __future__ import annotations

import base64
import hashlib
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


def fingerprint(public: str) -> str:
    """As `ssh-keygen -l` prints it."""
    blob = base64.b64decode(public.split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
