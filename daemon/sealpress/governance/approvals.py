"""Approvals: the exact statement that a person signs, whether it counts, and taking it back.

Guarantees: the statement is made again here and compared byte for byte; only living persons with the role, in the
path's groups, count; nobody counts twice, for himself, or after his credential was revoked. Does not: say when there
are enough (counting.py), or carry out (execution.py).
"""

from __future__ import annotations

from collections.abc import Callable

from sealpress.errors import Invalid, NotPermitted, Precondition
from sealpress.governance import counting, endings, execution, paths
from sealpress.governance import facts as f
from sealpress.governance.desk import Actor, Desk, person_of
from sealpress.governance.state import Approval, Change
from sealpress.verify import approval, sshsig, statement
from sealpress.verify.statement import Statement

Seen = Callable[[int, bytes], bool]  # whether a checkpoint is a prefix of our log


def ask(desk: Desk, change_id: str, person: str, seen: tuple[int, bytes], nonce: str, note: str = "") -> Statement:
    """What `person` would sign now."""
    change = in_review(desk, change_id)
    groups = paths.groups_of(desk, change, person)
    if not groups:
        raise _not_yours()
    record = change.record
    number = min(len(counting.counted(desk, change)) + 1, max(1, statement.needed(record)))
    expires = min(record.expires, desk.now + record.required.valid_s)
    return statement.ask(record, person, number, seen[0], seen[1], nonce, desk.now, expires, note)


def submit(desk: Desk, text: bytes, signature: str, seen: Seen) -> tuple[str, list[f.Fact]]:
    """A signed statement, from whatever channel (GR-94): the change's id, and the facts to append."""
    try:
        named = statement.parse(text)
        change = in_review(desk, named.change_id)
        checked = approval.check(change.record, text, signature, _Enrolled(desk), desk.now, seen)
    except Invalid as error:
        raise NotPermitted(error.message, reason=error.reason, hint=error.hint) from None
    if change.record.policy_sha256 != (desk.state.policy_sha256 or "0" * 64) and change.record.line:
        raise Precondition("the policy changed since this was proposed", reason="CHANGE_VOID", hint="propose it again")
    if desk.now >= checked.expires:  # a verifier allows for clocks that differ; what counts from now on may not be over
        raise NotPermitted("it has expired", reason="APPROVAL_EXPIRED", hint="sign a new statement")
    person = checked.person
    groups = paths.groups_of(desk, change, person)
    if not groups:
        raise _not_yours()
    former = change.approvals.get(person)
    if checked.nonce in desk.state.nonces or (former is not None and former.state in ("counted", "consumed")):
        raise Precondition("this approval was counted already", reason="APPROVAL_USED", hint="one person counts once")
    if former is not None and former.state in ("revoked", "invalidated") and checked.issued <= former.expires:
        raise Precondition(
            "it is from before an approval of this person was taken back or ended",
            reason="APPROVAL_USED",
            hint="sign a new statement",
        )
    fact = f.ApprovalCounted(
        change_id=named.change_id, person=person, statement=text.decode(), signature=signature,
        credential=checked.credential, groups=groups, flags=checked.flags, counter=checked.counter,
        nonce=checked.nonce, expires=checked.expires,
    )  # fmt: skip
    found: list[f.Fact] = [fact]
    credential = desk.state.credentials[checked.credential]
    if checked.counter is not None and 0 < checked.counter <= credential.counter:
        text_ = f"counter {checked.counter} after {credential.counter}"
        found.append(f.AlertRaised(name="alert.credential.counter", subject=checked.credential, text=text_))
    have = [*counting.counted(desk, change), _approval(fact)]
    if not counting.missing(change, have):
        found += execution.approved(desk, change, have)
    return named.change_id, found


def withdraw(desk: Desk, actor: Actor, change_id: str, reason: str) -> list[f.Fact]:
    """Its author takes an approval back, as long as the change was not carried out."""
    person = person_of(actor, "withdraw an approval")
    change = desk.state.change(change_id)
    given = change.approvals.get(person)
    if given is None or given.state != "counted" or change.state not in ("in_review", "approved"):
        raise Precondition("there is no approval of yours to withdraw", reason="ILLEGAL_MOVE")
    return endings.end_approval(desk, change, person, "revoke", actor, reason)


def in_review(desk: Desk, change_id: str) -> Change:
    """A change that can be approved now."""
    change = desk.state.change(change_id)
    if change.state != "in_review":
        raise Precondition(
            f"the change is {change.state}", reason="ILLEGAL_MOVE", hint="only one in review is approved"
        )
    if desk.now >= change.record.expires:
        raise Precondition("the change has expired", reason="CHANGE_EXPIRED", hint="propose it again")
    return change


def _approval(fact: f.ApprovalCounted) -> Approval:
    return Approval(fact.person, fact.credential, fact.statement, fact.signature, fact.groups, fact.expires)


def _not_yours() -> NotPermitted:
    return NotPermitted(
        "this person may not approve this change",
        reason="APPROVAL_NOT_YOURS",
        hint="approvers are other persons than requester, creator and beneficiary, with role and group of the path",
    )


class _Enrolled:
    """The approval check's view of our persons and their keys."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def __call__(self, fingerprint: str) -> approval.Enrolment | None:
        """The person and limits of a key that counts."""
        found = self._desk.state.credentials.get(fingerprint)
        person = self._desk.state.identities.get(found.person) if found is not None else None
        if found is None or found.revoked or person is None or person.state != "active":
            return None
        key = sshsig.parse_public_key(found.public)
        ends = self._desk.state.ends(found)
        return approval.Enrolment(found.person, key, found.application, found.effective, ends)
