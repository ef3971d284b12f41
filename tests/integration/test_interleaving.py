"""Is there ever a leaf after a stop took effect, or one use too many, wherever the stop falls between two steps?

The positions are enumerated, not hoped for: commits and seals are held at a gate, and the stop is begun while one is.
What must hold is read from the log afterwards.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kit.acme import CI, LOW, RELEASE, ask, caller, digest, policy_text
from kit.governed import Governed, grant_for, sealed, until
from sealpress.errors import Busy, Refusal
from sealpress.governance import facts as f
from sealpress.governance import stops
from sealpress.values import KeyClass, RecordType

LINES = {LOW: KeyClass.LOW, RELEASE: KeyClass.RELEASE}
KEYS = {LOW: "k-nightly", RELEASE: "k-app"}
QUOTA = 100
CLIENTS = 64
REPEATS = 200


class Gate:
    """Holds the commits of a log before they reach the disk."""

    def __init__(self, node: Governed, log: str) -> None:
        """Open at first."""
        self.open = asyncio.Event()
        self.open.set()
        self.held = asyncio.Event()
        real = node.logs[log].commit

        async def commit(draft: Any) -> Any:
            if not self.open.is_set():
                self.held.set()
                await self.open.wait()
            return await real(draft)

        node.logs[log].commit = commit  # type: ignore[method-assign]

    def close(self) -> None:
        """The next commit stays here."""
        self.open.clear()
        self.held.clear()


def _newest_grant(node: Governed) -> str:
    return list(node.office.state.open_grants)[-1]


def _without_rule(node: Governed, line: str) -> f.PolicyInForce:
    """The policy in force, where the rule of this line is about somebody else."""
    rest, found, rule = policy_text(node.lines).partition(f'[line."{line}".rule.ci]')
    return f.PolicyInForce(body=rest + found + rule.replace(CI, "uri:spiffe://acme/other", 1))


STOPS: dict[str, Callable[[Governed, str], Any]] = {
    "revoke the grant": lambda node, line: node.stop(
        lambda desk: stops.revoke_grant(desk, node.olga, _newest_grant(node), "why")
    ),
    "suspend the key": lambda node, line: node.stop(lambda desk: stops.suspend_key(desk, node.olga, KEYS[line], "why")),
    "deactivate the key": lambda node, line: node.move(KEYS[line], "deactivate"),
    "mark it compromised": lambda node, line: node.move(KEYS[line], "mark_compromised"),
    "suspend the identity": lambda node, line: node.stop(
        lambda desk: stops.end_identity(desk, node.olga, "workload:ci", "suspend", "why")
    ),
    "offboard the identity": lambda node, line: node.stop(
        lambda desk: stops.end_identity(desk, node.olga, "workload:ci", "offboard", "why")
    ),
    "a policy without the rule": lambda node, line: node.write(_without_rule(node, line)),
}
POSITIONS = ("before it is asked", "in the queue", "behind the stop in the queue", "drafted", "durable", "answered")


@pytest.mark.parametrize("own_log", [False, True], ids=["one log", "a log of its own"])
@pytest.mark.parametrize("line", [LOW, RELEASE], ids=["low", "release"])
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("stop", STOPS)
async def test_no_leaf_after_a_stop(tmp_path: Path, stop: str, position: str, line: str, own_log: bool) -> None:
    """A stop at each position of a request: either its leaf stands before it, or there is none; afterwards never."""
    async with Governed(tmp_path, lines=LINES, own_log=own_log) as node:
        await node.begin()
        home = "ci" if own_log else "gov"
        gate = Gate(node, home)
        grant = await grant_for(node, line)

        def sign(number: object) -> asyncio.Task[Any]:
            return asyncio.create_task(node.sign(ask(line, digest(number), grant_id=grant)))

        def stopping() -> asyncio.Task[Any]:
            return asyncio.create_task(STOPS[stop](node, line))

        asked: asyncio.Task[Any] | None = None
        if position == "before it is asked":
            acting = stopping()
        elif position in ("in the queue", "behind the stop in the queue"):
            gate.close()
            filler = sign("filler")
            await gate.held.wait()
            if position == "in the queue":
                asked = sign("it")
                await asyncio.sleep(0.005)
                acting = stopping()
            else:
                acting = stopping()
                await asyncio.sleep(0.005)
                asked = sign("it")
            await asyncio.sleep(0.005)
            gate.open.set()
            await asyncio.wait([filler])
        elif position == "drafted":
            gate.close()
            asked = sign("it")
            await gate.held.wait()
            acting = stopping()
            await asyncio.sleep(0.01)
            assert not acting.done()  # not before the commit that was decided on earlier has landed
            gate.open.set()
        elif position == "durable":
            node.signer.gate.clear()
            asked = sign("it")
            await until(lambda: any(one.durable for one in node.shared.keys))
            acting = stopping()
        else:
            asked = sign("it")
            await asked
            acting = stopping()
        await acting
        ends = {id_: log.next_seq for id_, log in node.logs.items()}
        stopped_at = node.office.state.seq
        node.signer.gate.set()
        answers = [sign(f"later {number}") for number in range(3)]
        outcomes = await asyncio.gather(*answers, return_exceptions=True)
        assert all(isinstance(outcome, Refusal) and not isinstance(outcome, Busy) for outcome in outcomes)
        for id_, log in node.logs.items():
            for record in log.reader.of_types((RecordType.REQUEST,)):
                assert record.seq < ends[id_]
                assert record.head.event.governance_seq < stopped_at
                assert id_ != "gov" or record.seq < stopped_at
        if asked is not None:
            await finish(node, asked)


async def finish(node: Governed, asked: asyncio.Task[Any]) -> None:
    """It has an answer exactly if it has a leaf that was sealed; under a stopped key none is."""
    await asyncio.wait([asked], timeout=5)
    answer = asked.exception() or asked.result()
    requests = [record for record in node.records(RecordType.REQUEST) if record.digests == digest("it")]
    if isinstance(answer, Refusal):
        assert answer.reason != "INTERNAL"
        assert not requests or answer.reason == "KEY_NOT_ACTIVE"
    else:
        assert len(requests) == 1
        await until(lambda: requests[0].seq in sealed(node))


async def test_a_role_that_is_gone_counts_no_more(tmp_path: Path) -> None:
    """An auditor's binding ends: his next call is refused, and the refusal recorded."""
    async with Governed(tmp_path, lines=LINES) as node:
        await node.begin()
        auditor = caller("uri:auditor")
        bound = f.BindingMade(
            binding="b1", identity="workload:auditor", role="auditor", line="*", group="", not_after=0, change_id="c"
        )
        await node.write(node.enrolled("workload:auditor", "uri:auditor"), bound)
        await node.flow.permit_audit(auditor, "Tail")
        await node.stop(lambda desk: stops.revoke_binding(desk, node.olga, "b1", "left the team"))
        with pytest.raises(Refusal):
            await node.flow.permit_audit(auditor, "Tail")
        assert node.refusals() == ["NOT_PERMITTED"]


