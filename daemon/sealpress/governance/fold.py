"""Folds the facts of the log into the state of governance: one function per fact.

What was checked before the append is not judged again, but a fact that no table allows is refused: such a log was not
written by us.

Guarantees: the same facts give the same state; an illegal fact raises and leaves the state as it was. Does not: decide
whether a fact may be (steps/_office.py), read clocks, or verify signatures (the offline verifier does).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from sealpress.errors import Precondition
from sealpress.governance import facts as f
from sealpress.governance import fold_access, tables
from sealpress.governance.state import (
    UNDONE,
    Approval,
    Change,
    Grant,
    Key,
    State,
)

VERSION = 1  # raised with all else that is made of the same facts, or that State holds: the snapshot file has it
NONCES_KEPT = 10_000  # from here on those of approvals that are over are dropped: these can never count again
SKEW_S = 3_600
DATES = ("alert.key.ends.", "alert.key.rotate")  # clockwork tells of them
_OVER = UNDONE | {"closed"}


def apply(state: State, fact: f.Fact, seq: int, time: int) -> None:
    """Take one fact further. Precondition ILLEGAL_MOVE (or NO_SUCH_…) if it cannot follow."""
    _FOLDS[type(fact)](state, fact, seq)
    state.seq, state.time = seq, max(state.time, time)
    if isinstance(fact, f.KeyMoved) and fact.verb == "suspend":
        state.keys[fact.key].suspended = state.time
    elif isinstance(fact, f.ApprovalEnded) and fact.verb != "expire":
        _until_now(state, fact)


def _policy_scheduled(state: State, fact: f.PolicyScheduled, seq: int) -> None:
    state.scheduled[fact.change_id] = fact


def _policy(state: State, fact: f.PolicyInForce, seq: int) -> None:
    state.policy = fact.body
    state.policy_sha256 = hashlib.sha256(fact.body.encode()).hexdigest()
    state.scheduled = {}  # what else was scheduled was judged against the policy before this one (GR-36)


def _submitted(state: State, fact: f.ChangeSubmitted, seq: int) -> None:
    record = fact.change
    if record.change_id in state.changes:
        raise Precondition("the change id is taken", reason="ILLEGAL_MOVE")
    state.changes[record.change_id] = Change(record, record.sha256, seq)
    state.open_changes[record.change_id] = None


def _change_moved(state: State, fact: f.ChangeMoved, seq: int) -> None:
    change = state.change(fact.change_id)
    now = tables.move(tables.CHANGE, change.state, fact.verb, "the change")
    executor, approvals = change.executor, change.approvals
    if fact.verb == "execute":
        executor = fact.person
        approvals = {name: _consumed(given) for name, given in approvals.items()}
    state.changes[fact.change_id] = replace(
        change, state=now, reason=fact.reason, executor=executor, approvals=approvals
    )
    if now in _OVER:
        state.open_changes.pop(fact.change_id, None)
    if now in UNDONE:
        state.undo(fact.change_id)


def _consumed(given: Approval) -> Approval:
    if given.state != "counted":
        return given
    return replace(given, state=tables.move(tables.APPROVAL, given.state, "consume", "an approval"))


def _approval(state: State, fact: f.ApprovalCounted, seq: int) -> None:
    change = state.change(fact.change_id)
    former = change.approvals.get(fact.person)
    if fact.nonce in state.nonces or (former is not None and former.state in ("counted", "consumed")):
        raise Precondition("the approval was counted already", reason="APPROVAL_USED")
    given = Approval(fact.person, fact.credential, fact.statement, fact.signature, fact.groups, fact.expires)
    state.changes[fact.change_id] = replace(change, approvals=change.approvals | {fact.person: given})
    if len(state.nonces) >= NONCES_KEPT:
        state.nonces = {nonce: end for nonce, end in state.nonces.items() if end + SKEW_S > state.time}
    state.nonces[fact.nonce] = fact.expires
    credential = state.credentials.get(fact.credential)
    if credential is not None and fact.counter is not None:
        credential.counter = max(credential.counter, fact.counter)


def _approval_ended(state: State, fact: f.ApprovalEnded, seq: int) -> None:
    change = state.change(fact.change_id)
    approval = change.approvals.get(fact.person)
    if approval is None:
        raise Precondition("there is no such approval", reason="ILLEGAL_MOVE")
    ended = replace(approval, state=tables.move(tables.APPROVAL, approval.state, fact.verb, "the approval"))
    state.changes[fact.change_id] = replace(change, approvals=change.approvals | {fact.person: ended})


def _until_now(state: State, fact: f.ApprovalEnded) -> None:
    change = state.change(fact.change_id)
    ended = replace(change.approvals[fact.person], expires=state.time)
    state.changes[fact.change_id] = replace(change, approvals=change.approvals | {fact.person: ended})


def _key_proposed(state: State, fact: f.KeyProposed, seq: int) -> None:
    former = state.keys.get(fact.key)
    if former is not None and not former.never_was:
        raise Precondition("the key's id is taken", reason="ILLEGAL_MOVE")
    state.keys[fact.key] = Key(fact, rotate_by=fact.rotate_by, not_after=fact.not_after)


def _key_generated(state: State, fact: f.KeyGenerated, seq: int) -> None:
    key = _key(state, fact.key)
    if fact.key_id in state.key_ids:
        raise Precondition("this public key is there already", reason="KEY_TAKEN")
    state.key_ids[fact.key_id] = fact.key
    key.key_id, key.spki, key.origin, key.software_token = fact.key_id, fact.spki, fact.origin, fact.software_token
    key.operators["generate"] = fact.operator


def _key_certified(state: State, fact: f.KeyCertified, seq: int) -> None:
    _key(state, fact.key).chain_sha256 = fact.chain_sha256


def _key_moved(state: State, fact: f.KeyMoved, seq: int) -> None:
    key = _key(state, fact.key)
    line = key.proposed.line
    key.state = tables.move(tables.KEY, key.state, fact.verb, f"key {fact.key}")
    if fact.person:
        key.operators[fact.verb] = fact.person
    if fact.verb == "activate":
        state.active[line] = fact.key
        for name in state.open_grants:  # what was let go under the key before it is signed by this one
            grant = state.grants[name]
            if grant.issued.line == line:
                _released(key, *grant.passed.values())
    elif fact.verb in ("deactivate", "mark_compromised") and state.active.get(line) == fact.key:
        del state.active[line]
    if fact.verb == "mark_compromised":
        key.since = fact.since
    verb = _PUBLIC_FOLLOWS.get(fact.verb)
    if verb is not None and (key.public_state, verb) in tables.PUBLIC:
        key.public_state = tables.PUBLIC[key.public_state, verb]


_PUBLIC_FOLLOWS = {
    "verify": "publish",
    "suspend": "retire",
    "resume": "restore",
    "deactivate": "retire",
    "mark_compromised": "distrust",
}


def _key(state: State, name: str) -> Key:
    key = state.keys.get(name)
    if key is None:
        raise Precondition(f"there is no key {name}", reason="NO_SUCH_KEY", hint="`sealpress key list`")
    return key


def _key_extended(state: State, fact: f.KeyExtended, seq: int) -> None:
    key = _key(state, fact.key)
    key.rotate_by, key.not_after, key.extended = fact.rotate_by, fact.not_after, True
    key.alerted = tuple(told for told in key.alerted if not told.startswith(DATES))  # there are other dates now


def _grant(state: State, fact: f.GrantIssued, seq: int) -> None:
    if fact.grant in state.grants:
        raise Precondition("the grant id is taken", reason="ILLEGAL_MOVE")
    state.put(Grant(fact))


def _grant_moved(state: State, fact: f.GrantMoved, seq: int) -> None:
    grant = state.grants.get(fact.grant)
    if grant is None:
        raise Precondition("there is no such grant", reason="NO_SUCH_GRANT")
    now: Any = tables.move(tables.GRANT, grant.state, fact.verb, "the grant")
    state.end(replace(grant, state=now))


def _gate(state: State, fact: f.GatePassed, seq: int) -> None:
    grant = state.grants.get(fact.grant)
    if grant is None or fact.gate in grant.passed:
        raise Precondition("there is no such gate to pass", reason="ILLEGAL_MOVE")
    state.grants[fact.grant] = replace(grant, passed=grant.passed | {fact.gate: fact.person})
    key = state.key_of(grant.issued.line)
    if key is not None:
        _released(key, fact.person)


def _released(key: Key, *persons: str) -> None:
    key.releasers = tuple(dict.fromkeys((*key.releasers, *persons)))


def _shares(state: State, fact: f.SharesRecorded, seq: int) -> None:
    state.shares[fact.set_id] = fact


def _alert(state: State, fact: f.AlertRaised, seq: int) -> None:
    state.alerts += 1
    key = state.keys.get(fact.subject)
    if key is not None and fact.name not in key.alerted:
        key.alerted = (*key.alerted, fact.name)


def _snapshot(state: State, fact: f.SnapshotTaken, seq: int) -> None:
    pass  # about a file, not about governance


_FOLDS: dict[type[f.Fact], Callable[[State, Any, int], None]] = {
    f.AnchorsAdopted: fold_access.anchors_adopted,
    f.PolicyScheduled: _policy_scheduled,
    f.PolicyInForce: _policy,
    f.ChangeSubmitted: _submitted,
    f.ChangeMoved: _change_moved,
    f.ApprovalCounted: _approval,
    f.ApprovalEnded: _approval_ended,
    f.IdentityEnrolled: fold_access.identity_enrolled,
    f.IdentityMoved: fold_access.identity_moved,
    f.CredentialEnrolled: fold_access.credential_enrolled,
    f.CredentialRevoked: fold_access.credential_revoked,
    f.BindingMade: fold_access.binding_made,
    f.BindingMoved: fold_access.binding_moved,
    f.IssuerRegistered: fold_access.issuer_registered,
    f.KeyProposed: _key_proposed,
    f.KeyGenerated: _key_generated,
    f.KeyCertified: _key_certified,
    f.KeyMoved: _key_moved,
    f.KeyExtended: _key_extended,
    f.GrantIssued: _grant,
    f.GrantMoved: _grant_moved,
    f.GatePassed: _gate,
    f.SharesRecorded: _shares,
    f.AlertRaised: _alert,
    f.SnapshotTaken: _snapshot,
}
assert set(_FOLDS) == set(f.KINDS.values())
