"""Adopting trust anchors: they decide from here on, and what rested on the former ones ends with these.

Guarantees: every policy that is in force or scheduled compiles by the floors of their profile; no grant of class
firmware or root goes on whose approvals the signer would not believe under them, since a leaf of such a grant ends the
log; what takes the root quorum takes the new one; no officer has a role that does not go with his, or a key that the
document does not list. Does not: verify their signatures (verify/anchors.py), or know which document the signer holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from sealpress.errors import Invalid, Precondition, SealpressError
from sealpress.governance import belief, endings, releases, succession
from sealpress.governance import changes as c
from sealpress.governance import facts as f
from sealpress.governance.desk import Desk
from sealpress.governance.fold import apply
from sealpress.governance.policy import compile_policy
from sealpress.governance.state import copy
from sealpress.verify.anchors import TrustAnchors
from sealpress.verify.change import encode

REASON = "the trust anchors changed"


def adopt(desk: Desk, anchors: TrustAnchors, signatures: tuple[str, ...]) -> list[f.Fact]:
    """The facts of a verified document; Invalid ANCHORS_PROFILE if a policy would not compile under it."""
    for text in _policies(desk):
        try:
            compile_policy(text.encode(), "the policy", governed=True, profile=anchors.profile)
        except SealpressError as error:
            raise Invalid(
                f"profile {anchors.profile} demands more than the policy: {error.message}",
                reason="ANCHORS_PROFILE",
                hint="first propose a policy that the profile takes, and wait until it is in force",
            ) from None
    adopted = f.AnchorsAdopted(document=encode(anchors).decode(), signatures=signatures)
    returning = [officer.person for officer in anchors.officers if _suspended(desk, officer.person)]
    before = [*_parted(desk, adopted), *_revived(desk, anchors), *_unsigned(desk, anchors)]
    before += releases.outdated(desk, *returning)
    return [*before, adopted, *_below_quorum(desk, anchors), *_disbelieved(desk, anchors)]


def _parted(desk: Desk, adopted: f.AnchorsAdopted) -> list[f.Fact]:
    """Roles that a new officer may not have beside his: else he could do nothing at all, not even as an officer."""
    after = copy(desk.state)
    apply(after, adopted, after.seq + 1, desk.now)
    return list(chain.from_iterable(succession.parted(replace(desk, state=after), desk.policy)))


def _suspended(desk: Desk, person: str) -> bool:
    """Whether the document lets him return."""
    known = desk.state.identities.get(person)
    return known is not None and known.state == "suspended"


def _revived(desk: Desk, anchors: TrustAnchors) -> Iterator[f.Fact]:
    """An officer's key that was revoked counts again if the document lists it: the officers decide, and all see it."""
    for officer in anchors.officers:
        for key in officer.keys:
            held = desk.state.credentials.get(key.fingerprint)
            if held is not None and held.revoked:
                said = f"{officer.person}'s key was revoked; version {anchors.version} of the anchors lists it"
                yield f.AlertRaised(name="alert.credential.revived", subject=key.fingerprint, text=said)


def _unsigned(desk: Desk, anchors: TrustAnchors) -> Iterator[f.Fact]:
    """Keys of an officer that the document does not list: with one of them others might have a voice in its quorum."""
    listed = {officer.person: {key.fingerprint for key in officer.keys} for officer in anchors.officers}
    for held in desk.state.credentials.values():
        if not held.revoked and held.fingerprint not in listed.get(held.person, {held.fingerprint}):
            yield f.CredentialRevoked(fingerprint=held.fingerprint, actor="", reason=REASON)


def _policies(desk: Desk) -> Iterator[str]:
    if desk.state.policy:
        yield desk.state.policy
    for change_id in desk.state.scheduled:
        asked = c.request_of(desk.state.changes[change_id].record)
        assert isinstance(asked, c.PolicyRequest)
        yield asked.policy


def _below_quorum(desk: Desk, anchors: TrustAnchors) -> Iterator[f.Fact]:
    for change_id in desk.state.open_changes:
        required = desk.state.changes[change_id].record.required
        if required.path == "root" and required.quorum < anchors.root_threshold:
            yield from endings.end(desk, change_id, "void", None, REASON)


def _disbelieved(desk: Desk, anchors: TrustAnchors) -> Iterator[f.Fact]:
    for grant_id in desk.state.open_grants:
        issued = desk.state.grants[grant_id].issued
        change = desk.state.changes.get(issued.change_id)
        if change is None or desk.class_of(issued.line) not in releases.QUORUM_CLASSES:
            continue
        have = [given for given in change.approvals.values() if given.state == "consumed"]
        try:
            until = belief.believed_until(anchors, change, have, desk.now)
        except Precondition:
            until = 0
        if until < issued.not_after:
            yield f.GrantMoved(grant=grant_id, verb="expire", actor="", reason=REASON)
