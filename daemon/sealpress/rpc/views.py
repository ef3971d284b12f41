"""What there is to see of governance, as messages: changes, keys, persons, roles, grants, rights.

Guarantees: nothing here changes or decides anything; lists are bounded by what the callers ask and by LIST_MAX. Does
not: ask who may see it (the services do).
"""

from __future__ import annotations

from functools import lru_cache

from sealpress.errors import Malformed, Precondition, SealpressError
from sealpress.governance import counting, rights, state
from sealpress.governance.changes import KINDS
from sealpress.governance.desk import Desk
from sealpress.governance.rendering import render
from sealpress.governance.tables import CHANGE
from sealpress.governance.usage import Ledger
from sealpress.steps._office import Office
from sealpress.v1 import audit_pb2, grant_pb2
from sealpress.v1 import governance_pb2 as pb
from sealpress.values import Identity
from sealpress.verify.change import ReleaseRequest, decode, encode

LIST = 100
LIST_MAX = 1_000
RENDERED_ITEMS_MAX = 1_000
RELEASES_KEPT = 256
CHANGE_STATES = tuple(dict.fromkeys(state for move, after in CHANGE.items() for state in (move[0], after)))


def change(desk: Desk, found: state.Change, *, whole: bool = False) -> pb.Change:
    """One change; `whole` with its record, approvals and rendering."""
    record = found.record
    message = pb.Change(
        change_id=record.change_id, kind=record.kind, line=record.line, state=found.state, summary=record.summary,
        sha256=bytes.fromhex(found.sha256), missing=_missing(desk, found), seq=found.seq, requester=record.requester,
        executor=found.executor, reason=found.reason, created=record.created, expires=record.expires,
    )  # fmt: skip
    if whole:
        message.grant_id = grant_of(desk, record.change_id)
        message.record = encode(record)
        message.approvals.extend(_approval(given) for given in found.approvals.values())
        message.rendering = render(record, RENDERED_ITEMS_MAX)
    return message


def changes(desk: Desk, asked: pb.ListChangesRequest) -> pb.ListChangesResponse:
    """The newest first, as far as asked; Malformed for a kind or state that no change has: "none" is an answer."""
    limit = count(asked.limit)
    for what, value, known in (("kind", asked.kind, KINDS), ("state", asked.state, CHANGE_STATES)):
        if value and value not in known:
            raise Malformed(f"no change has the {what} {value!r}", hint=", ".join(known))
    listed: list[pb.Change] = []
    for found in reversed(desk.state.changes.values()):
        record = found.record
        if asked.before_seq and found.seq >= asked.before_seq:
            continue
        wanted = ((asked.line, record.line), (asked.kind, record.kind), (asked.state, found.state))
        if any(value and value != said for value, said in wanted):
            continue
        if len(listed) == limit:
            return pb.ListChangesResponse(changes=listed, next_before_seq=listed[-1].seq)
        listed.append(change(desk, found))
    return pb.ListChangesResponse(changes=listed)


def whole_change(office: Office, change_id: str) -> pb.GetChangeResponse:
    """A change and what it is to be compared with; Precondition LOG_ARCHIVED if its record is not here any more."""
    desk = office.desk()
    found = office.recorded.change(desk.state.change(change_id))
    if found is None:
        raise Precondition(
            "the record of this change was archived", reason="LOG_ARCHIVED", hint="`sealpress log unarchive`"
        )
    return pb.GetChangeResponse(change=change(desk, found, whole=True), previous=_previous(office, desk, found))


def count(limit: int) -> int:
    """How many of a list; Malformed TOO_LARGE."""
    if limit > LIST_MAX:
        raise Malformed(f"at most {LIST_MAX} at a time", reason="TOO_LARGE", hint="ask for the rest later")
    return limit or LIST


def _previous(office: Office, desk: Desk, found: state.Change) -> bytes:
    if found.record.kind == "policy.change":
        return desk.state.policy.encode()
    if found.record.kind != "sign.release":
        return b""
    for other in reversed(desk.state.changes.values()):
        same = other.record.kind == "sign.release" and other.record.line == found.record.line
        if same and other.state == "closed" and other.seq < found.seq:
            whole = office.recorded.change(other)
            return encode(whole.record) if whole is not None else b""
    return b""


def _missing(desk: Desk, found: state.Change) -> str:
    if found.state not in ("in_review", "approved"):
        return ""
    return counting.missing(found, counting.counted(desk, found))


