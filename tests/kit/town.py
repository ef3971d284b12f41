"""A town that lives by the rules of governance: persons with keys, pipelines, a policy, a clock; all in memory.

It does around the rules what the daemon does: one rule at a time, its facts appended and folded, the snapshot made
again, signatures as leaves. And it polices them: every fact survives its encoding and the fold takes it, and a refusal
leaves the state as it was, to the byte. `kit/invariants.py` looks at each fact and leaf (`watch`).

`Town()` is founded with everybody enrolled and bound, and an active key on each line; `Town(empty=True)` has nothing
but its trust anchors: there all else must come by changes, as on a real node.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kit.townsfolk import GENESIS, birth, compiled, digest, founding, genesis, key_of, person, proved, uri
from sealpress.errors import Precondition, Refusal
from sealpress.governance import approvals, clockwork, execution, grants, proposals, releases, stops, usage
from sealpress.governance import changes as c
from sealpress.governance import facts as f
from sealpress.governance.desk import Actor, Desk
from sealpress.governance.fold import apply
from sealpress.governance.open_grants import OpenGrants
from sealpress.governance.rules import Policy
from sealpress.governance.snapshot import UNSEEN, Snapshot, snapshot_of
from sealpress.governance.state import State, copy, encode
from sealpress.steps import _archive
from sealpress.values import Artifact, DigestAlgorithm, Identity, SignAsk
from sealpress.verify import statement
from sealpress.verify.change import ReleaseItem
from sealpress.verify.change import encode as canonical
from sealpress.verify.statement import Statement


@dataclass(frozen=True, slots=True)
class Leaf:
    """One signature: what the journal would hold of it."""

    seq: int  # of the governance record before it
    time: int
    identity: Identity
    line: str
    algorithm: str
    digest: bytes
    key: str
    grant: str
    policy_sha256: str
    rule: str
    verdict: str


class IllegalFactError(AssertionError):
    """A rule said something that the fold does not take, or that does not survive its encoding."""


@dataclass
class Town:
    """See the module."""

    profile: str = "baseline"
    empty: bool = False
    keys: bool = True
    watch: Callable[[f.Fact | Leaf, Town], None] | None = None
    strict: bool = True  # compare states around refusals
    now: int = GENESIS
    state: State = field(default_factory=State)
    ledger: usage.Ledger = field(default_factory=usage.Ledger)
    history: list[f.Fact | Leaf] = field(default_factory=list)
    times: list[int] = field(default_factory=list)  # of each of them
    heads: list[bytes] = field(default_factory=lambda: [hashlib.sha256(b"").digest()])
    approvals: list[tuple[bytes, str]] = field(default_factory=list)  # all that were ever handed in
    policy: Policy | None = None
    snapshot: Snapshot | None = None
    _ids: int = 0
    _secrets: int = 0
    _bytes: bytes = b""

    def __post_init__(self) -> None:
        """Found it."""
        document, signatures = genesis(self.profile)
        facts: list[f.Fact] = [f.AnchorsAdopted(document=document, signatures=signatures)]
        self._append(facts if self.empty else [*facts, *founding(self.keys)])

    # ---- what the daemon does ----

    def desk(self) -> Desk:
        """This moment."""
        return Desk(self.state, self.policy, self.now, self.new_id)

    def new_id(self) -> str:
        """A fresh one, in order."""
        self._ids += 1
        return f"01T{self._ids:023d}"

    def nonce(self) -> str:
        """Never the same."""
        self._secrets += 1
        return f"{self._secrets:032x}"

    def act(self, rule: Callable[[Desk], Any]) -> Any:
        """Run a rule that gives facts, or something and facts; append and fold them; a Refusal changes nothing."""
        try:
            answer = rule(self.desk())
        except Refusal:
            assert not self.strict or encode(self.state) == self._bytes, "a refusal changed the state"
            raise
        found, facts = (None, answer) if isinstance(answer, list) else answer
        self._append(facts)
        return found

    def declare(self, *facts: f.Fact) -> None:
        """Facts that nobody had to argue for: how a test prepares its town."""
        self._append(facts)

    def _append(self, facts: Sequence[f.Fact]) -> None:
        for fact in facts:
            body = f.body_of(fact)
            if f.decode(f.kind_of(fact), body) != fact:
                raise IllegalFactError(f"does not survive its encoding: {fact}")
            try:
                apply(self.state, fact, self.state.seq + 1, self.now)
            except Exception as error:
                raise IllegalFactError(f"the fold does not take {fact}: {error}") from error
            self.history.append(fact)
            self.times.append(self.now)
            self.heads.append(hashlib.sha256(self.heads[-1] + body).digest())
            if isinstance(fact, f.PolicyInForce):
                self.policy = compiled(fact.body, self.profile)
            self.ledger.open.follow(fact, self.state)
            if self.watch is not None:
                self.watch(fact, self)
        if facts:
            before = self.snapshot
            self.snapshot = snapshot_of(self.state, self.policy) if self.policy is not None else None
            self._bytes = encode(self.state) if self.strict else b""
            if self.strict:
                self._police(before, facts)

    def _police(self, before: Snapshot | None, facts: Sequence[f.Fact]) -> None:
        """What the daemon does not make again for each fact is what it would make."""
        assert vars(self.ledger.open) == vars(OpenGrants.of(self.state)), "open grants do not follow"
        if before is not None and all(type(fact) in UNSEEN for fact in facts):
            assert self.snapshot == before.at(self.state.seq), f"a snapshot shows {facts}"

    def folded_again(self) -> State:
        """The state from nothing but the facts."""
        state = State()
        for fact, time in zip(self.history, self.times, strict=True):
            if not isinstance(fact, Leaf):
                apply(state, fact, state.seq + 1, time)
        return state

    def copy(self) -> Town:
        """Another town that has come this far."""
        other = object.__new__(Town)
        other.__dict__.update(self.__dict__)
        other.state = copy(self.state)
        other.ledger = usage.Ledger(dict(self.ledger.grants), dict(self.ledger.keys), OpenGrants.of(self.state))
        for name in ("history", "times", "heads", "approvals"):
            setattr(other, name, list(getattr(self, name)))
        return other

    def seen(self, size: int, root: bytes) -> bool:
        """Whether a checkpoint is a prefix of our log."""
        return size < len(self.heads) and self.heads[size] == root

    def wait(self, seconds: int, *, tick: bool = True) -> None:
        """Time passes, and does what it does by itself."""
        self.now += seconds
        if tick:
            self.tick()

    def tick(self) -> None:
        """What is due, until nothing is."""
        for _ in range(1_000):
            facts = clockwork.due(self.desk(), self.ledger.keys)
            if not facts:
                return
            self._append(facts)
        raise AssertionError("time never comes to rest")

    # ---- what people do ----

    def actor(self, name: str) -> Actor:
        """Somebody, by the name in his certificate."""
        return self.desk().actor(uri(name))

    def propose(self, name: str, kind: str, request: Any, reason: str = "because") -> str:
        """A person proposes; the change's id. `request`: a struct, or JSON as it comes."""
        text = request if isinstance(request, str) else canonical(request).decode()
        texts = proposals.Texts(reason)
        return str(self.act(lambda desk: _id(proposals.propose(desk, desk.actor(uri(name)), kind, text, texts))))

    def ask(self, change_id: str, name: str, **other: Any) -> Statement:
        """What the person would sign now; `other` fields replace these."""
        desk = self.desk()
        head = (len(self.heads) - 1, self.heads[-1])
        said = approvals.ask(desk, change_id, person(name), head, self.nonce())
        return replaced(said, **other)

    def approve(self, change_id: str, name: str) -> None:
        """A person approves as he should."""
        self.hand_in(statement.render(self.ask(change_id, name)), name)

    def hand_in(self, text: bytes, signer: str, flags: int | None = None) -> None:
        """A statement signed by this person's key, whatever it says."""
        self.present(text, key_of(signer).sign(text, statement.NAMESPACE, flags=flags))

    def present(self, text: bytes, signature: str) -> None:
        """Statement and signature, by whatever channel."""
        self.approvals.append((text, signature))
        self.act(lambda desk: approvals.submit(desk, text, signature, self.seen))

    def pass_(self, change_id: str, *names: str) -> str:
        """All of them approve, one after another; the change's id."""
        for name in names:
            self.approve(change_id, name)
        return change_id

    def execute(self, change_id: str, name: str, report: Any = None) -> None:
        """A person carries it out; without `report` the custodian finds what he should."""
        change = self.state.change(change_id)
        if report is None and change.record.kind in ("key.issue", "key.adopt"):
            report = birth(c.request_of(change.record).key, person(name), self.new_id())  # type: ignore[union-attr]
        if isinstance(report, f.KeyGenerated):
            report = proved(report, change.record)
        if report is None and change.record.kind == "key.destroy":
            report = (person("kim"), person("karl"))
        self.act(lambda desk: execution.execute(desk, desk.actor(uri(name)), change_id, report))

    def withdraw(self, change_id: str, name: str) -> None:
        """Its proposer takes a change back."""
        self.act(lambda desk: proposals.withdraw(desk, desk.actor(uri(name)), change_id, "changed my mind"))

    def reject(self, change_id: str, name: str) -> None:
        """One who might approve says no."""
        self.act(lambda desk: proposals.reject(desk, desk.actor(uri(name)), change_id, "no"))

    def take_back(self, change_id: str, name: str) -> None:
        """A person takes his approval back."""
        self.act(lambda desk: approvals.withdraw(desk, desk.actor(uri(name)), change_id, "not so fast"))

    def stop(self, name: str, what: str, subject: str, reason: str = "an incident") -> None:
        """One person stops a key, grant, identity, binding or credential."""
        rules: dict[str, Callable[[Desk, Actor], list[f.Fact]]] = {
            "key": lambda desk, actor: stops.suspend_key(desk, actor, subject, reason),
            "grant": lambda desk, actor: stops.revoke_grant(desk, actor, subject, reason),
            "identity": lambda desk, actor: stops.end_identity(desk, actor, subject, "suspend", reason),
            "offboard": lambda desk, actor: stops.end_identity(desk, actor, subject, "offboard", reason),
            "binding": lambda desk, actor: stops.revoke_binding(desk, actor, subject, reason),
            "credential": lambda desk, actor: stops.revoke_credential(desk, actor, subject, reason),
        }
        self.act(lambda desk: rules[what](desk, desk.actor(uri(name))))

    def request(self, identity: Identity, line: str, artifacts: Iterable[int], **other: Any) -> str:
        """A pipeline asks for a grant: its id, or that of the change that will bring it."""
        items = tuple(ReleaseItem(digest=digest(number).hex(), name=f"{number}.bin") for number in artifacts)
        ask = grants.GrantAsk("r1", line, **{"algorithm": "sha256", "items": items, **other})
        return str(self.act(lambda desk: grants.request(desk, identity, ask)))

    def grant_of(self, change_id: str) -> str:
        """The grant that a release's change brought; empty if none."""
        return next((g for g, had in self.state.grants.items() if had.issued.change_id == change_id), "")

    def release(self, grant: str, name: str) -> None:
        """A releaser lets it go."""
        self.act(lambda desk: releases.release(desk, desk.actor(uri(name)), grant))

    # ---- what pipelines do ----

    def sign(self, identity: Identity, line: str, artifacts: Sequence[int], grant: str = "") -> list[Leaf]:
        """Decide, spend, append; for class low first the job grant."""
        ask = sign_ask(line, artifacts, grant)
        assert self.snapshot is not None
        decision = usage.decide(self.snapshot, self.ledger, identity, ask, self.now)
        if decision.automatic:
            rule = self.snapshot.policy.lines[line].rule(decision.rule)
            assert rule is not None
            self.act(lambda desk: grants.job(desk, identity, line, rule))
            again = usage.decide(self.snapshot, self.ledger, identity, ask, self.now)
            assert not again.automatic, "a job grant does not cover its own job"
        return self.append(identity, ask)

    def append(self, identity: Identity, ask: SignAsk) -> list[Leaf]:
        """Decide again, right before the append, as the daemon does."""
        assert self.snapshot is not None
        decision = usage.decide(self.snapshot, self.ledger, identity, ask, self.now)
        if decision.automatic:  # its job grant has ended since it was admitted
            raise Precondition("the grant is over", reason="GRANT_EXPIRED")
        self.ledger.take(ask.line, decision, ask.count, self.now)
        size = ask.algorithm.size
        leaves = [
            Leaf(
                self.state.seq, self.now, identity, ask.line, ask.algorithm.label, ask.digests[at : at + size],
                decision.key, decision.grant, self.snapshot.sha256.hex(), decision.rule, decision.verdict,
            )
            for at in range(0, len(ask.digests), size)
        ]  # fmt: skip
        for leaf in leaves:
            self.history.append(leaf)
            self.times.append(self.now)
            if self.watch is not None:
                self.watch(leaf, self)
        return leaves


def sign_ask(line: str, artifacts: Iterable[int], grant: str = "") -> SignAsk:
    """A request for these artifacts."""
    digests = b"".join(digest(number) for number in artifacts)
    return SignAsk("r", line, DigestAlgorithm.SHA256, digests, Artifact("a.bin", "1", 1, "bin"), grant_id=grant)


def read_again(state: State) -> State:
    """As a snapshot file gives it back."""
    raw, _ = _archive.encode(_archive.Body(state, {}, {}, {}))
    return _archive._decode(raw, _archive.MAGIC).state


def replaced(said: Statement, **other: Any) -> Statement:
    """The statement with other fields."""
    return Statement(**{**{name: getattr(said, name) for name in said.__slots__}, **other})


def _id(answer: tuple[Any, list[f.Fact]]) -> tuple[str, list[f.Fact]]:
    return answer[0].change_id, answer[1]
