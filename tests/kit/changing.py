"""What people do with changes: propose, approve rightly and wrongly, withdraw, carry out."""

from __future__ import annotations

from typing import Any

from kit.life import Life
from kit.pick import Pick
from kit.town import replaced
from kit.townsfolk import (
    DAY_S,
    HOUR_S,
    LINES,
    LOW,
    MACHINES,
    PEOPLE,
    RELEASE,
    TEST,
    birth,
    key_of,
    key_request,
    person,
    policy_text,
    uri,
)
from sealpress.governance import changes as c
from sealpress.governance.roles import Role
from sealpress.governance.state import Change
from sealpress.verify import statement
from sealpress.verify.change import Canonical, encode
from sealpress.verify.statement import NAMESPACE, Statement

POLICIES: tuple[dict[str, Any], ...] = (
    {},
    {"head": "the same again"},
    {"signing": 3},
    {"release_signing": 2},
    {"ttl": "1h"},
    {"low_rate": 5},
    {"low_uses": 3},
    {"low_class": "release"},
    {"low_class": "release", "signing": 3},
    {"low_class": "test"},
    {"repositories": ("74", "81")},
    {"names": ("mallory",)},
    {"separation": "warn"},
    {"lines": (TEST, LOW, RELEASE)},
)
ACTS = ("key.activate", "key.resume", "key.deactivate", "key.destroy")


def propose(life: Life, pick: Pick) -> None:
    """A key, an act on a key, a policy, a person, a role, an issuer, shares."""
    _PROPOSALS[pick.below(len(_PROPOSALS))](life, pick)


def propose_key(life: Life, pick: Pick) -> None:
    """A key for a line, sometimes one that may not be."""
    line, town = pick.of(tuple(LINES)), life.town
    key = pick.of((f"k{len(town.state.keys)}", f"k{len(town.state.keys)}", "k-test", "k0"))
    wrong: dict[str, Any] = pick.of((
        {}, {}, {}, {"max_signatures": 3}, {"not_after": town.now + 2_000 * DAY_S}, {"environment": "test"},
        {"class_": "test"}, {"backup_owner": "person:kim"},
        {"rotate_by": town.now + 2 * DAY_S, "not_after": town.now + 3 * DAY_S},
        {"trusts": ("boot",)}, {"not_before": town.now + DAY_S}, {"trusts": ("line\nfeed",)}, {"slot": "x" * 600},
    ))  # fmt: skip
    kind = pick.of(("key.issue", "key.issue", "key.adopt"))
    request = encode(key_request(key, line, town.now, **wrong)).decode()
    town.propose(life.who(pick, "issuance-operator"), kind, request)


def propose_act(life: Life, pick: Pick) -> None:
    """What may become of a key."""
    kind = pick.of((*ACTS, "key.compromise", "key.extend", "recovery.shares"))
    fitting = {
        "key.activate": ("pre_active",), "key.resume": ("suspended",), "key.deactivate": ("active", "suspended"),
        "key.destroy": ("deactivated", "compromised"), "key.compromise": ("active", "suspended", "deactivated"),
        "key.extend": ("active",), "recovery.shares": ("active",),
    }  # fmt: skip
    town, key = life.town, life.key(pick, *fitting[kind])
    known = town.state.keys.get(key)
    line = known.proposed.line if known is not None else TEST
    later = (known.not_after if known is not None else town.now) + pick.of((30, 90, 120)) * DAY_S
    custodians = tuple(person(name) for name in pick.of((("kim", "karl", "tom"), ("kim", "kim", "tom"))))
    request: Canonical = {
        "key.compromise": c.CompromiseRequest(
            key=key, line=line, since=town.now - pick.of((HOUR_S, -HOUR_S)), evidence="",
        ),
        "key.extend": c.ExtendRequest(key=key, line=line, rotate_by=later, not_after=later),
        "recovery.shares": c.SharesRequest(
            key=key, line=line, set_id=pick.of(("s1", "s2")), m=pick.of((2, 3)), n=3, custodians=custodians,
            commitments=("a", "b", "c"),
        ),
    }.get(kind, c.KeyAct(key=key, line=line))  # fmt: skip
    town.propose(life.who(pick, "issuance-operator", "retirement-operator", "security-officer"), kind, request)