@pytest.mark.parametrize("seed", range(24))
async def test_a_storm_with_a_stop_in_it(tmp_path: Path, seed: int) -> None:
    """Sixteen callers in full flight and one stop at a random moment: the log holds no request behind it."""
    dice = random.Random(seed)
    async with Governed(tmp_path, lines=LINES, own_log=seed % 2 == 0) as node:
        await node.begin()
        grant = await grant_for(node, RELEASE)
        await grant_for(node, LOW)
        going = True
        numbers = itertools.count()

        async def one(line: str) -> None:
            while going:
                items = [digest(f"{next(numbers)}/{item}") for item in range(dice.choice((1, 1, 1, 5, 40)))]
                try:
                    await node.sign(ask(line, *items, grant_id=grant if line == RELEASE else ""))
                except Refusal:
                    await asyncio.sleep(0.001)

        callers = [asyncio.create_task(one(dice.choice((LOW, RELEASE)))) for _ in range(16)]
        await asyncio.sleep(dice.random() * 0.05)
        line = dice.choice((LOW, RELEASE))
        await STOPS[dice.choice(["suspend the key", "suspend the identity", "a policy without the rule"])](node, line)
        ends = {id_: log.next_seq for id_, log in node.logs.items()}
        await asyncio.sleep(0.03)
        going = False
        node.clock.advance(301)
        await asyncio.gather(*callers)
        for id_, log in node.logs.items():
            late = [record for record in log.reader.of_types((RecordType.REQUEST,)) if record.seq >= ends[id_]]
            assert not [record for record in late if record.head.event.line == line]


