"""Releases: the grant that an approved one brings, and the person who lets it go.

Guarantees: a grant never outlives its class's limit, nor the first of its approvals; creator, approvers and releaser
are different persons (GR-30). Does not: ask for one (grants.py), or count uses (usage.py).
"""

from __future__ import annotations

from sealpress.errors import NotPermitted, Precondition
from sealpress.governance import facts as f
from sealpress.governance import separation
from sealpress.governance.belief import believed_until
from sealpress.governance.desk import Actor, Desk, person_of
from sealpress.governance.roles import Role
from sealpress.governance.state import Approval, Change, Grant
from sealpress.values import KeyClass
from sealpress.verify.change import ReleaseRequest

HOUR_S = 3_600
TTL_S_MAX = {
    KeyClass.TEST: 24 * HOUR_S,
    KeyClass.LOW: HOUR_S,
    KeyClass.RELEASE: 24 * HOUR_S,
    KeyClass.FIRMWARE: 72 * HOUR_S,
    KeyClass.ROOT: 72 * HOUR_S,
}
QUORUM_CLASSES = frozenset({KeyClass.FIRMWARE, KeyClass.ROOT})
PROMOTE = "release.promote"


def of_release(desk: Desk, change: Change, asked: ReleaseRequest, have: list[Approval]) -> list[f.Fact]:
    """The grant that an approved release brings; it ends before the first of its approvals does."""
    person = change.record.requester_person
    if person and not desk.bindings(person, asked.line, {Role.REQUESTER}):
        raise Precondition(
            f"{person}, who asked for it, may not request on this line any more",
            reason="REQUESTER_GONE",
            hint="reject it; another requester asks again",
        )
    class_ = desk.rules(asked.line).class_
    ends = [desk.now + min(asked.ttl_s, TTL_S_MAX[class_]), *(given.expires for given in have)]
    if class_ in QUORUM_CLASSES:
        ends.append(believed_until(desk.anchors, change, have, desk.now))
    grant = f.GrantIssued(
        grant=desk.new_id(), change_id=change.record.change_id, identity=asked.identity, holder="", line=asked.line,
        rule=asked.rule, policy_sha256=desk.state.policy_sha256, constraint="exact-digests", algorithm=asked.algorithm,
        digests=tuple(item.digest for item in asked.items), manifest_sha256=asked.manifest_sha256, name="", version="",
        max_uses=len(asked.items), not_before=desk.now,
        not_after=min(ends),
        gates=tuple(gate for gate in asked.gates if gate == PROMOTE),
        creator_person=change.record.creator_person, security_version=asked.security_version,
    )  # fmt: skip
    return [grant]


def release(desk: Desk, actor: Actor, grant_id: str) -> list[f.Fact]:
    """A releaser lets the release go: the last gate of its grant."""
    person = person_of(actor, "release")
    grant = desk.state.grants.get(grant_id)
    if grant is None:
        raise Precondition(f"there is no grant {grant_id}", reason="NO_SUCH_GRANT", hint="`sealpress grant show`")
    issued = grant.issued
    desk.need(actor, issued.line, {Role.RELEASER})
    if grant.state != "active" or desk.now >= issued.not_after:
        raise Precondition("the grant is over", reason="GRANT_OVER", hint="request a new one")
    if PROMOTE not in issued.gates or PROMOTE in grant.passed:
        raise Precondition("this release has no gate to pass", reason="ILLEGAL_MOVE")
    if person in involved(desk, grant):
        raise NotPermitted(
            "creator, requester and approvers of a release do not release it",
            reason="DUTIES_CONFLICT",
            hint="another person with the role releaser does (GR-30)",
        )
    key = desk.state.key_of(issued.line)
    waiver: list[f.Fact] = []
    if key is not None:
        change = desk.state.changes.get(issued.change_id)
        waiver = separation.check(desk, issued.line, key, "release", person, change)
    return [*waiver, f.GatePassed(grant=grant_id, gate=PROMOTE, person=person, actor=actor.name)]


def involved(desk: Desk, grant: Grant) -> set[str]:
    """The persons who have a part in a release already."""
    change = desk.state.changes.get(grant.issued.change_id)
    persons = {grant.issued.creator_person}
    if change is not None:
        persons |= {change.record.requester_person, change.record.creator_person}
        persons |= {given.person for given in change.approvals.values() if given.state in ("counted", "consumed")}
    return persons - {""}


def outdated(desk: Desk, *stopped: str) -> list[f.GrantMoved]:
    """What was granted to them before they were stopped, or to agents of theirs: nothing stopped is revived (L2).

    Job grants go on: each is of one credential, which would get another at once.
    """
    known = desk.state.identities.values() if stopped else ()
    names = {name for one in known if one.id in stopped or one.on_behalf_of in stopped for name in one.names}
    issued = (desk.state.grants[grant].issued for grant in (desk.state.open_grants if names else ()))
    reason = "who asked for it was stopped since then"
    return [
        f.GrantMoved(grant=one.grant, verb="expire", actor="", reason=reason)
        for one in issued
        if one.change_id and one.identity in names
    ]
