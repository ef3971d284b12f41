"""Proposing a change, and taking it back: the beginning of everything that is not a stop (GR-13).

Guarantees: what is proposed was possible at that moment (dates, classes, partition, conflicts), so approvers read no
nonsense; a change that needs no approval is approved at once. Does not: carry out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from sealpress.errors import Invalid, Malformed, NotPermitted, Precondition, SealpressError
from sealpress.governance import changes as c
from sealpress.governance import facts as f
from sealpress.governance import paths, tables
from sealpress.governance.desk import Actor, Desk, clash, person_of
from sealpress.governance.roles import Role
from sealpress.governance.state import EVERY_LINE, OFFICERS, Binding, Change
from sealpress.values import KeyClass, check_line
from sealpress.verify import sshsig, statement
from sealpress.verify.change import TEXT_MAX, ChangeRecord, ReleaseRequest, decode, encode

DAY_S = 86_400
PERIOD_S = {
    KeyClass.TEST: 90 * DAY_S,
    KeyClass.LOW: 365 * DAY_S,
    KeyClass.RELEASE: 460 * DAY_S,
    KeyClass.FIRMWARE: 1_095 * DAY_S,
    KeyClass.ROOT: 1_095 * DAY_S,
}
EXTENSION_S_MAX = 90 * DAY_S
PARTNER_S_MAX = 365 * DAY_S
SIGNATURES_MAX = 100_000_000
FLOOR_TRUSTS = frozenset({"firmware", "boot", "recovery_path"})
PENDING_MAX, PENDING_BYTES_MAX = 10_000, 1 << 30  # changes, and their requests
OF_ONE, OF_A_LINE, OF_MACHINES, OF_ALL = 1, 3, 9, 10  # tenths of these
SUMMARY_MAX = 500
NAME = re.compile(r"(uri|spki:sha256|oidc|actor):[\x21-\x7e]+", re.ASCII)
TRUST = re.compile(r"[a-z0-9][a-z0-9._-]*")
EXTENDABLE = frozenset({"pre_active", "active", "suspended"})


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
    check(desk, kind.name, asked)
    return submit(desk, actor, kind, asked, request, texts, creator="")


def submit(
    desk: Desk, actor: Actor, kind: c.Kind, asked: c.Request, request: str, texts: Texts, creator: str
) -> tuple[ChangeRecord, list[f.Fact]]:
    """The record of a checked request, and its facts; at once approved if it needs nobody's approval."""
    from sealpress.governance import execution

    anchors, line = desk.anchors, c.line_of(asked)
    _check_room(desk, actor, line, len(request))
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
        summary=_cut(summary(asked)),
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
        found.append(_proposed(asked, kind.name == "key.adopt", record.change_id))
    if not statement.needed(record):
        found += execution.approved(desk, Change(record, record.sha256, 0), [])
    return record, found


def _check_room(desk: Desk, actor: Actor, line: str, size: int) -> None:
    """Precondition CHANGES_PENDING when so many are pending that this one would leave too little room for others.

    Anybody has a share. A pipeline has many names, so a line has one, too; and what persons have to change in an
    emergency is not kept out by machines.
    """
    pending = [desk.state.changes[change_id].record for change_id in desk.state.open_changes]
    whose = actor.identity or actor.name  # one who connects by many names has one share
    own = [one for one in pending if (requester_of(desk, one.change_id) or one.requester) == whose]
    shares = [(OF_ONE, "of this requester", own)]
    if actor.person:
        shares.append((OF_ALL, "in all", pending))
    else:
        releases = [one for one in pending if one.line == line and not one.requester_person]
        shares += [(OF_A_LINE, "that pipelines asked for on this line", releases), (OF_MACHINES, "in all", pending)]
    for tenths, whose, have in shares:
        number, bytes_ = len(have) + 1, sum(len(one.request) for one in have) + size
        if number * OF_ALL > PENDING_MAX * tenths or bytes_ * OF_ALL > PENDING_BYTES_MAX * tenths:
            raise Precondition(
                f"too many changes are pending {whose}", reason="CHANGES_PENDING", hint="decide or withdraw some first"
            )


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
    return end(desk, change_id, "withdraw", actor, reason)


def reject(desk: Desk, actor: Actor, change_id: str, reason: str) -> list[f.Fact]:
    """One who may approve it says no; one no is enough."""
    change = desk.state.change(change_id)
    if not paths.groups_of(desk, change, person_of(actor, "reject a change")):
        raise NotPermitted("only who may approve a change may reject it")
    return end(desk, change_id, "reject", actor, reason)


