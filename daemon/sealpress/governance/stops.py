"""Stopping: one person, no approval, effective with the next request (L6, GR-44, GR-114).

Guarantees: what one person may stop a quorum may start again, but for who is offboarded and a key that is revoked: an
officer and his keys return with the next trust anchors even so; a stop of what is stopped already is an error and
changes nothing. Does not: resume (a change with quorum does).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from sealpress.errors import Malformed, NotPermitted, Precondition
from sealpress.governance import endings, paths, pending, tables
from sealpress.governance import facts as f
from sealpress.governance.desk import Actor, Desk, person_of
from sealpress.governance.roles import Role
from sealpress.governance.state import Binding, Change

STOPPERS = frozenset({Role.INCIDENT_RESPONDER, Role.SECURITY_OFFICER, Role.RETIREMENT_OPERATOR})
ACCESS_STOPPERS = frozenset({Role.INCIDENT_RESPONDER, Role.SECURITY_OFFICER, Role.ACCESS_ADMIN})
AT_ONCE_MAX = 16  # changes and approvals that end with the stop itself: the smallest segment has room for them


def suspend_key(desk: Desk, actor: Actor, key: str, reason: str) -> list[f.Fact]:
    """The key signs no more until its class's quorum says so."""
    person = person_of(actor, "suspend a key")
    found = desk.state.keys.get(key)
    if found is None:
        raise Precondition(f"there is no key {key}", reason="NO_SUCH_KEY", hint="`sealpress key list`")
    desk.need(actor, found.proposed.line, STOPPERS)
    tables.move(tables.KEY, found.state, "suspend", f"key {key}")
    moved = f.KeyMoved(key=key, verb="suspend", actor=actor.name, person=person, reason=_said(reason))
    return [moved, *_outdated(desk, "key.resume", key)]


def revoke_grant(desk: Desk, actor: Actor, grant: str, reason: str) -> list[f.Fact]:
    """No more uses. Besides the stoppers, its own grantee may give it back."""
    found = desk.state.grants.get(grant)
    if found is None:
        raise Precondition(f"there is no grant {grant}", reason="NO_SUCH_GRANT", hint="`sealpress grant show`")
    if actor.name != found.issued.identity:
        person_of(actor, "revoke another's grant")
        desk.need(actor, found.issued.line, STOPPERS)
    tables.move(tables.GRANT, found.state, "revoke", "the grant")
    return [f.GrantMoved(grant=grant, verb="revoke", actor=actor.name, reason=_said(reason))]


def end_identity(desk: Desk, actor: Actor, identity: str, verb: str, reason: str) -> list[f.Fact]:
    """`suspend` or `offboard`: it has no right from here on.

    Its approvals that are not used yet are invalid, and what it asked for and nobody carried out is void: whoever stole
    its credential may have asked. They end here as many as a stop can always record; none of the others counts, and
    they end a moment later (clockwork).
    """
    person_of(actor, f"{verb} an identity")
    if verb not in ("suspend", "offboard"):
        raise Malformed("an identity is suspended or offboarded", reason="BAD_REQUEST")
    desk.need(actor, "", ACCESS_STOPPERS)
    found = desk.state.identities.get(identity)
    if found is None:
        raise Precondition(f"there is no identity {identity}", reason="NO_SUCH_IDENTITY")
    if verb == "offboard" and any(officer.person == identity for officer in desk.anchors.officers):
        raise NotPermitted(
            f"{identity} is an officer, whom the trust anchors name",
            reason="OFFICERS",
            hint="suspend him, which stops him at once; when the next version leaves him out he is offboarded",
        )
    tables.move(tables.IDENTITY, found.state, verb, identity)
    facts: list[f.Fact] = [f.IdentityMoved(identity=identity, verb=verb, actor=actor.name, reason=_said(reason))]
    outdated = _outdated(desk, "access.restore", identity)
    return [*facts, *outdated, *_at_once(_left_by(desk, identity), len(outdated))]


def revoke_binding(desk: Desk, actor: Actor, binding: str, reason: str) -> list[f.Fact]:
    """The role is gone."""
    person_of(actor, "revoke a binding")
    found = desk.state.bindings.get(binding)
    if found is None or binding.startswith("anchors/"):
        raise Precondition(f"there is no binding {binding} to revoke", reason="NO_SUCH_BINDING")
    desk.need(actor, found.line if found.line != "*" else "", ACCESS_STOPPERS)
    tables.move(tables.BINDING, found.state, "revoke", "the binding")
    facts: list[f.Fact] = [f.BindingMoved(binding=binding, verb="revoke", actor=actor.name, reason=_said(reason))]
    resting = (change for change in _approved_by(desk, found.identity) if _rests_on(desk, change, found))
    return [*facts, *_at_once(endings.outlived(desk, change, found.identity) for change in resting)]


def revoke_credential(desk: Desk, actor: Actor, fingerprint: str, reason: str) -> list[f.Fact]:
    """The key counts for nothing; its person may do so himself."""
    person = person_of(actor, "revoke a credential")
    found = desk.state.credentials.get(fingerprint)
    if found is None or found.revoked:
        raise Precondition("there is no such key, or it is revoked", reason="NO_SUCH_CREDENTIAL")
    if found.person != person:
        desk.need(actor, "", ACCESS_STOPPERS)
    facts: list[f.Fact] = [f.CredentialRevoked(fingerprint=fingerprint, actor=actor.name, reason=_said(reason))]
    with_it = (c for c in _approved_by(desk, found.person) if c.approvals[found.person].credential == fingerprint)
    return [*facts, *_at_once(endings.outlived(desk, change, found.person) for change in with_it)]


def _approved_by(desk: Desk, person: str) -> Iterator[Change]:
    """The open changes in which an approval of his is counted."""
    for change_id in desk.state.open_changes:
        change = desk.state.changes[change_id]
        given = change.approvals.get(person)
        if given is not None and given.state == "counted":
            yield change


def _rests_on(desk: Desk, change: Change, binding: Binding) -> bool:
    """Whether he may approve it by this role only: what he approved by another one still counts."""
    kind = paths.kind_of(change.record.kind)
    held = desk.bindings(binding.identity, change.record.line, kind.approvers)
    groups = change.record.required.groups
    return not any(one.id != binding.id and (not groups or one.group in groups) for one in held)


def _outdated(desk: Desk, kind: str, subject: str) -> list[f.Fact]:
    """Whoever approved a return knew an earlier stop, not this one. There are few (pending.py): all end with it."""
    ended = (endings.end(desk, id_, "void", None, "stopped once more") for id_ in pending.returns(desk, kind, subject))
    return [fact for facts in ended for fact in facts]


def _left_by(desk: Desk, identity: str) -> Iterator[list[f.Fact]]:
    """What it approved, and what it asked for: of each what ends together."""
    for change in _approved_by(desk, identity):
        yield endings.outlived(desk, change, identity)
    for change_id in desk.state.open_changes:
        if identity in pending.behind(desk, change_id):
            yield endings.desert(desk, change_id)


def _at_once(ends: Iterator[list[f.Fact]], beside: int = 0) -> list[f.Fact]:
    """As many of them as a stop can always record, beside so many other facts."""
    facts: list[f.Fact] = []
    for together in islice(ends, AT_ONCE_MAX):
        if beside + len(facts) + len(together) > 2 * AT_ONCE_MAX:
            break
        facts += together
    return facts


def _said(reason: str) -> str:
    if not reason:
        raise Malformed("a stop needs a reason", reason="REASON_MISSING", hint="say why, in a few words")
    return endings.said(reason)
