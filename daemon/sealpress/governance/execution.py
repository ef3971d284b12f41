"""Carrying out an approved change: the last approval does it by itself, or a person with the executing role does.

Guarantees: nothing is carried out without its quorum at this very moment (I3) under the policy it was approved under;
conflicts and operators' separation (GR-10, 12) are judged again; a change is carried out once. Does not: touch tokens:
what the custodian did arrives as a report, and what it says is compared with what was approved.
"""

from __future__ import annotations

from typing import Literal

from sealpress.errors import NotPermitted, Precondition
from sealpress.governance import belief, birth, counting, paths, releases, requests, separation, succession
from sealpress.governance import changes as c
from sealpress.governance import facts as f
from sealpress.governance.desk import Actor, Desk, is_person, person_of
from sealpress.governance.state import Approval, Change
from sealpress.verify import sshsig
from sealpress.verify.change import ReleaseRequest

WITNESSES_MIN = 2
RESUME_AFTER_S = 300  # DESIGN L2: nothing stopped is revived


def approved(desk: Desk, change: Change, have: list[Approval]) -> list[f.Fact]:
    """The quorum is there: the facts that follow from it. `have` are the approvals that make it."""
    record = change.record
    found: list[f.Fact] = [*_fallen(desk, change, have), _moved(record.change_id, "approve")]
    asked = c.request_of(record)
    if isinstance(asked, c.KeyRequest):
        found.append(_key(asked.key, "approve", None, record.change_id, record.reason))
    if not paths.kind_of(record.kind).executors:
        found += _finish(change, None, _effects(desk, change, asked, None, None, have))
    return found


def _fallen(desk: Desk, change: Change, have: list[Approval]) -> list[f.Fact]:
    """Approvals that were counted and do not count now: what is shown as evidence later holds only those that do."""
    found: list[f.Fact] = []
    for given in change.approvals.values():
        if given.state == "counted" and all(given.person != one.person for one in have):
            verb: Literal["expire", "invalidate"] = "expire" if desk.now >= given.expires else "invalidate"
            found.append(
                f.ApprovalEnded(change_id=change.record.change_id, person=given.person, verb=verb, actor="", reason="")
            )
    return found


def execute(desk: Desk, actor: Actor, change_id: str, report: f.KeyGenerated | f.Names | None = None) -> list[f.Fact]:
    """A person carries out an approved change; `report` is what the custodian found, or the witnesses."""
    person = person_of(actor, "carry out a change")
    change = desk.state.change(change_id)
    kind = paths.kind_of(change.record.kind)
    if change.state != "approved":
        hint = (
            "collect its approvals" if change.state == "in_review" else "`sealpress change show` has what became of it"
        )
        raise Precondition(f"the change is {change.state}", reason="CHANGE_NOT_APPROVED", hint=hint)
    if desk.now >= change.record.expires:
        raise Precondition("the change has expired", reason="CHANGE_EXPIRED", hint="propose it again")
    desk.need(actor, change.record.line, kind.executors)
    if person in change.approvals and change.approvals[person].state == "counted":
        raise NotPermitted("who approved a change does not carry it out", reason="DUTIES_CONFLICT")
    lacking = counting.missing(change, counting.counted(desk, change))
    if lacking:
        raise Precondition(f"the quorum is gone: {lacking}", reason="QUORUM_MISSING", hint="collect new approvals")
    return _finish(change, actor, _effects(desk, change, c.request_of(change.record), actor, report, []))


def _finish(change: Change, actor: Actor | None, effects: list[f.Fact]) -> list[f.Fact]:
    change_id = change.record.change_id
    failed = any(isinstance(fact, f.KeyMoved) and fact.verb == "fail" for fact in effects)
    last = ["fail"] if failed else ["succeed", "close"]
    return [_moved(change_id, "execute", actor), *effects, *(_moved(change_id, verb, actor) for verb in last)]


def _effects(
    desk: Desk,
    change: Change,
    asked: c.Request,
    actor: Actor | None,
    report: f.KeyGenerated | f.Names | None,
    have: list[Approval],
) -> list[f.Fact]:
    record = change.record
    requests.check(desk, record.kind, asked, record.change_id)
    match asked:
        case c.KeyRequest():
            assert actor is not None
            if not isinstance(report, f.KeyGenerated) or report.key != asked.key:
                raise Precondition(
                    "the custodian's report is missing", reason="REPORT_MISSING", hint="run `sealpress custodian`"
                )
            return _generated(desk, change, asked, actor, report)
        case c.KeyAct():
            return _key_act(desk, change, asked, actor, report, have)
        case c.ExtendRequest(key=key, rotate_by=rotate_by, not_after=not_after):
            return [f.KeyExtended(key=key, rotate_by=rotate_by, not_after=not_after, change_id=record.change_id)]
        case c.CompromiseRequest(key=key, since=since):
            moved = _key(key, "mark_compromised", None, record.change_id, record.reason)
            return [_with(moved, since=since)]
        case c.PolicyRequest(policy=text):
            return succession.scheduled(desk, change, text)
        case ReleaseRequest():
            return releases.of_release(desk, change, asked, have)
        case c.SharesRequest():
            shares = f.SharesRecorded(
                key=asked.key, set_id=asked.set_id, m=asked.m, n=asked.n, custodians=asked.custodians,
                commitments=asked.commitments, change_id=record.change_id,
            )  # fmt: skip
            return [shares]
        case _:
            return _access(desk, record.change_id, asked)


