"""What persons and machines do in a history, a function for each phrase."""

from __future__ import annotations

import re
from typing import Any

from kit.stage import LINE_OF, TOKENS, Stage
from kit.town import replaced
from kit.townsfolk import (
    AUDIENCE,
    DAY_S,
    birth,
    key_of,
    key_request,
    person,
    policy_text,
    uri,
)
from sealpress.governance import changes as c
from sealpress.governance import claims
from sealpress.governance.rendering import render
from sealpress.governance.roles import Role
from sealpress.verify import statement


def propose_key(stage: Stage, who: str, how: str, key: str, line: str, more: str | None) -> None:
    """`proposes key k1 for firmware, with trusts = boot`."""
    other: dict[str, Any] = {}
    for pair in (more or "").split(" and "):
        name, _, value = pair.partition(" = ")
        days = re.fullmatch(r"in (-?\d+) days", value)
        if name:
            value = "" if value == "nothing" else value
            other[name] = stage.town.now + int(days[1]) * DAY_S if days else int(value) if value.isdigit() else value
    if "trusts" in other:
        other["trusts"] = (other["trusts"],)
    spec = key_request(key, LINE_OF[line], stage.town.now, **other)
    kind = "key.adopt" if how == "adopt key" else "key.issue"
    stage.propose(who, kind, spec)


def propose_act(stage: Stage, who: str, verb: str, key: str) -> None:
    """`proposes to activate k1`."""
    line = stage.line_of(key)
    if verb == "compromise":
        stage.propose(
            who,
            "key.compromise",
            c.CompromiseRequest(key=key, line=line, since=stage.town.now - DAY_S, evidence="a leak"),
        )
    else:
        stage.propose(who, f"key.{verb}", c.KeyAct(key=key, line=line))


def propose_extension(stage: Stage, who: str, key: str, days: str) -> None:
    """`proposes to extend k1 by 30 days`."""
    later = stage.town.state.keys[key].not_after + int(days) * DAY_S
    stage.propose(
        who, "key.extend", c.ExtendRequest(key=key, line=stage.line_of(key), rotate_by=later, not_after=later)
    )


def propose_policy(stage: Stage, who: str, new: str | None, old: str | None, more: str | None) -> None:
    """`proposes the policy`, `... with signing = 3`, "... with `this` instead of `that`"."""
    other: dict[str, Any] = {}
    for pair in (more or "").split(" and "):
        name, _, value = pair.partition(" = ")
        if name:
            other[name] = int(value) if value.isdigit() else value.split("+") if "+" in value else value
    if "repositories" in other:
        other["repositories"] = tuple(other["repositories"])
    text = policy_text(**other)
    if old is not None:
        assert old in text, f"the policy does not say {old!r}"
        text = text.replace(old, new or "")
    stage.propose(who, "policy.change", c.PolicyRequest(policy=text))


def propose_binding(stage: Stage, who: str, whom: str, role: str, line: str, group: str | None) -> None:
    """`proposes lena as retirement-operator of firmware, in GROUP`."""
    identity = whom if ":" in whom else person(whom)
    stage.propose(
        who, "access.bind", c.BindRequest(identity=identity, role=Role(role), line=LINE_OF[line], group=group or "")
    )  # fmt: skip


def propose_identity(stage: Stage, who: str, kind: str, name: str, more: str | None) -> None:
    """`proposes the partner fab2, with line = release and days = 100`."""
    said: dict[str, Any] = {"names": (uri(name),), "owner": person("kim"), "backup_owner": person("karl")}
    for pair in (more or "").split(" and "):
        key, _, value = pair.partition(" = ")
        match key:
            case "days":
                said["expires"] = stage.town.now + int(value) * DAY_S
            case "line":
                said["line"] = LINE_OF[value]
            case "connecting as":
                said["names"] = (uri(value),)
            case "":
                pass
            case _:
                said[key] = person(value) if key in ("owner", "sponsor", "on_behalf_of") else value
    stage.propose(who, "access.enrol", c.EnrolRequest(identity=f"{kind}:{name}", kind=kind, **said))  # type: ignore[arg-type]


def propose_credential(stage: Stage, who: str, whose: str, whom: str) -> None:
    """`proposes rita's key for rob`: the key proves that it is there."""
    key = key_of(whose)
    proof = key.sign(c.proof_text(person(whom), "town.sign.acme.example", key.line), c.CREDENTIAL_NAMESPACE)
    stage.propose(
        who, "access.credential",
        c.CredentialRequest(person=person(whom), public=key.line, expires=stage.town.now + 300 * DAY_S, proof=proof),
    )  # fmt: skip


def approve(stage: Stage, who: str, name: str | None, how: str | None) -> None:
    """`approves it`, or in one of many wrong ways."""
    change_id, town = stage.it(name), stage.town
    record = town.state.change(change_id).record
    said = statement.ask(
        record, person(who), 1, len(town.heads) - 1, town.heads[-1], town.nonce(), town.now,
        min(record.expires, town.now + record.required.valid_s),
    )  # fmt: skip
    signer, flags = who, None
    match how:
        case None:
            pass
        case "without touching the key":
            flags = 0
        case "without a PIN":
            flags = 1
        case "with a synchronised passkey":
            flags = 0x1D
        case "with a software key":
            signer = f"{who}/ssh"
        case "with a key that nobody knows":
            signer = f"{who}/lost"
        case "for another deployment":
            said = replaced(said, deployment="test.sign.acme.example")
        case "for other digests":
            said = replaced(said, change_sha256="0" * 64)
        case "for a minute":
            said = replaced(said, expires=said.issued + 60)
        case "with a statement of last week":
            said = replaced(said, issued=said.issued - 7 * DAY_S, expires=said.issued - 6 * DAY_S)
        case "having seen another log":
            said = replaced(said, seen_root=bytes(32))
        case _:
            key = re.fullmatch(r"with (\w+)'s key", how)
            assert key is not None, how
            signer = key[1]
    text = statement.render(said)
    stage.kept = text, key_of(signer).sign(text, statement.NAMESPACE, flags=flags)
    town.present(*stage.kept)