async def test_a_quota_is_never_exceeded(tmp_path: Path) -> None:
    """64 clients, a quota of 100, 200 times: single requests and batches, and never one use more; nor one less."""
    async with Governed(tmp_path, lines=LINES, segment_bytes=8 << 20) as node:
        await node.begin()
        for repeat in range(REPEATS):
            dice = random.Random(repeat)
            grant = node.grant(RELEASE, QUOTA)
            await node.write(grant)

            async def one(
                client: int, dice: random.Random = dice, grant: f.GrantIssued = grant, repeat: int = repeat
            ) -> int:
                items = [digest(f"{repeat}/{client}/{item}") for item in range(dice.choice((1, 1, 2, 4)))]
                try:
                    await node.sign(ask(RELEASE, *items, grant_id=grant.grant))
                except Refusal as refusal:
                    assert refusal.reason == "GRANT_EXHAUSTED", refusal
                    return 0
                return len(items)

            used = sum(await asyncio.gather(*(one(client) for client in range(CLIENTS))))
            used += sum(await asyncio.gather(*(one(CLIENTS + extra) for extra in range(4))))
            assert QUOTA - 3 <= used <= QUOTA
            assert node.office.ledger.grants[grant.grant] == used
        counted: Counter[str] = Counter()
        for record in node.records(RecordType.REQUEST):
            counted[record.head.event.grant_id] += record.head.count
        assert len(counted) == REPEATS
        assert max(counted.values()) == QUOTA


async def test_what_was_not_written_is_not_spent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk takes the commit back, and with it the uses: the same request has them again."""
    async with Governed(tmp_path, lines=LINES) as node:
        await node.begin()
        grant = await grant_for(node, RELEASE, uses=1)
        real = node.logs["gov"].commit

        async def full(draft: Any) -> Any:
            assert node.office.ledger.grants == {grant: 1}  # taken before the append
            raise Busy("full", reason="LOG_FULL")

        monkeypatch.setattr(node.logs["gov"], "commit", full)
        with pytest.raises(Busy):
            await node.sign(ask(RELEASE, digest(1), grant_id=grant))
        assert node.office.ledger.grants == {grant: 0}
        monkeypatch.setattr(node.logs["gov"], "commit", real)
        await asyncio.sleep(0.6)  # flow waits before it tries a full disk again
        await node.sign(ask(RELEASE, digest(1), grant_id=grant))


async def test_who_joins_a_call_whose_own_deadline_passed_is_served(tmp_path: Path) -> None:
    """A retry of a call that waits for the disk, and whose first caller waits no more, has a deadline of its own."""
    async with Governed(tmp_path, lines=LINES) as node:
        await node.begin()
        grant = await grant_for(node, RELEASE, uses=3)
        gate = Gate(node, "gov")
        gate.close()
        before = asyncio.create_task(node.sign(ask(RELEASE, digest(0), grant_id=grant)))
        await gate.held.wait()
        request, now_ns = ask(RELEASE, digest(1), grant_id=grant), node.clock.monotonic_ns()
        first = asyncio.create_task(node.sign(request, replace(caller(), expires_ns=now_ns + 1_000_000_000)))
        await asyncio.sleep(0)
        node.clock.advance(2)
        later = replace(caller(), expires_ns=node.clock.monotonic_ns() + 30_000_000_000)
        again = asyncio.create_task(node.sign(request, later))
        await asyncio.sleep(0)
        first.cancel()
        gate.open.set()
        await asyncio.gather(before, again)
        assert node.office.ledger.grants == {grant: 2}