def propose_policy(life: Life, pick: Pick) -> None:
    """Tighter, looser, the same, or nonsense."""
    text = "schema = 2" if pick.odd(20) else policy_text(**pick.of(POLICIES))
    life.town.propose(life.who(pick, "policy-author"), "policy.change", c.PolicyRequest(policy=text))


def propose_access(life: Life, pick: Pick) -> None:
    """An identity, a key of a person, a role, a return, an issuer."""
    town, number = life.town, len(life.town.state.changes)
    request: Canonical
    which = pick.of(("enrol", "credential", "bind", "bind", "bind", "restore", "restore", "issuer"))
    if which == "enrol":
        kind = pick.of(("person", "workload", "agent", "partner"))
        name = pick.of((f"new{number}", "mallory", "rita"))
        request = c.EnrolRequest(
            identity=f"{kind}:{name}", kind=kind, names=(uri(name),), owner="person:kim",  # type: ignore[arg-type]
            backup_owner="person:karl", on_behalf_of="person:rex" if kind == "agent" else "",
            line=pick.of(("", RELEASE)), sponsor="person:kim", agreement="A", trust_domain="mallory.example",
            expires=town.now + pick.of((9, 900)) * DAY_S,
        )  # fmt: skip
    elif which == "credential":
        owner, key = person(pick.of(PEOPLE)), key_of(pick.of(("spare", "rita", "second", "soft/ssh")))
        proof = key.sign(c.proof_text(owner, town.desk().anchors.deployment, key.line), c.CREDENTIAL_NAMESPACE)
        request = c.CredentialRequest(person=owner, public=key.line, expires=town.now + 300 * DAY_S, proof=proof)
    elif which == "bind":
        request = c.BindRequest(
            identity=pick.of((*map(person, PEOPLE), *MACHINES)), role=pick.of(tuple(Role)), line=pick.of(("*", *LINES)),
            group=pick.of(("", "release-approvers", "product-security", "officers")),
            not_after=pick.of((0, town.now + DAY_S, town.now - 1)),
        )  # fmt: skip
    elif which == "restore":
        stopped: list[tuple[Any, str]] = [
            ("identity", i.id) for i in town.state.identities.values() if i.state != "active"
        ]
        stopped += [("binding", b.id) for b in town.state.bindings.values() if b.state == "suspended"]
        what, id_ = pick.of(stopped or [("identity", "person:rita"), ("binding", "b0")])
        request = c.RestoreRequest(what=what, id=id_)
    else:
        request = c.IssuerRequest(issuer="https://gitlab.example", kind="gitlab", audience="a", owner="person:kim")
    kind = {"enrol": "enrol", "credential": "credential", "bind": "bind", "restore": "restore"}.get(which, "issuer")
    town.propose(life.who(pick, "access-admin", "security-officer"), f"access.{kind}", request)


_PROPOSALS = (propose_key, propose_act, propose_act, propose_policy, propose_access, propose_access)


def approve(life: Life, pick: Pick) -> None:
    """One person approves, rightly or not."""
    found = life.change(pick, "in_review")
    if found is None:
        return
    _, change = found
    able = life.approvers(change)
    name = pick.of(PEOPLE) if pick.odd(4) or not able else pick.of(able)
    flaw = pick.of(FLAWS)
    record, town = change.record, life.town
    said = statement.ask(
        record, person(name), 1, len(town.heads) - 1, town.heads[-1], town.nonce(), town.now,
        min(record.expires, town.now + record.required.valid_s),
    )  # fmt: skip
    text, signature = flaw(life, pick, said, name)
    town.present(text, signature)


def _good(life: Life, pick: Pick, said: Statement, name: str) -> tuple[bytes, str]:
    text = statement.render(said)
    return text, key_of(name).sign(text, NAMESPACE)


def _flags(life: Life, pick: Pick, said: Statement, name: str) -> tuple[bytes, str]:
    text = statement.render(said)
    return text, key_of(name).sign(text, NAMESPACE, flags=pick.of((0, 1, 4, 0x0D, 0x1D)))


