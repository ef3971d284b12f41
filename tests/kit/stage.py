"""Plays the histories of tests/scenarios/ in a town: does what each line says, and compares what comes of it.

A history begins with `== its name (the requirements that it shows)`. Each line below it is `who | does what | then`.
`then` is `refused CODE`, or what holds afterwards, several things parted by `;`. "It" is the newest change or grant.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit.invariants import Watch
from kit.town import Town, replaced
from kit.townsfolk import (
    AUDIENCE,
    DAY_S,
    FIRMWARE,
    HOUR_S,
    LOW,
    RELEASE,
    TEST,
    birth,
    certificate,
    key_of,
    key_request,
    person,
    policy_text,
    token,
    uri,
)
from sealpress.errors import Invalid, Refusal
from sealpress.governance import changes as c
from sealpress.governance import claims
from sealpress.governance import facts as f
from sealpress.governance.rendering import render
from sealpress.governance.roles import Role
from sealpress.values import Identity
from sealpress.verify import statement

HERE = Path(__file__).resolve().parents[1] / "scenarios"
LINE_OF = {"test": TEST, "low": LOW, "release": RELEASE, "firmware": FIRMWARE, "every line": "*"}
UNIT_S = {"second": 1, "minute": 60, "hour": HOUR_S, "day": DAY_S}
PIPELINES = {
    "pipeline": {},
    "pipeline of another repository": {"repository_id": "81"},
    "pipeline of a repository of the same name": {"repository_id": "99", "repository": "acme/router"},
    "pipeline of another owner": {"repository_owner_id": "66"},
    "pipeline of a branch": {"ref": "refs/heads/main"},
    "pipeline of a fork": {"fork": "true"},
    "pipeline of an unprotected tag": {"ref_protected": "false"},
    "pipeline for another audience": {"aud": "https://elsewhere.example"},
    "pipeline that a person started": {"event_name": "workflow_dispatch"},
    "pipeline without an actor": {"actor_id": ""},
    "pipeline of an unknown issuer": {"issuer": "https://evil.example"},
}
TOKENS = {
    "GitHub": ("github", "https://token.actions.githubusercontent.com", {
        "repository_id": "74", "repository_owner_id": "65", "repository": "acme/router", "repository_owner": "acme",
        "ref": "refs/tags/v1", "sha": "ab" * 20, "event_name": "push", "actor_id": "1001",
        "runner_environment": "github-hosted",
        "job_workflow_ref": "acme/ci/.github/workflows/sign.yml@refs/heads/main", "run_id": "7", "run_attempt": "1",
        "ref_protected": "true", "head_ref": "", "base_ref": "", "workflow_ref": "w", "actor": "dora",
    }),
    "GitLab": ("gitlab", "https://gitlab.example", {
        "project_id": "74", "namespace_id": "65", "project_path": "acme/router", "namespace_path": "acme", "ref": "v1",
        "ref_type": "tag", "sha": "ab" * 20, "pipeline_source": "push", "user_id": "1001", "ref_protected": "true",
        "ci_config_ref_uri": "gitlab.example/acme/router//.gitlab-ci.yml@refs/tags/v1", "ci_config_sha": "ab" * 20,
        "runner_environment": "gitlab-hosted", "job_id": "7", "pipeline_id": "3",
    }),
    "Buildkite": ("buildkite", "https://agent.buildkite.com", {
        "pipeline_id": "74", "organization_id": "65", "organization_slug": "acme", "pipeline_slug": "router",
        "build_tag": "v1", "build_branch": "main", "build_commit": "ab" * 20, "build_source": "webhook",
        "build_number": "7", "job_id": "8", "step_key": "sign",
    }),
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One line of a table."""

    where: str
    who: str
    does: str
    then: str


@dataclass
class History:
    """One table."""

    name: str
    requirements: tuple[str, ...]
    steps: list[Step] = field(default_factory=list)