def _approval(given: state.Approval) -> pb.Approval:
    return pb.Approval(
        person=given.person, credential=given.credential, statement=given.statement.encode(),
        signature=given.signature, groups=given.groups, state=given.state, expires=given.expires,
    )  # fmt: skip


def grant_of(desk: Desk, change_id: str) -> str:
    """The grant that a release brought; empty if none did, or not yet."""
    brought = desk.state.changes.get(change_id)
    return brought.grant if brought is not None and brought.state == "closed" else ""


# ---- keys, persons, roles --------------------------------------------------------------------------------------------


def governance(desk: Desk, ledger: Ledger) -> pb.GetGovernanceResponse:
    """Everything that stands."""
    now = desk.state
    return pb.GetGovernanceResponse(
        governance_seq=max(now.seq, 0),
        deployment=desk.anchors.deployment,
        profile=desk.anchors.profile,
        anchors_version=desk.anchors.version,
        policy_sha256=bytes.fromhex(now.policy_sha256),
        keys=[key(name, found, ledger) for name, found in now.keys.items()],
        identities=[identity(found) for found in now.identities.values()],
        bindings=[binding(found) for found in now.bindings.values()],
        credentials=[credential(found, now.ends(found)) for found in now.credentials.values()],
        issuers=[
            pb.TokenIssuer(issuer=one.issuer, kind=one.kind, audience=one.audience, owner=one.owner)
            for one in now.issuers.values()
        ],
        alerts=now.alerts,
    )


def key(name: str, found: state.Key, ledger: Ledger) -> pb.GovernedKey:
    """A key's record."""
    was = found.proposed
    message = pb.GovernedKey(
        key=name, line=was.line, state=found.state, public_state=found.public_state,
        key_id=bytes.fromhex(found.key_id), spki=found.spki, algorithm=was.algorithm, mode=was.mode,
        format=was.format, slot=was.slot, software_token=found.software_token, origin=found.origin,
        not_before=was.not_before, rotate_by=found.rotate_by, not_after=found.not_after,
        max_signatures=was.max_signatures, signatures=max(0, ledger.keys.get(name, 0)), owner=was.owner,
        backup_owner=was.backup_owner, trusts=was.trusts, fleet_estimate=was.fleet_estimate,
        operators=[f"{stage} {person}" for stage, person in found.operators.items()], since=found.since,
        chain_sha256=found.chain_sha256,
    )  # fmt: skip
    setattr(message, "class", was.class_)
    return message


def identity(found: state.Identity) -> pb.GovernedIdentity:
    """A person or machine."""
    return pb.GovernedIdentity(
        identity=found.id, kind=found.kind, state=found.state, names=found.names, owner=found.owner, line=found.line,
        environment=found.environment, on_behalf_of=found.on_behalf_of, expires=found.expires,
    )  # fmt: skip


def binding(found: state.Binding) -> pb.Binding:
    """A role on a line."""
    return pb.Binding(
        binding=found.id, identity=found.identity, role=found.role, line=found.line, group=found.group,
        state=found.state, not_after=found.not_after,
    )  # fmt: skip


def credential(found: state.Credential, expires: int) -> pb.Credential:
    """A key that a person approves with; `expires`: when it counts no more (0: never)."""
    return pb.Credential(
        person=found.person, fingerprint=found.fingerprint, public=found.public, application=found.application,
        effective=found.effective, expires=expires, revoked=found.revoked,
    )  # fmt: skip


# ---- grants ----------------------------------------------------------------------------------------------------------


def grant(desk: Desk, office: Office, id_: str) -> grant_pb2.Grant | None:
    """A grant by its id or its change's, or a change that may become one; None if there is neither."""
    found = desk.state.grants.get(id_) or desk.state.grants.get(grant_of(desk, id_))
    if found is not None:
        return _issued(desk, office.ledger, found)
    waiting = desk.state.changes.get(id_)
    if waiting is None or waiting.record.kind != "sign.release":
        return None
    whole = office.recorded.change(waiting)
    manifest_sha256, count_, gates = _release(whole.record.request) if whole is not None else (b"", 0, ())
    return grant_pb2.Grant(
        change_id=id_, key=waiting.record.line, state=waiting.state, missing=_missing(desk, waiting),
        manifest_sha256=manifest_sha256, max_uses=count_, gates=gates,
        not_after=waiting.record.expires, change_sha256=bytes.fromhex(waiting.sha256),
    )  # fmt: skip