def _access(desk: Desk, change_id: str, asked: c.Request) -> list[f.Fact]:
    match asked:
        case c.EnrolRequest():
            fields = {name: getattr(asked, name) for name in asked.__struct_fields__}
            return [f.IdentityEnrolled(**fields, change_id=change_id)]
        case c.CredentialRequest(person=person, public=public, expires=expires):
            key = sshsig.parse_public_key(public)
            return [
                f.CredentialEnrolled(
                    person=person, fingerprint=key.fingerprint, public=public, application=key.application,
                    effective=desk.now, expires=expires, change_id=change_id,
                )
            ]  # fmt: skip
        case c.BindRequest():
            return [
                f.BindingMade(
                    binding=desk.new_id(), identity=asked.identity, role=asked.role, line=asked.line,
                    group=asked.group, not_after=asked.not_after, change_id=change_id,
                )
            ]  # fmt: skip
        case c.RestoreRequest(what="identity", id=id_):
            restored = f.IdentityMoved(identity=id_, verb="restore", actor="", reason="", change_id=change_id)
            return [*releases.outdated(desk, id_), restored]
        case c.RestoreRequest(id=id_):
            return [f.BindingMoved(binding=id_, verb="restore", actor="", reason="", change_id=change_id)]
        case c.IssuerRequest():
            fields = {name: getattr(asked, name) for name in asked.__struct_fields__}
            return [f.IssuerRegistered(**fields, change_id=change_id)]
        case _:
            raise AssertionError(f"no effect of {type(asked).__name__}")


# ---- keys ------------------------------------------------------------------------------------------------------------


def _generated(desk: Desk, change: Change, asked: c.KeyRequest, actor: Actor, report: f.KeyGenerated) -> list[f.Fact]:
    record, person = change.record, actor.person
    waiver = separation.check(desk, asked.line, desk.key(asked.key, asked.line), "generate", person, change)
    if report.operator != person:
        raise NotPermitted("the report is another person's", reason="REPORT_WRONG")
    if report.key_id != birth.sha256_of(report.spki):
        raise Precondition("key_id is not the SHA-256 of the public key", reason="REPORT_WRONG")
    if report.key_id in desk.state.key_ids:
        raise Precondition("this public key is in use already", reason="KEY_TAKEN", hint="one key, one line (GR-83)")
    wrong = birth.wrong(desk, record, asked, report)
    found: list[f.Fact] = [*waiver, _key(asked.key, "generate", actor, record.change_id, ""), report]
    if wrong:
        return [*found, _key(asked.key, "fail", actor, record.change_id, wrong)]
    return [*found, _key(asked.key, "verify", actor, record.change_id, "")]


def _key_act(
    desk: Desk,
    change: Change,
    asked: c.KeyAct,
    actor: Actor | None,
    report: f.KeyGenerated | f.Names | None,
    have: list[Approval],
) -> list[f.Fact]:
    record = change.record
    verb = record.kind.removeprefix("key.")
    key = desk.key(asked.key, asked.line)
    waiver = separation.check(desk, asked.line, key, verb, actor.person, change) if actor is not None else []
    moved = _key(asked.key, verb, actor, record.change_id, record.reason)
    if verb in ("activate", "resume") and desk.policy is not None and key.key_id in desk.policy.denied:
        raise Precondition("its public key is on the list of keys that others know (GR-84)", reason="KEY_DENIED")
    if verb == "destroy":
        return [*waiver, _with(moved, witnesses=_witnesses(desk, change, actor, report))]
    if verb == "resume" and desk.now < key.suspended + RESUME_AFTER_S:
        raise Precondition(
            "what was recorded before the stop could still be signed",
            reason="STOP_TOO_YOUNG",
            hint=f"a suspension lasts {RESUME_AFTER_S} s at least: approve again after that",
        )
    if verb == "resume" and asked.line in desk.anchors.lines:
        belief.check_believed_lift(desk.anchors, change, have, asked.key, desk.now)
    if verb == "activate":
        if desk.now >= key.not_after or desk.now < key.proposed.not_before:
            raise Precondition("the key's dates do not cover this moment", reason="KEY_DATES")
        former = desk.state.active.get(asked.line)
        if former is not None and former != asked.key:
            # the successor signs from here on; the former only verifies (GR-112)
            return [*waiver, _key(former, "deactivate", actor, record.change_id, f"succeeded by {asked.key}"), moved]
    return [*waiver, moved]


def _witnesses(desk: Desk, change: Change, actor: Actor | None, report: f.KeyGenerated | f.Names | None) -> f.Names:
    names = report if isinstance(report, tuple) else ()
    persons = {name for name in names if is_person(desk, name)}
    if actor is not None:
        persons.discard(actor.person)
    if len(persons) < WITNESSES_MIN:
        raise Precondition("two witnesses besides the operator (GR-115)", reason="WITNESSES_MISSING")
    return tuple(sorted(persons))


def _moved(change_id: str, verb: str, actor: Actor | None = None) -> f.ChangeMoved:
    name, person = (actor.name, actor.person) if actor is not None else ("", "")
    return f.ChangeMoved(change_id=change_id, verb=verb, actor=name, person=person)


def _key(key: str, verb: str, actor: Actor | None, change_id: str, reason: str) -> f.KeyMoved:
    name, person = (actor.name, actor.person) if actor is not None else ("", "")
    return f.KeyMoved(key=key, verb=verb, actor=name, person=person, reason=reason, change_id=change_id)


def _with(moved: f.KeyMoved, *, since: int = 0, witnesses: f.Names = ()) -> f.KeyMoved:
    return f.KeyMoved(
        key=moved.key, verb=moved.verb, actor=moved.actor, person=moved.person, reason=moved.reason,
        change_id=moved.change_id, since=since, witnesses=witnesses,
    )  # fmt: skip