def _changed(life: Life, pick: Pick, said: Statement, name: str) -> tuple[bytes, str]:
    other: dict[str, Any] = pick.of((
        {"change_sha256": "0" * 64}, {"change_sha256": "0" * 64}, {"decision": "reject"}, {"decision": "reject"},
        {"person": person(pick.of(PEOPLE))}, {"line": LOW},
        {"policy_sha256": "0" * 64}, {"seen_root": bytes(32)}, {"step": "9/9 signing"}, {"expires": said.issued},
        {"issued": said.issued + 3_600}, {"expires": said.expires + DAY_S}, {"deployment": "elsewhere"},
    ))  # fmt: skip
    return _good(life, pick, replaced(said, **other), name)


def _stale(life: Life, pick: Pick, said: Statement, name: str) -> tuple[bytes, str]:
    return _good(life, pick, replaced(said, issued=max(0, said.issued - 2 * DAY_S), expires=said.issued - DAY_S), name)


def _brief(life: Life, pick: Pick, said: Statement, name: str) -> tuple[bytes, str]:
    return _good(life, pick, replaced(said, expires=said.issued + 60), name)


def _other_key(life: Life, pick: Pick, said: Statement, name: str) -> tuple[bytes, str]:
    return _good(life, pick, said, pick.of((f"{name}/lost", f"{name}/ssh", *PEOPLE)))


def _again(life: Life, pick: Pick, said: Statement, name: str) -> tuple[bytes, str]:
    return pick.of(life.town.approvals or [_good(life, pick, said, name)])


FLAWS = (_good, _good, _good, _good, _good, _good, _brief, _flags, _changed, _stale, _other_key, _again)


def pass_(life: Life, pick: Pick) -> None:
    """Everybody who may approves, until it is decided."""
    found = life.change(pick, "in_review")
    for name in life.approvers(found[1])[:8] if found is not None else ():
        assert found is not None
        if life.town.state.change(found[0]).state == "in_review":
            life.town.approve(found[0], name)


def take_back(life: Life, pick: Pick) -> None:
    """An approval, or the whole change; or somebody says no."""
    found = life.change(pick, "in_review", "approved")
    if found is None:
        return
    change_id, change = found
    given = [who.removeprefix("person:") for who in change.approvals]
    match pick.below(3):
        case 0:
            life.town.take_back(change_id, pick.of(given or PEOPLE))
        case 1:
            life.town.withdraw(change_id, change.record.requester.rpartition("/")[2])
        case _:
            life.town.reject(change_id, life.who(pick, "security-officer", "release-approver"))


def execute(life: Life, pick: Pick) -> None:
    """Somebody carries out a change; the custodian's report may be wrong."""
    found = life.change(pick, "approved")
    if found is None:
        return
    change_id, change = found
    retires = change.record.kind in ("key.deactivate", "key.destroy")
    name = life.who(pick, "retirement-operator" if retires else "issuance-operator")
    report: Any = None
    if change.record.kind in ("key.issue", "key.adopt") and pick.odd(4):
        report = _wrong_report(life, pick, change, name)
    if change.record.kind == "key.destroy" and pick.odd(3):
        report = pick.of(((), (person(name), person("kim")), ("person:nobody", "person:none")))
    life.town.execute(change_id, name, report)


def _wrong_report(life: Life, pick: Pick, change: Change, name: str) -> Any:
    former = next(iter(life.town.state.keys.values()), None)
    wrong: dict[str, Any] = pick.of((
        {"software_token": True}, {"software_token": True}, {"attributes": {"sensitive": False}},
        {"operator": "person:kim"}, {"origin_proof": "c3RhdGVtZW50.c2lnbmF0dXJl"}, {"attributes": {}},
        {"key_id": "0" * 64}, {"spki": former.spki, "key_id": former.key_id} if former is not None else {},
    ))  # fmt: skip
    key = c.request_of(change.record).key  # type: ignore[union-attr]
    return birth(key, **{"operator": person(name), "seed": life.town.new_id(), **wrong})