def end(desk: Desk, change_id: str, verb: str, actor: Actor | None, reason: str) -> list[f.Fact]:
    """The facts that end a change before it was carried out; a key that it proposed is rejected with it."""
    name, person = (actor.name, actor.person) if actor is not None else ("", "")
    change = desk.state.change(change_id)
    tables.move(tables.CHANGE, change.state, verb, "the change")
    moved = f.ChangeMoved(change_id=change_id, verb=verb, actor=name, person=person, reason=said(reason))
    found: list[f.Fact] = [moved]
    record = change.record
    if record.kind in ("key.issue", "key.adopt"):
        asked = c.request_of(record)
        assert isinstance(asked, c.KeyRequest)
        state = desk.state.keys[asked.key].state
        if state in ("proposed", "approved"):
            found.append(_key_over(asked.key, "reject" if state == "proposed" else "expire", name, change_id, reason))
    return found


def requester_of(desk: Desk, change_id: str) -> str:
    """The identity that asked for it; empty where nobody has that name now."""
    record = desk.state.changes[change_id].record
    return record.requester_person or desk.state.names.get(record.requester, "")


def desert(desk: Desk, change_id: str) -> list[f.Fact]:
    """Who asked for it has no right any more."""
    return end(desk, change_id, "void", None, "who asked for it was stopped")


def end_approval(
    desk: Desk,
    change: Change,
    person: str,
    verb: Literal["revoke", "expire", "invalidate"],
    actor: Actor | None,
    why: str,
) -> list[f.Fact]:
    """A counted approval counts no more; a change that has its quorum by it is void."""
    change_id, name = change.record.change_id, actor.name if actor is not None else ""
    found: list[f.Fact] = [f.ApprovalEnded(change_id=change_id, person=person, verb=verb, actor=name, reason=said(why))]
    return found + (end(desk, change_id, "void", actor, why) if change.state == "approved" else [])


def said(reason: str) -> str:
    """Malformed TOO_LARGE for a reason that no record holds."""
    if len(reason) > TEXT_MAX:
        raise Malformed(f"a reason has at most {TEXT_MAX} characters", reason="TOO_LARGE")
    return reason


def _cut(text: str) -> str:
    """Not so long that it fits into no record; whoever reads it sees that there is more."""
    return text if len(text) <= SUMMARY_MAX else f"{text[: SUMMARY_MAX - 1]}…"


def summary(asked: c.Request) -> str:
    """One line for those who approve."""
    match asked:
        case ReleaseRequest(items=items, manifest_sha256=manifest):
            return f"{len(items)} artifacts, manifest-sha256 {manifest}"
        case c.KeyRequest(key=key, class_=class_, algorithm=algorithm):
            fleet = f", about {asked.fleet_estimate} devices" if asked.fleet_estimate else ""
            return f"key {key}: {algorithm}, class {class_}, trusted for {', '.join(asked.trusts) or 'nothing'}{fleet}"
        case c.KeyAct(key=key) | c.ExtendRequest(key=key) | c.CompromiseRequest(key=key) | c.SharesRequest(key=key):
            return f"key {key}"
        case c.BindRequest(identity=identity, role=role, line=line, group=group):
            return f"{identity} becomes {role} of {line}" + (f" in {group}" if group else "")
        case c.EnrolRequest(identity=identity, names=names):
            return f"{identity} connects as {', '.join(names)}"
        case c.CredentialRequest(person=person):
            return f"a key of {person}"
        case c.IssuerRequest(issuer=issuer):
            return f"tokens of {issuer}"
        case c.RestoreRequest(what=what, id=id_):
            return f"{what} {id_} counts again"
        case c.PolicyRequest():
            return "the policy"


# ---- what must hold when it is proposed, and again when it is carried out --------------------------------------------


def check(desk: Desk, kind: str, asked: c.Request, change_id: str = "") -> None:
    """A Refusal unless the state allows it now; `change_id`: the change itself, when it is carried out."""
    match asked:
        case c.KeyRequest():
            _check_key(desk, kind, asked, change_id)
        case c.KeyAct(key=key, line=line):
            tables.move(tables.KEY, desk.key(key, line).state, kind.removeprefix("key."), f"key {key}")
        case c.ExtendRequest():
            _check_extension(desk, asked)
        case c.CompromiseRequest(key=key, line=line, since=since):
            tables.move(tables.KEY, desk.key(key, line).state, "mark_compromised", f"key {key}")
            if since > desk.now:
                raise Malformed("a compromise cannot begin in the future", reason="BAD_DATES")
        case c.PolicyRequest(policy=text):
            _check_alone(desk)
            check_policy(desk, text)
        case c.EnrolRequest():
            _check_enrolment(desk, asked)
        case c.CredentialRequest():
            _check_credential(desk, asked)
        case c.BindRequest():
            check_binding(desk, asked)
        case c.SharesRequest():
            _check_shares(desk, asked)
        case c.RestoreRequest():
            _check_restoration(desk, asked)
        case c.IssuerRequest(owner=owner):
            _check_owners(desk, owner)
        case ReleaseRequest():
            pass