@lru_cache(RELEASES_KEPT)
def _release(request: str) -> tuple[bytes, int, tuple[str, ...]]:
    """Manifest, count and gates; kept, since a long release is asked for at every step of its way."""
    asked = decode(request, ReleaseRequest)
    return bytes.fromhex(asked.manifest_sha256), len(asked.items), asked.gates


def grantee(desk: Desk, id_: str) -> tuple[str, str]:
    """Who asked, by his authenticated name, and the line; empty for an unknown id."""
    found = desk.state.grants.get(id_) or desk.state.grants.get(grant_of(desk, id_))
    if found is not None:
        return found.issued.identity, found.issued.line
    waiting = desk.state.changes.get(id_)
    if waiting is None or waiting.record.kind != "sign.release":
        return "", ""
    return waiting.record.requester, waiting.record.line


def _issued(desk: Desk, ledger: Ledger, found: state.Grant) -> grant_pb2.Grant:
    issued, uses = found.issued, max(0, ledger.grants.get(found.issued.grant, 0))
    waits = [gate for gate in issued.gates if gate not in found.passed]
    said: str = found.state
    if said == "active":
        over = desk.now >= issued.not_after
        said = "expired" if over else "exhausted" if uses >= issued.max_uses else "held" if waits else "active"
    return grant_pb2.Grant(
        grant_id=issued.grant, change_id=issued.change_id, key=issued.line, state=said,
        missing=", ".join(f"gate {gate}" for gate in waits) if said == "held" else "",
        manifest_sha256=bytes.fromhex(issued.manifest_sha256), uses=uses, max_uses=issued.max_uses,
        not_before=issued.not_before, not_after=issued.not_after, gates=issued.gates, passed=sorted(found.passed),
    )  # fmt: skip


# ---- who can sign (GR-73) --------------------------------------------------------------------------------------------


def who_can_sign(office: Office, asked: audit_pb2.WhoCanSignRequest) -> audit_pb2.WhoCanSignResponse:
    """One line, or every line of an environment."""
    if bool(asked.key) == bool(asked.environment):
        raise Malformed("say a line, or an environment", hint="one of the two")
    policy = office.policy
    names = sorted(policy.lines) if policy is not None else []
    wanted = [line for line in names if line == asked.key or line.split("/")[3] == asked.environment]
    return audit_pb2.WhoCanSignResponse(lines=[_access(office, line) for line in wanted])


def what_can_sign(office: Office, named: str) -> audit_pb2.WhatCanSignResponse:
    """What an identity, or an authenticated name, may ask for."""
    now, policy = office.state, office.policy
    found = now.identities.get(now.names.get(named, named))
    names = found.names if found is not None else (named,)
    told = [
        right for name in names for right in (rights.what_can_sign(policy, Identity(name, b"", 0)) if policy else ())
    ]
    of = now.bindings_of.get(found.id, ()) if found is not None else ()
    return audit_pb2.WhatCanSignResponse(
        identity=found.id if found is not None else "",
        state=found.state if found is not None else "unknown",
        names=names,
        rights=[_right(one) for one in told],
        bindings=[binding(now.bindings[id_]) for id_ in of],
        open_grants=[id_ for id_ in now.open_grants if now.grants[id_].issued.identity in names],
    )


def _access(office: Office, line: str) -> audit_pb2.LineAccess:
    now, policy = office.state, office.policy
    assert policy is not None
    rules = policy.lines[line]
    message = audit_pb2.LineAccess(
        line=line,
        active_key=now.active.get(line, ""),
        rights=[_right(one) for one in rights.who_can_sign(policy, line)],
        paths=[
            audit_pb2.RequiredPath(
                path=path, quorum=need.quorum, groups=need.groups, min_groups=need.min_groups,
                must_include=need.must_include, credential=need.credential,
            )
            for path, need in rules.approvals.items()
        ],
        bindings=[binding(one) for one in now.bindings.values() if one.covers(line, office.desk().now)],
        open_grants=[id_ for id_ in now.open_grants if now.grants[id_].issued.line == line],
    )  # fmt: skip
    setattr(message, "class", rules.class_)
    return message


def _right(right: rights.Right) -> audit_pb2.Right:
    message = audit_pb2.Right(
        line=right.line, rule=right.rule, who=right.who, conditions=right.conditions, quorum=right.quorum,
        constraint=right.constraint, gates=right.gates,
    )  # fmt: skip
    setattr(message, "class", right.class_)
    return message


def text_of(error: SealpressError) -> str:
    """Message and hint on one line."""
    return f"{error.message} ({error.hint})" if error.hint else error.message
