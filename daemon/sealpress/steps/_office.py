"""The office: the one writer of governance in this process, and the state that follows from what it wrote.

    change_id = await office.act(lambda desk: proposals.propose(desk, actor, kind, request, texts))

One act at a time: the rule looks at the state of this moment and answers with facts; they are tried on a copy of the
state, appended as one batch of their own, folded, and the new snapshot is in force before anything else is drafted
(commit.py). What time does by itself is an act, too (`tick`). Stops are told to the signer of the key as well.

Guarantees: a refusal of the rule appends nothing; facts that do not fold are never appended; when `act` returns, every
log's requests are decided on by the new snapshot and none decided on by an older one is still to come; a stop at the
signer is repeated until it is done. Does not: judge (governance/ does), know the wire, or choose a clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sealpress.errors import Damaged, Internal, Malformed, Precondition, Refusal, SealpressError
from sealpress.governance import clockwork
from sealpress.governance import facts as f
from sealpress.governance.desk import Actor, Desk
from sealpress.governance.facts import Fact
from sealpress.governance.fold import apply
from sealpress.governance.open_grants import OpenGrants
from sealpress.governance.policy import compile_policy
from sealpress.governance.rules import Policy
from sealpress.governance.snapshot import UNSEEN, snapshot_of
from sealpress.governance.state import State, copy
from sealpress.governance.usage import Ledger
from sealpress.steps import _archive
from sealpress.steps._acts import Rule, T, events_of, readable, stops
from sealpress.steps._escort import Escort, Guard
from sealpress.steps._grounds import identity_refusal, key_stopped, revoked
from sealpress.steps._ids import new_event_id, ulid_text
from sealpress.steps._jobs import Jobs
from sealpress.steps._pending import FactGroup
from sealpress.steps._recorded import Recorded
from sealpress.steps._request import Caller
from sealpress.steps._shared import Shared
from sealpress.steps._ticket import Line, LogState
from sealpress.tlog.draft import Committed, Placed
from sealpress.tlog.record import NANOSECONDS
from sealpress.verify.change import encode as encode_change
from sealpress.verify.evidence import Evidence

LOOKS_MAX = 8  # of one tick
SNAPSHOT_FACTS = 10_000
SNAPSHOT_RECORDS = 100_000  # a start counts the uses of what is younger, some 20 µs each
NO_POLICY = Policy(b"", bytes(32), {}, frozenset(), {})
KEY_STOPPED = frozenset({"suspended", "compromised", "destroyed", "destroyed_compromised"})


class Office:
    """The state of governance and its pen. Owned by the event loop's thread."""

    def __init__(
        self, shared: Shared, folded: _archive.Folded, guard: Guard, snapshot_file: Path | None = None
    ) -> None:
        """`folded`: what the log says so far; from here on the node is governed by it."""
        self.state: State = folded.state
        self.policy: Policy | None = policy_of(folded.state)
        self._shared = shared
        self._log: LogState = shared.governance
        self.recorded = Recorded(self._log.log.reader)
        self._file = snapshot_file
        self._copy: State | None = None  # always one act ahead, never behind
        self._lock = asyncio.Lock()
        self.jobs = Jobs(self._act)
        self._made_by = folded.fold
        self._kept = (folded.snapshot_seq, 0)  # of the newest snapshot file: governance seq, records of all logs
        shared.ledger = folded.ledger
        shared.ledger.open = OpenGrants.of(folded.state)
        shared.evidence = self.evidence
        shared.office = self
        self.escort = Escort(shared, guard, lambda: self.state)
        self._swap()

    @property
    def ledger(self) -> Ledger:
        """How often grants and keys were used."""
        return self._shared.ledger

    @property
    def log_name(self) -> str:
        """Of the governance log: stands in anchors, changes and statements."""
        return self._log.log.name

    @property
    def now(self) -> int:
        """Unix seconds; never behind a record."""
        return max(self._shared.clock.now_ns() // NANOSECONDS, self.state.time)

    # ---- who, when, what ----

    def actor(self, caller: Caller) -> Actor:
        """The identity behind a caller; NotPermitted if he is unknown, suspended, or came without a good credential."""
        if caller.flaw:
            raise identity_refusal(caller.flaw)
        return self.desk().actor(caller.identity.id)

    def desk(self) -> Desk:
        """Governance at this moment. Rules get their own from `act`."""
        return Desk(self.state, self.policy, self.now, self._new_id)

    def head(self) -> tuple[int, bytes]:
        """Size and root of the governance log: what a statement names as seen."""
        return self._log.head.size, self._log.head.root

    def seen(self, size: int, root: bytes) -> bool:
        """Whether this is a checkpoint of our governance log."""
        return 0 < size <= self._log.log.size and self._log.log.root(size) == root

    def evidence(self, change_id: str) -> Evidence | None:
        """A change and the approvals that count for it."""
        change = self.state.changes.get(change_id)
        if change is None:
            return None
        whole = self.recorded.change(change)
        if whole is None:
            return None
        given = [one for one in change.approvals.values() if one.state in ("counted", "consumed")]
        approvals = tuple((one.statement.encode(), one.signature) for one in given)
        return Evidence(encode_change(whole.record), approvals)

    # ---- acting ----

    async def act(self, rule: Rule[T]) -> T:
        """Let the rule decide and write its facts; its answer, when they are in force.

        Refusals of the rule pass through and append nothing; so do Busy LOG_FULL, Malformed TOO_LARGE, Damaged. Whoever
        stops waiting does not stop the act.
        """
        return await asyncio.shield(_spawn(self._act(rule)))

    async def alert(self, name: str, subject: str, text: str) -> None:
        """Write that something needs looking after; nothing at all before the first trust anchors."""
        if self.state.anchors is not None:
            await self.act(lambda desk: (None, [f.AlertRaised(name=name, subject=subject, text=text)]))

    async def tick(self) -> None:
        """What is due by now, in a few looks at most; and a new snapshot file, if the last one is old."""
        facts_max = clockwork.FACTS_MAX
        for _ in range(LOOKS_MAX):
            try:
                if self.state.anchors is None or not await self.act(partial(self._due, facts_max)):
                    break
            except Malformed as error:
                if error.reason != "TOO_LARGE" or facts_max == 1:
                    raise
                facts_max = max(1, facts_max // 4)  # together they are too long for a short segment
        await self.escort.go()
        if self._grown():
            await self.keep()

    def ended(self, grant: str, identity: str, line: str) -> Refusal | None:
        """Why a grant that no snapshot has any more is over; None if it is not this identity's."""
        found = self.state.grants.get(grant)
        if found is None or (found.issued.identity, found.issued.line) != (identity, line):
            return None
        if found.state == "revoked":
            return revoked()
        if found.state == "expired":
            return Precondition("the grant is over", reason="GRANT_EXPIRED", hint="request a new one")
        return None

    def check_again(self, grant: str, key: str) -> None:
        """Refuse what was permitted once, if its grant was revoked or its key stopped since then."""
        found, of_key = self.state.grants.get(grant), self.state.keys.get(key)
        if found is not None and found.state == "revoked":
            raise revoked()
        if of_key is not None and of_key.state in KEY_STOPPED:
            raise key_stopped()

    def held(self, key: str) -> bool:
        """Whether leaves of this key are not to be sealed: it was stopped, and they grow too old (DESIGN L2)."""
        found = self.state.keys.get(key)
        return found is not None and found.state in KEY_STOPPED

    # ---- the snapshot file ----

    async def keep(self) -> None:
        """Write the state to a file that a start can trust: its hash is in the log before it has its name."""
        if self._file is not None:
            await asyncio.shield(_spawn(self._keep(self._file)))

    # ---- helpers, in call order ----

    async def _act(self, rule: Rule[T]) -> T:
        async with self._lock:
            answer, facts = rule(self.desk())
            if facts:
                await self._write(facts)
        if any(isinstance(fact, f.KeyMoved) for fact in facts):
            await self.escort.go()  # others do not wait for signers: the next tick tells what is still owed
        return answer

    async def _write(self, facts: Sequence[Fact]) -> Committed:
        """One batch of facts, in force when this returns. The lock is held."""
        if self._shared.failed is not None:
            raise self._shared.failed  # nobody would ever write them
        self._try(facts)
        done: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()

        def durable(placed: Sequence[Placed], committed: Committed) -> None:
            try:
                self._fold(facts, placed)
            except Exception as error:  # whoever waits must hear of it, whatever it is
                done.set_exception(error)
                raise
            done.set_result(committed)

        profile = self.state.anchors.profile if self.state.anchors is not None else ""
        self._log.propose(FactGroup(events_of(facts, profile), stops(facts), durable, done.set_exception))
        try:
            committed = await done
        except SealpressError:
            self._copy = None  # it is ahead of what was not written
            raise
        # What other logs have in hand was decided on before; when it has landed, nothing of the kind can follow.
        for log in self._shared.logs.values():
            await log.landed()
        return committed

    def _try(self, facts: Sequence[Fact]) -> None:
        """Read them back and fold them into the copy: what does not fold makes a log that nobody can start from."""
        readable(facts)
        if self._copy is None:
            self._copy = copy(self.state)
        try:
            for number, fact in enumerate(facts):
                apply(self._copy, fact, self.state.seq + 1 + number, self.now)
            for fact in facts:
                if isinstance(fact, f.PolicyInForce | f.AnchorsAdopted):
                    policy_of(self._copy)
        except SealpressError as error:
            self._copy = None
            if isinstance(error, Precondition | Malformed):
                raise
            raise Internal(f"a rule gave facts that do not fold: {error.message}") from error

    def _fold(self, facts: Sequence[Fact], placed: Sequence[Placed]) -> None:
        """They are durable: from here on they decide."""
        try:
            for fact, place in zip(facts, placed, strict=True):
                apply(self.state, fact, place.seq, place.time_ns // NANOSECONDS)
                self.ledger.open.follow(fact, self.state)
                if isinstance(fact, f.PolicyInForce | f.AnchorsAdopted):
                    self.policy = policy_of(self.state)
                elif isinstance(fact, f.GrantMoved):
                    self.ledger.forget(fact.grant)
        except SealpressError as error:
            raise Damaged(f"the governance log does not fold: {error.message}", reason="GOVERNANCE_FOLD") from error
        if self._copy is not None:
            self._copy.seq, self._copy.time = self.state.seq, self.state.time
        if all(type(fact) in UNSEEN for fact in facts):
            self._shared.snapshot = self._shared.snapshot.at(self.state.seq)
        else:
            self._swap()
        for log in self._shared.logs.values():
            log.changed.set()  # who waited may be refused by now
        self.escort.told(facts)

    def _swap(self) -> None:
        """The new snapshot, and the lines with the keys that count now."""
        shared, state = self._shared, self.state
        if state.anchors is None:
            return
        shared.snapshot = snapshot_of(state, self.policy or NO_POLICY)
        for line in shared.keys:
            if self.usable(line) and state.active.get(line.name, line.key) == line.key:
                shared.lines[line.name] = line

    def usable(self, line: Line) -> bool:
        """Whether the log knows this key of our configuration, and as the same: line, form and public key."""
        found = self.state.keys.get(line.key)
        if found is None:
            return False
        ours = (line.name, line.mode, line.section.format, line.section.class_, line.key_id.hex())
        proposed = found.proposed
        return ours == (proposed.line, proposed.mode, proposed.format, proposed.class_, found.key_id)

    def _due(self, facts_max: int, desk: Desk) -> tuple[bool, Sequence[Fact]]:
        facts = clockwork.due(desk, self.ledger.keys, facts_max)
        return bool(facts), facts

    def _grown(self) -> bool:
        seq, records = self._kept
        if self._file is None or self.state.anchors is None:
            return False
        facts = SNAPSHOT_FACTS + len(self.state.grants)  # else a fleet's open grants are written more than its new ones
        return self.state.seq - seq >= facts or self._records() - records >= SNAPSHOT_RECORDS

    def _records(self) -> int:
        return sum(log.told[0] for log in self._shared.logs.values())

    async def _keep(self, path: Path) -> None:
        async with self._lock:
            if self.state.anchors is None:
                return
            body = _archive.body(self.state, self._shared, self._made_by)
            loop = asyncio.get_running_loop()
            raw, digest = await loop.run_in_executor(None, _archive.encode, body)
            taken = f.SnapshotTaken(seq=self.state.seq, sha256=digest)
            half = await loop.run_in_executor(None, _archive.write_half, path, raw)
            try:
                committed = await self._write([taken])
            except SealpressError:
                half.unlink(missing_ok=True)  # on a full log its part is not left to take room
                raise
            await loop.run_in_executor(None, _archive.finish, path, half, committed.start)
            self._kept = self.state.seq, self._records()

    def _new_id(self) -> str:
        """Of the time that its record will have, also when the clock was set back: near that one it is looked for."""
        now_ns = max(self._shared.clock.now_ns(), self.state.time * NANOSECONDS)
        return ulid_text(new_event_id(now_ns, self._shared.entropy.bytes(10)))


def policy_of(state: State) -> Policy | None:
    """The policy in force, compiled; None before the first."""
    if not state.policy or state.anchors is None:
        return None
    name = f"the policy in force ({state.policy_sha256[:12]})"
    return compile_policy(state.policy.encode(), name, governed=True, profile=state.anchors.profile)


def _spawn(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    return asyncio.get_running_loop().create_task(work)