def _check_key(desk: Desk, kind: str, asked: c.KeyRequest, change_id: str) -> None:
    rules = desk.rules(asked.line)
    former = desk.state.keys.get(asked.key)
    if former is not None and not former.never_was and former.proposed.change_id != change_id:
        raise Precondition(f"the key id {asked.key} is taken", reason="KEY_TAKEN", hint="choose another id")
    if (asked.class_, asked.mode, asked.format) != (rules.class_, rules.mode, rules.format):
        raise Malformed("class, mode and format must be those of the line's policy", reason="KEY_DIFFERS_FROM_POLICY")
    if asked.environment != asked.line.split("/")[3] or (rules.environment and asked.environment != rules.environment):
        raise Malformed("the environment is not that of the line", reason="PARTITION", hint="a key serves one line")
    if asked.purpose != asked.line.split("/")[4]:
        raise Malformed("the purpose is not that of the line", reason="PARTITION", hint="a key serves one line")
    if (asked.class_ is KeyClass.TEST) != (asked.environment == "test"):
        raise Malformed(
            "class test and environment test go together",
            reason="PARTITION",
            hint="test never meets production (GR-84)",
        )
    if not all(TRUST.fullmatch(trust) for trust in asked.trusts) or not rules.trusts <= set(asked.trusts):
        raise Malformed(
            f"a key is trusted at least as its line, in the policy's words: {', '.join(sorted(rules.trusts)) or '-'}",
            reason="TRUSTS_WRONG",
            hint="approvers read how far it reaches: firmware, boot, recovery_path, ... in small letters",
        )
    if FLOOR_TRUSTS & set(asked.trusts) and asked.class_ not in (KeyClass.FIRMWARE, KeyClass.ROOT):
        raise Malformed(
            "what is trusted for firmware, boot or recovery needs class firmware or root", reason="CLASS_FLOOR"
        )
    if not asked.not_before < asked.rotate_by <= asked.not_after or asked.not_after <= desk.now:
        raise Malformed("dates must be not_before < rotate_by <= not_after, and not over", reason="BAD_DATES")
    if asked.not_after - asked.not_before > PERIOD_S[asked.class_]:
        raise Malformed(
            f"a key of class {asked.class_} lives at most {PERIOD_S[asked.class_] // DAY_S} days",
            reason="PERIOD_TOO_LONG",
        )
    if asked.max_signatures > SIGNATURES_MAX:
        raise Malformed(f"max_signatures is at most {SIGNATURES_MAX}", reason="CAP_TOO_HIGH")
    if kind == "key.adopt" and not asked.accepted_risk:
        raise Malformed(
            "nobody can prove where an adopted key was born",
            reason="RISK_MISSING",
            hint="say in `accepted_risk` why that is acceptable",
        )
    _check_owners(desk, asked.owner, asked.backup_owner)
    if asked.owner == asked.backup_owner:
        raise Malformed("owner and backup owner are one person", reason="OWNER_UNKNOWN", hint="name two persons")


def _check_owners(desk: Desk, *owners: str) -> None:
    for owner in owners:
        if not _is_person(desk, owner):
            raise Malformed(f"{owner or 'nobody'} is no active person", reason="OWNER_UNKNOWN", hint="name two persons")


def _is_person(desk: Desk, id_: str) -> bool:
    """Whether this is an active person."""
    known = desk.state.identities.get(id_)
    return known is not None and (known.kind, known.state) == ("person", "active")


def _proposed(asked: c.KeyRequest, adopted: bool, change_id: str) -> f.KeyProposed:
    return f.KeyProposed(
        key=asked.key, line=asked.line, class_=asked.class_, environment=asked.environment, purpose=asked.purpose,
        trusts=asked.trusts, fleet_estimate=asked.fleet_estimate, mode=asked.mode, format=asked.format,
        algorithm=asked.algorithm, slot=asked.slot, not_before=asked.not_before, rotate_by=asked.rotate_by,
        not_after=asked.not_after, max_signatures=asked.max_signatures, owner=asked.owner,
        backup_owner=asked.backup_owner, adopted=adopted, change_id=change_id,
    )  # fmt: skip