def write_down(stage: Stage, who: str) -> None:
    """`signs the approval on a machine without a network`: a file, which nobody has handed in."""
    text = statement.render(stage.town.ask(stage.change, who))
    stage.kept = text, key_of(who).sign(text, statement.NAMESPACE)


def execute(stage: Stage, who: str, name: str | None, how: str | None) -> None:
    """`carries it out`, now and then with a report that is wrong."""
    change_id = stage.it(name)
    report: Any = None
    record = stage.town.state.change(change_id).record
    if how is not None and record.kind == "key.destroy":
        report = tuple(map(person, re.findall(r"\w+", how.removeprefix("before ").replace(" and ", " "))))
    elif how is not None:
        key = c.request_of(record).key  # type: ignore[union-attr]
        former = stage.town.state.keys["k-release"]
        wrong: dict[str, Any] = {
            "finding a software token": {"software_token": True},
            "finding a key that can be copied": {"attributes": {"sensitive": True, "extractable": True}},
            "finding the key of the release line": {"spki": former.spki, "key_id": former.key_id},
            "finding no proof of its birth": {"origin": "none"},
            "finding a proof of another birth": {"origin_proof": "c3RhdGVtZW50.c2lnbmF0dXJl"},
            "with a report by ines": {"operator": person("ines")},
        }[how]
        report = birth(key, **{"operator": person(who), **wrong})
    stage.town.execute(change_id, who, report)


def stop(stage: Stage, who: str, verb: str, what: str) -> None:
    """`suspends key k1`, `suspends rita`, `offboards rita`, `revokes the grant`, `revokes the role of rita`."""
    state = stage.town.state
    key = re.fullmatch(r"key (\S+)", what)
    role = re.fullmatch(r"the role of (\S+)", what)
    owned = re.fullmatch(r"the key of (\S+)", what)
    if key is not None:
        stage.town.stop(who, "key", key[1])
    elif what == "the grant":
        stage.town.stop(who, "grant", next(reversed(state.grants)))
    elif role is not None:
        stage.town.stop(who, "binding", next(b.id for b in state.bindings.values() if b.identity == person(role[1])))
    elif owned is not None:
        stage.town.stop(who, "credential", key_of(owned[1]).fingerprint)
    else:
        identity = what if ":" in what else person(what)
        stage.town.stop(who, "offboard" if verb == "offboards" else "identity", identity)


def request(stage: Stage, who: str, artifacts: str, line: str) -> None:
    """`asks for a release of 1, 2 on firmware`."""
    numbers = tuple(int(number) for number in artifacts.split(", "))
    found = stage.town.request(stage.identity(who), LINE_OF[line], numbers)
    stage.change = found if found in stage.town.state.changes else stage.change


def sign(stage: Stage, who: str, artifacts: str, line: str, how: str | None) -> None:
    """`asks for signatures of 1, 2 on firmware, naming the grant`."""
    numbers = tuple(int(number) for number in artifacts.split(", "))
    grant = next(reversed(stage.town.state.grants)) if how is not None else ""
    stage.signed = len(stage.town.sign(stage.identity(who), LINE_OF[line], numbers, grant))


def sign_often(stage: Stage, who: str, times: str, line: str) -> None:
    """`asks 3 times for a signature on low`: as often as it is given."""
    total = 0
    for number in range(int(times)):
        total += len(stage.town.sign(stage.identity(who), LINE_OF[line], (number,)))
    stage.signed = total


def read_token(stage: Stage, who: str, kind: str, without: str | None) -> None:
    """`reads a GitLab token`: its claims in our words."""
    name, issuer, payload = TOKENS[kind]
    said = {key: value for key, value in payload.items() if key != without}
    found = claims.normalise(name, issuer, AUDIENCE, "repo:acme/router", said)  # type: ignore[arg-type]
    stage.text = "\n".join(f"{key} = {value}" for key, value in found)


def call(stage: Stage, who: str, name: str) -> None:
    """Give the newest change a name."""
    stage.named[name] = stage.change


def read(stage: Stage, who: str, name: str | None) -> None:
    """The change as text, with what came of it: what an auditor gets."""
    stage.town.actor(who)
    change = stage.town.state.change(stage.it(name))
    given = (f"{one.person} {one.state}: {one.statement}" for one in change.approvals.values())
    stage.text = "\n".join([render(change.record), f"executor: {change.executor}", f"state: {change.state}", *given])


def release(stage: Stage, who: str) -> None:
    """`lets the release go`."""
    stage.town.release(next(reversed(stage.town.state.grants), ""), who)


def restore(stage: Stage, who: str, whom: str) -> None:
    """`proposes that rita returns`."""
    stage.propose(who, "access.restore", c.RestoreRequest(what="identity", id=whom if ":" in whom else person(whom)))


def share(stage: Stage, who: str, key: str, m: str, custodians: str) -> None:
    """`proposes shares of k1, 2 of kim, karl, tom`."""
    names = tuple(person(name) for name in custodians.split(", "))
    stage.propose(
        who, "recovery.shares",
        c.SharesRequest(
            key=key, line=stage.line_of(key), set_id="s1", m=int(m), n=len(names), custodians=names,
            commitments=tuple("abcdefgh"[: len(names)]),
        ),
    )  # fmt: skip
