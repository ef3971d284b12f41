"""Proposing a change, and taking it back: the beginning of everything that is not a stop (GR-13).

Guarantees: what is proposed was possible at that moment (dates, classes, partition, conflicts), so approvers read no
nonsense; a change that needs no approval is approved at once. Does not: carry out.
"""

from __future__ import annotations

from dataclasses import dataclass

from sealpress.errors import Invalid, Malformed, NotPermitted
from sealpress.governance import changes as c
from sealpress.governance import endings, execution, key_requests, paths, pending, requests
from sealpress.governance import facts as f
from sealpress.governance.desk import Actor, Desk, person_of
from sealpress.governance.state import Change
from sealpress.verify import statement
from sealpress.verify.change import ChangeRecord, ReleaseRequest, decode, encode

SUMMARY_MAX = 500


@dataclass(frozen=True, slots=True)
class Texts:
    """What a proposer says about a change."""

    reason: str
    risk: str = ""
    rollback: str = ""
    ticket: str = ""


def propose(desk: Desk, actor: Actor, kind_name: str, request: str, texts: Texts) -> tuple[ChangeRecord, list[f.Fact]]:
    """A person proposes: the record, and the facts to append."""
    kind = paths.kind_of(kind_name)
    person = person_of(actor, "propose a change")
    if kind.request is ReleaseRequest:
        raise Malformed("a release is not proposed", reason="BAD_REQUEST", hint="RequestGrant with its digests")
    try:
        asked = decode(request, kind.request)
    except Invalid as error:
        raise Malformed(error.message, reason="BAD_REQUEST", hint="send the request as canonical JSON") from None
    desk.need(actor, c.line_of(asked), kind.proposers)
    if person in paths.beneficiaries(desk, asked):
        raise NotPermitted("nobody proposes for himself", reason="SELF_SERVING", hint="another person proposes it")
    requests.check(desk, kind.name, asked)
    return submit(desk, actor, kind, asked, request, texts, creator="")


def submit(
    desk: Desk, actor: Actor, kind: c.Kind, asked: c.Request, request: str, texts: Texts, creator: str
) -> tuple[ChangeRecord, list[f.Fact]]:
    """The record of a checked request, and its facts; at once approved if it needs nobody's approval."""
    anchors, line = desk.anchors, c.line_of(asked)
    pending.check_room(desk, actor, line, len(request))
    pending.check_returns(desk, kind.name, asked)
    if not texts.reason:
        raise Malformed("a change needs a reason", reason="REASON_MISSING", hint="say why, for those who approve it")
    record = ChangeRecord(
        change_id=desk.new_id(),
        profile=anchors.profile,
        deployment=anchors.deployment,
        log=anchors.log,
        kind=kind.name,
        line=line,
        request=request,
        summary=_cut(requests.summary(asked)),
        reason=texts.reason,
        risk=texts.risk,
        rollback=texts.rollback,
        ticket=texts.ticket,
        policy_sha256=desk.state.policy_sha256 or "0" * 64,
        requester=actor.name,
        requester_person=actor.person,
        creator_person=creator,
        created=desk.now,
        expires=desk.now + kind.expires_s,
        required=paths.required(desk, kind, asked),
    )
    _check_readable(record, kind)
    found: list[f.Fact] = [f.ChangeSubmitted(change=record)]
    if isinstance(asked, c.KeyRequest):
        found.append(key_requests.proposed(asked, kind.name == "key.adopt", record.change_id))
    if not statement.needed(record):
        found += execution.approved(desk, Change(record, record.sha256, 0), [])
    return record, found


def _check_readable(record: ChangeRecord, kind: c.Kind) -> None:
    """Malformed unless the record can be read back, and an approver can be shown what he signs."""
    try:
        decode(encode(record), ChangeRecord)
        decode(record.request, kind.request)
        statement.render(statement.ask(record, record.requester, 1, 0, bytes(32), "0" * 32, 0, 0))
    except Invalid as error:
        raise Malformed(error.message, reason="BAD_REQUEST", hint="shorter, and in printable text") from None


def withdraw(desk: Desk, actor: Actor, change_id: str, reason: str) -> list[f.Fact]:
    """Its proposer takes it back."""
    change = desk.state.change(change_id)
    if actor.name != change.record.requester:
        raise NotPermitted("only its proposer withdraws a change", hint="approvers may reject it")
    return endings.end(desk, change_id, "withdraw", actor, reason)


def reject(desk: Desk, actor: Actor, change_id: str, reason: str) -> list[f.Fact]:
    """One who may approve it says no; one no is enough."""
    change = desk.state.change(change_id)
    if not paths.groups_of(desk, change, person_of(actor, "reject a change")):
        raise NotPermitted("only who may approve a change may reject it")
    return endings.end(desk, change_id, "reject", actor, reason)


def _cut(text: str) -> str:
    """Not so long that it fits into no record; whoever reads it sees that there is more."""
    return text if len(text) <= SUMMARY_MAX else f"{text[: SUMMARY_MAX - 1]}…"