def _key_over(key: str, verb: str, actor: str, change_id: str, reason: str) -> f.KeyMoved:
    return f.KeyMoved(key=key, verb=verb, actor=actor, person="", reason=reason, change_id=change_id)


def _check_extension(desk: Desk, asked: c.ExtendRequest) -> None:
    key = desk.key(asked.key, asked.line)
    if key.state not in EXTENDABLE:
        raise Precondition(f"the key is {key.state}", reason="ILLEGAL_MOVE", hint="only a living key is extended")
    if desk.now >= key.not_after:
        raise Precondition("the key's end has come", reason="KEY_EXPIRED", hint="a new key takes its place")
    if key.extended:
        raise Precondition("a key is extended once", reason="EXTENDED_ALREADY", hint="rotate it")
    if not key.not_after < asked.not_after <= key.not_after + EXTENSION_S_MAX or asked.rotate_by > asked.not_after:
        raise Malformed("an extension is at most 90 days", reason="PERIOD_TOO_LONG")


def _check_alone(desk: Desk) -> None:
    """What is approved while another policy is about to decide would be closed as done, and never be in force."""
    if desk.state.scheduled:
        raise Precondition(
            "another policy is about to enter into force, and what this one loosens was not judged against it",
            reason="POLICY_SCHEDULED",
            hint="propose it again when that one is in force",
        )


def check_policy(desk: Desk, text: str) -> None:
    """Malformed POLICY_INVALID unless the file compiles by this profile's floors, without an error of lint.py."""
    try:
        paths.compiled(desk, text)
    except SealpressError as error:
        raise Malformed(error.message, reason="POLICY_INVALID", hint=error.hint) from None


def _check_enrolment(desk: Desk, asked: c.EnrolRequest) -> None:
    if not asked.identity.startswith(f"{asked.kind}:"):
        raise Malformed(f"the id of a {asked.kind} begins with {asked.kind}:", reason="BAD_REQUEST")
    if not all(NAME.fullmatch(name) for name in asked.names):
        raise Malformed(
            "a name is what the transport authenticates",
            reason="BAD_REQUEST",
            hint="uri:…, spki:sha256:…, oidc:…, actor:…",
        )
    if asked.identity in desk.state.identities or any(name in desk.state.names for name in asked.names):
        raise Precondition("the identity or one of its names is enrolled already", reason="IDENTITY_TAKEN",
                           hint="one natural person, one person_id (GR-32)")  # fmt: skip
    if any(asked.identity.lower() == known.lower() for known in desk.state.identities):
        raise Precondition("an identity is enrolled whose id differs only in capitals", reason="IDENTITY_TAKEN",
                           hint="approvers read ids: choose one that nobody takes for another's")  # fmt: skip
    if asked.kind != "person":
        _check_owners(desk, asked.owner, asked.backup_owner)
    agent = asked.kind == "agent"
    if (agent or asked.on_behalf_of) and not (agent and _is_person(desk, asked.on_behalf_of)):
        raise Malformed("an agent, and no other, acts on behalf of a person (GR-33)", reason="ON_BEHALF_MISSING")
    if asked.kind == "partner":
        whole = asked.agreement and asked.trust_domain and asked.line
        if not _is_person(desk, asked.sponsor) or not whole:
            text = "a partner has sponsor, agreement, trust domain and its own line (GR-100)"
            raise Malformed(text, reason="PARTNER_INCOMPLETE")
        if not desk.now < asked.expires <= desk.now + PARTNER_S_MAX:
            raise Malformed("a partner's enrolment lasts at most 365 days", reason="PERIOD_TOO_LONG")
    if asked.line:
        desk.rules(check_line(asked.line))