def histories() -> list[History]:
    """Of every text file there."""
    found: list[History] = []
    for path in sorted(HERE.glob("*.txt")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            head = re.fullmatch(r"== (.*) \((GR-[0-9]+(?:, GR-[0-9]+)*)\)", line)
            if head is not None:
                found.append(History(head[1], tuple(head[2].split(", "))))
            elif line.strip() and not line.startswith("#"):
                who, does, then = (part.strip() for part in line.split("|"))
                found[-1].steps.append(Step(f"{path.name}:{number}", who, does, then))
    return found


@dataclass
class Stage:
    """One history being played."""

    town: Town = field(default_factory=lambda: Town(watch=Watch()))
    change: str = ""  # the newest
    signed: int = 0
    text: str = ""  # the last that somebody read
    named: dict[str, str] = field(default_factory=dict)  # changes
    kept: tuple[bytes, str] = (b"", "")  # an approval on paper

    def play(self, step: Step) -> None:
        """AssertionError that names the line if something else comes of it."""
        refused = ""
        self.signed, self.text = 0, ""
        try:
            self.do(step.who, step.does)
        except (Refusal, Invalid) as refusal:
            refused = f"refused {refusal.reason}"
        for expected in (part.strip() for part in step.then.split(";")):
            if refused or expected.startswith("refused"):
                assert refused == expected, (
                    f"{step.where}: {step.who} {step.does}: {refused or 'it was done'}, not {expected}"
                )
            else:
                found = self.after(expected)
                assert found == "", f"{step.where}: {step.who} {step.does}: not {expected!r}, but {found}"

    def do(self, who: str, does: str) -> None:
        """The first phrase that fits."""
        for pattern, deed in DEEDS:
            match = re.fullmatch(pattern, does)
            if match is not None:
                deed(self, who, *match.groups())
                return
        raise LookupError(f"nobody knows how to do {does!r}")

    def after(self, expected: str) -> str:
        """What is so instead; empty if it is as expected."""
        for pattern, look in LOOKS:
            match = re.fullmatch(pattern, expected)
            if match is not None:
                asked = look.__code__.co_argcount - 1
                found = look(self, *match.groups()[:asked])
                return "" if found == match.groups()[-1] else str(found)
        raise LookupError(f"nobody knows how to see {expected!r}")

    # ---- words ----

    def identity(self, who: str) -> Identity:
        """A pipeline's token, or a certificate."""
        name, _, number = who.partition(" #")
        if name in PIPELINES:
            return token(int(number or 0), **PIPELINES[name])
        return certificate(name, int(number or 0))

    def it(self, name: str | None) -> str:
        """A change by the name that a table gave it, or the newest."""
        return self.named.get(name or "", self.change)

    def propose(self, who: str, kind: str, request: Any) -> None:
        """Remember the newest change."""
        self.change = self.town.propose(who, kind, request)

    def line_of(self, key: str) -> str:
        """Of a key."""
        known = self.town.state.keys.get(key)
        return known.proposed.line if known is not None else FIRMWARE

    def newest_key(self) -> str:
        """The last one proposed."""
        return next(reversed(self.town.state.keys))


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


ARTIFACTS = r"(\d+(?:, \d+)*)"
DEEDS: tuple[tuple[str, Callable[..., None]], ...] = (
    (r"proposes (to adopt key|key) ([\w-]+) for (\w+)(?:, with (.*))?",
     lambda stage, who, how, key, line, more: propose_key(stage, who, how.removeprefix("to "), key, line, more)),
    (r"proposes to (activate|resume|deactivate|destroy|compromise) ([\w-]+)", propose_act),
    (r"proposes to extend ([\w-]+) by (\d+) days", propose_extension),
    (r"proposes the policy(?: with (?:`([^`]*)` instead of `([^`]*)`|([^`]+)))?", propose_policy),
    (r"proposes ([\w:-]+) as ([\w-]+) of (every line|\w+)(?:, in ([\w-]+))?", propose_binding),
    (r"proposes the (person|workload|agent|partner) ([\w-]+)(?:, with (.*))?", propose_identity),
    (r"proposes (\w+)'s key for (\w+)", propose_credential),
    (r"proposes that ([\w:-]+) returns", restore),
    (r"proposes shares of ([\w-]+), (\d) of (.*)", share),
    (r"calls it (\w+)", call),
    (r"approves (?:it|([A-Z]))(?:,? (.*))?", approve),
    (r"signs the approval on paper", write_down),
    (r"hands in the approval on paper", lambda stage, who: stage.town.present(*stage.kept)),
    (r"withdraws (?:it|([A-Z]))", lambda stage, who, name: stage.town.withdraw(stage.it(name), who)),
    (r"rejects (?:it|([A-Z]))", lambda stage, who, name: stage.town.reject(stage.it(name), who)),
    (r"takes the approval back", lambda stage, who: stage.town.take_back(stage.change, who)),
    (r"carries (?:it|([A-Z])) out(?:,? (.*))?", execute),
    (r"(suspends|offboards|revokes) (.*)", stop),
    (rf"asks for a release of {ARTIFACTS} on (\w+)", request),
    (rf"asks for signatures of {ARTIFACTS} on (\w+)(, naming the grant)?", sign),
    (r"asks (\d+) times for a signature on (\w+)", sign_often),
    (r"lets the release go", release),
    (r"reads (?:it|([A-Z]))", read),
    (r"reads an? (GitHub|GitLab|Buildkite) token(?: without (\w+))?", read_token),
    (r"(\d+) (second|minute|hour|day)s? pass(?:es)?",
     lambda stage, who, count, unit: stage.town.wait(int(count) * UNIT_S[unit])),
    (r"(\d+) (second|minute|hour|day)s? pass(?:es)? and nobody looks at the clock",
     lambda stage, who, count, unit: stage.town.wait(int(count) * UNIT_S[unit], tick=False)),
)  # fmt: skip


def _alerts(stage: Stage, name: str) -> str:
    known = (fact for fact in stage.town.history if isinstance(fact, f.AlertRaised))
    return name if any(fact.name == name for fact in known) else "no such alert"


def _waits(stage: Stage) -> str:
    grant = next(reversed(stage.town.state.grants.values()))
    return next((gate for gate in grant.issued.gates if gate not in grant.passed), "nobody")


LOOKS: tuple[tuple[str, Callable[..., Any]], ...] = (
    (r"(done)", lambda stage: "done"),
    (r"it is (\w+)", lambda stage: stage.town.state.change(stage.change).state.replace("closed", "done")),
    (r"([A-Z]) is (\w+)",
     lambda stage, name: stage.town.state.change(stage.named[name]).state.replace("closed", "done")),
    (r"key ([\w-]+) is (\w+)", lambda stage, key: stage.town.state.keys[key].state),
    (r"its public half is (\w+)", lambda stage: stage.town.state.keys[stage.newest_key()].public_state),
    (r"the grant is (\w+)", lambda stage: next(reversed(stage.town.state.grants.values())).state),
    (r"the grant waits for (.*)", _waits),
    (r"the quorum is (\d+)", lambda stage: str(stage.town.state.change(stage.change).record.required.quorum)),
    (r"the path is (\w+)", lambda stage: stage.town.state.change(stage.change).record.required.path),
    (r"(\d+) signed", lambda stage: str(stage.signed)),
    (r"([\w:-]+) is (active|suspended|offboarded)",
     lambda stage, who: stage.town.state.identities[who if ":" in who else person(who)].state),
    (r"the policy is the (old|new)", lambda stage: "old" if stage.town.state.policy == policy_text() else "new"),
    (r"alert (.*)", _alerts),
    (r"it says: (.*)", lambda stage, said: said if said in stage.text else stage.text),
)  # fmt: skip