def _check_credential(desk: Desk, asked: c.CredentialRequest) -> None:
    if not _is_person(desk, asked.person):
        raise Malformed(f"{asked.person} is no active person", reason="OWNER_UNKNOWN")
    if any(officer.person == asked.person for officer in desk.anchors.officers):
        raise Precondition(
            f"{asked.person} is an officer, whose keys stand in the trust anchors",
            reason="OFFICER_KEYS",
            hint="the next version of the anchors names them; it takes the officers' thresholds",
        )
    try:
        key = sshsig.parse_public_key(asked.public)
        message = c.proof_text(asked.person, desk.anchors.deployment, asked.public)
        signed = sshsig.verify(asked.proof, message, c.CREDENTIAL_NAMESPACE)
    except Invalid as error:
        raise Malformed(f"the key or its proof: {error.message}", reason="PROOF_INVALID") from None
    if signed.key.fingerprint != key.fingerprint:
        raise Malformed("the proof is by another key", reason="PROOF_INVALID", hint="sign with the key to be enrolled")
    if key.fingerprint in desk.state.credentials:
        raise Precondition(
            "this key is enrolled already", reason="CREDENTIAL_TAKEN", hint="one key, one person (GR-32)"
        )
    if not desk.now < asked.expires <= desk.now + 365 * DAY_S:
        raise Malformed("a credential lasts at most 365 days", reason="PERIOD_TOO_LONG")


def check_binding(desk: Desk, asked: c.BindRequest) -> None:
    """Conflicts are refused before anybody approves, and once more when the change is carried out (GR-10)."""
    identity = desk.state.identities.get(asked.identity)
    if identity is None or identity.state != "active":
        raise Precondition(f"{asked.identity} is not enrolled or not active", reason="NO_SUCH_IDENTITY")
    if asked.line != EVERY_LINE:
        desk.rules(check_line(asked.line))
    if identity.kind != "person" and asked.role is not Role.REQUESTER and asked.role is not Role.AUDITOR:
        raise NotPermitted("machines and agents ask and read, nothing else", reason="PERSON_REQUIRED")
    if asked.group == OFFICERS:
        raise NotPermitted("only the trust anchors make officers", reason="OFFICERS", hint="adopt a next version")
    if asked.not_after and asked.not_after <= desk.now:
        raise Malformed("the role would be over before it began", reason="BAD_DATES")
    _check_place(desk, Binding("", asked.identity, asked.role, asked.line, asked.group, asked.not_after))


def _check_restoration(desk: Desk, asked: c.RestoreRequest) -> None:
    if asked.what == "identity":
        identity = desk.state.identities.get(asked.id)
        tables.move(tables.IDENTITY, identity.state if identity is not None else "unknown", "restore", "the identity")
    else:
        binding = desk.state.bindings.get(asked.id)
        tables.move(tables.BINDING, binding.state if binding is not None else "unknown", "restore", "the binding")
        assert binding is not None
        _check_place(desk, binding)


def _check_place(desk: Desk, binding: Binding) -> None:
    """Whether there is room for it: beside its identity's others, and among the requesters of its line."""
    _check_clash(desk, binding)
    if binding.role is Role.REQUESTER:
        known = desk.policy.lines if desk.policy is not None else {}
        for line in known if binding.line == EVERY_LINE else (binding.line,):
            _check_requesters(desk, line)


def _check_clash(desk: Desk, binding: Binding) -> None:
    """What this one would join with the identity's others, also with those that rest while it is suspended."""
    others = (desk.state.bindings[id_] for id_ in desk.state.bindings_of.get(binding.identity, ()))
    found = clash([*(other for other in others if other.lasts(desk.now)), binding], desk.policy)
    if found is not None:
        raise Precondition(
            f"{binding.identity} would be {found[0]} and {found[1]} of {found[2]}",
            reason="DUTIES_CONFLICT",
            hint="another person takes one of the two roles (GOVERNANCE 3.4)",
        )


def _check_requesters(desk: Desk, line: str) -> None:
    held = [b for b in desk.state.bindings.values() if b.role is Role.REQUESTER and b.covers(line, desk.now)]
    if len(held) >= desk.rules(line).max_requesters:
        raise Precondition(f"line {line} has its {len(held)} requesters", reason="REQUESTERS_MAX", hint="end one first")


def _check_shares(desk: Desk, asked: c.SharesRequest) -> None:
    desk.key(asked.key, asked.line)
    if asked.set_id in desk.state.shares:
        raise Precondition("this set of shares is there already", reason="SHARES_WRONG", hint="a new set has a new id")
    known = [desk.state.identities.get(custodian) for custodian in asked.custodians]
    persons = all(one is not None and (one.kind, one.state) == ("person", "active") for one in known)
    distinct = all(len(named) == len(set(named)) == asked.n for named in (asked.custodians, asked.commitments))
    if not distinct or not persons or asked.m > asked.n - 1:
        text = "m of n needs m <= n - 1, n different shares, and n custodians who are different active persons"
        raise Malformed(text, reason="SHARES_WRONG")
