"""Does what governance wrote decide on the very next request, and is a stop a stop, whatever else happens?"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kit.acme import ALL, CI, DEPLOYMENT, FIRMWARE, LOW, OLGA, RELEASE, TEST, ask, caller, digest, policy_text
from kit.disk import FaultDisk
from kit.governed import Governed, alerts, refused, until
from sealpress.config import GovernanceSection
from sealpress.core.segment import segment_name
from sealpress.errors import Busy, CannotStart, Internal, Malformed, NotPermitted, Precondition
from sealpress.governance import evidence_chain, stops
from sealpress.governance import facts as f
from sealpress.governance.desk import Desk
from sealpress.steps._ticket import Line
from sealpress.tlog import explain
from sealpress.tlog.entry import OutcomeStatus
from sealpress.tlog.space import Level
from sealpress.values import KeyClass, RecordType
from sealpress.verify.anchors import NAMESPACE
from sealpress.verify.change import encode
from sealpress.wiring.governed import adopt_anchors

MIN = ", min_groups = 2"


async def test_a_governed_node_signs_what_the_log_allows(tmp_path: Path) -> None:
    """Anchors, policy, key: then a line of class test needs no grant and one of class low gets its own."""
    async with Governed(tmp_path, lines=ALL, profile="lab") as node:
        await node.begin()
        await node.sign(ask(TEST, digest(1)))
        await node.sign(ask(LOW, digest(2)))
        first, second = (record.head.event for record in node.records(RecordType.REQUEST))
        assert (first.grant_id, first.profile, first.identity) == ("", "lab", CI)
        assert second.grant_id in node.office.state.open_grants
        assert {record.head.event.profile for record in node.records(RecordType.GOVERNANCE)[2:]} == {"lab"}


async def test_before_the_first_policy_nothing_is_permitted(tmp_path: Path) -> None:
    """Neither before genesis nor after it, whatever the key could sign."""
    async with Governed(tmp_path) as node:
        assert (await refused(node, ask(LOW, digest(1)))).reason == "NOT_PERMITTED"
        await node.write(f.AnchorsAdopted(document=_document(node), signatures=()))
        assert (await refused(node, ask(LOW, digest(2)))).reason == "NOT_PERMITTED"
        assert not node.records(RecordType.REQUEST)


def _document(node: Governed) -> str:
    from sealpress.verify.change import encode

    return encode(node.document()).decode()


async def test_anchors_that_the_policy_does_not_satisfy_are_not_adopted(tmp_path: Path) -> None:
    """A profile that demands more than the policy in force: refused before it is written, and the node starts again."""
    async with Governed(tmp_path / "node", lines={RELEASE: KeyClass.RELEASE}) as node:
        await node.begin()
        one = policy_text(node.lines).replace("signing    = { quorum = 2", "signing    = { quorum = 1").replace(MIN, "")
        await node.write(f.PolicyInForce(body=one))
        document = encode(replace(node.document(), version=2, profile="regulated"))
        (tmp_path / "anchors").write_bytes(document)
        (tmp_path / "signatures").write_text("".join(key.sign(document, NAMESPACE) for key in node.officers))
        section = GovernanceSection(deployment=DEPLOYMENT, anchors="anchors", signatures=("signatures",))
        with pytest.raises(CannotStart) as caught:
            await adopt_anchors(node.office, section, tmp_path.joinpath, node.shared.telemetry)
        assert caught.value.reason == "ANCHORS_PROFILE"
        assert node.office.state.anchors.version == 1
    async with node.again() as node:
        assert node.office.state.policy


async def test_facts_have_a_batch_of_their_own(tmp_path: Path) -> None:
    """Under load no commit holds a fact beside anything else, and all facts of an act stand in one."""
    async with Governed(tmp_path) as node:
        await node.begin()

        async def acts() -> None:
            for number in range(20):
                await node.write(*(node.enrolled(f"workload:w{number}-{i}", f"uri:w{number}-{i}") for i in range(3)))

        signing = (node.sign(ask(LOW, digest(number))) for number in range(300))
        await asyncio.gather(acts(), *signing)
        batches: dict[tuple[int, int], list[int]] = defaultdict(list)
        reader = node.logs["gov"].reader
        for number in reader.numbers():
            for frame in reader.frames(number):
                if frame.type not in (RecordType.COMMIT, RecordType.SEAL):
                    batches[number, frame.batch].append(frame.type)
        governance = [types for types in batches.values() if RecordType.GOVERNANCE in types]
        assert all(set(types) == {RecordType.GOVERNANCE} for types in governance)
        assert sum(len(types) == 3 for types in governance) >= 20


async def test_higher_classes_say_what_must_happen_first(tmp_path: Path) -> None:
    """GR-80: without a grant, release answers GRANT_REQUIRED and firmware QUORUM_REQUIRED; both are recorded."""
    async with Governed(tmp_path, lines={RELEASE: KeyClass.RELEASE, FIRMWARE: KeyClass.FIRMWARE}) as node:
        await node.begin()
        for line, reason in ((RELEASE, "GRANT_REQUIRED"), (FIRMWARE, "QUORUM_REQUIRED")):
            refusal = await refused(node, ask(line, digest(line)))
            assert isinstance(refusal, Precondition)
            assert (refusal.reason, bool(refusal.event_id)) == (reason, True)
        assert node.refusals() == ["GRANT_REQUIRED", "QUORUM_REQUIRED"]
    async with Governed(tmp_path / "held", lines=ALL) as node:
        await node.begin()
        waiting = node.grant(RELEASE, 1, gates=("release.promote",))
        await node.write(waiting)
        held = await refused(node, ask(RELEASE, digest(3), grant_id=waiting.grant))
        assert isinstance(held, Precondition)
        assert held.metadata == {"grant_id": waiting.grant, "change_id": "c", "gate": "release.promote"}
        await node.write(f.GatePassed(grant=waiting.grant, gate="release.promote", person=OLGA, actor="a"))
        await node.sign(ask(RELEASE, digest(3), request_id="again", grant_id=waiting.grant))
        assert node.refusals() == ["HELD"]


async def test_a_successor_signs_and_the_old_leaves_are_sealed_by_the_old_key(tmp_path: Path) -> None:
    """Activating the next key moves new requests to it at once; what was durable before is answered all the same."""
    async with Governed(tmp_path, successors={"k-next": LOW}) as node:
        await node.begin()
        await node.sign(ask(LOW, digest(0)))
        node.signer.gate.clear()
        old = asyncio.create_task(node.sign(ask(LOW, digest(1))))
        await until(lambda: len(node.records(RecordType.REQUEST)) == 2)
        await node.write(node.moved("k-nightly", "deactivate"), node.moved("k-next", "activate"))
        assert "k-nightly" not in node.signer.stopped  # its last leaf is not sealed yet
        new = asyncio.create_task(node.sign(ask(LOW, digest(2))))
        await asyncio.sleep(0.05)
        node.signer.gate.set()
        first, second = await asyncio.gather(old, new)
        lines = {line.key: line for line in node.shared.keys}
        assert first.act.event.key_id == lines["k-nightly"].key_id
        assert second.act.event.key_id == lines["k-next"].key_id
        assert lines["k-nightly"].vkey != lines["k-next"].vkey
        await node.office.tick()
        assert node.signer.stopped == {"k-nightly"}
        assert [node.shared.key_state(line) for line in node.shared.keys] == ["deactivated", "active"]


async def test_what_waits_under_a_suspended_key_is_never_signed(tmp_path: Path) -> None:
    """Durable before the stop, not sealed by it: it lapses, gives its use back, and no resumption comes in time."""
    async with Governed(tmp_path, lines=ALL) as node:
        await node.begin()
        grant = node.grant(RELEASE, 5, not_after=node.now + 7_200)
        await node.write(grant)
        node.signer.gate.clear()
        asked = asyncio.create_task(node.sign(ask(RELEASE, digest(1), grant_id=grant.grant)))
        await asyncio.sleep(0.05)
        asked_too = asyncio.create_task(node.sign(ask(RELEASE, digest(2), grant_id=grant.grant)))
        await asyncio.sleep(0.05)
        await node.stop(lambda desk: stops.suspend_key(desk, node.olga, "k-app", "why not"))
        heads = dict(node.signer.signed)
        node.signer.gate.set()
        await asyncio.wait([asked], timeout=1)
        with pytest.raises(Precondition, match="the key was stopped"):
            await asked_too
        node.clock.advance(301)
        await asyncio.sleep(1.2)
        assert OutcomeStatus.LAPSED in {record.head.event.status for record in node.records(RecordType.OUTCOME)}
        assert node.signer.signed.get("k-app", 0) <= heads.get("k-app", 0) + 1  # what was under way came back
        used = sum(record.head.count for record in node.records(RecordType.REQUEST))
        assert node.office.ledger.grants[grant.grant] == used - 1


async def test_a_refusal_of_the_rule_appends_nothing(tmp_path: Path) -> None:
    """Nor do facts that do not fold: they are tried on a copy before they are written."""
    async with Governed(tmp_path) as node:
        await node.begin()
        before = node.logs["gov"].next_seq, node.office.state.seq

        def unwilling(desk: Desk) -> tuple[None, Sequence[f.Fact]]:
            raise NotPermitted("no")

        with pytest.raises(NotPermitted):
            await node.office.act(unwilling)
        with pytest.raises(Precondition):
            await node.write(node.enrolled("workload:x", "uri:x"), node.moved("k-nightly", "activate"))
        with pytest.raises(Malformed) as caught:
            await node.write(*(f.AlertRaised(name="a", subject="b", text="c" * 4_000) for _ in range(100)))
        assert caught.value.reason == "TOO_LARGE"
        assert "digests" not in caught.value.hint
        with pytest.raises(Internal):
            await node.write(f.PolicyInForce(body="schema = 2"))
        for text in ("x" * 5_000, "half a pair \ud800"):
            with pytest.raises(Malformed):
                await node.write(f.AlertRaised(name="a", subject="b", text=text))
        assert (node.logs["gov"].next_seq, node.office.state.seq) == before
        await node.write(node.enrolled("workload:x", "uri:x"))


async def test_who_stops_waiting_does_not_stop_the_act(tmp_path: Path) -> None:
    """A caller that hangs up leaves a whole act behind, and the next one sees it."""
    async with Governed(tmp_path) as node:
        await node.begin()
        act = asyncio.create_task(node.write(node.enrolled("workload:x", "uri:x")))
        await asyncio.sleep(0)
        act.cancel()
        with pytest.raises(Precondition):
            await node.write(node.enrolled("workload:x", "uri:x"))
        assert node.office.state.identities["workload:x"].state == "active"


async def test_a_stop_is_written_on_a_full_disk(tmp_path: Path) -> None:
    """L6: with no room for another segment the rest of the last one is for stops; requests and proposals wait."""
    disk = FaultDisk()
    node = Governed(tmp_path, lines={TEST: KeyClass.TEST}, segment_bytes=256 << 10, disk=disk.address)
    async with node:
        await node.begin()
        for number in range(4):  # the tree's levels are there: on a full disk no new one can be made
            await node.sign(ask(TEST, *(digest(f"{number}/{item}") for item in range(1_500))))
        disk.fail("allocate", forever=True, error=28)
        space = node.logs["gov"].space
        space.free = lambda: 0
        for number in range(4_000):
            try:
                await node.sign(ask(TEST, digest(number)))
            except Busy as full:
                assert full.reason == "LOG_FULL"
                break
        assert space.level() is Level.FULL
        with pytest.raises(Busy):
            await node.write(node.enrolled("workload:x", "uri:x"))
        with pytest.raises(Busy):
            await node.office.keep()
        assert [path.name for path in (node.directory / "gov" / "index").glob("*.new")] == []  # takes no room
        await node.stop(lambda desk: stops.suspend_key(desk, node.olga, "k-ci", "stop"))
        assert node.office.state.keys["k-ci"].state == "suspended"
        refusal = await refused(node, ask(TEST, digest("after")))
        assert (refusal.reason, refusal.event_id) == ("KEY_NOT_ACTIVE", "")  # and nothing of it is written
        disk.heal("allocate")
        space.free = lambda: 1 << 30
        node.clock.advance(2)
        await node.write(node.enrolled("workload:x", "uri:x"))  # by itself, as soon as there is room


async def test_the_veto_can_only_deny(tmp_path: Path) -> None:
    """It sees what was allowed; a text or an exception denies, and the reason is recorded as VETO."""
    async with Governed(tmp_path, lines={TEST: KeyClass.TEST}) as node:
        await node.begin()
        seen: list[dict[str, Any]] = []
        answers: list[Any] = ["", "not today", None, ValueError("broken")]

        def hook(facts: Any) -> Any:
            seen.append(facts)
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        node.shared.veto = hook
        await node.sign(ask(TEST, digest(0)))
        for number in (1, 2, 3):
            assert (await refused(node, ask(TEST, digest(number)))).reason == "VETO"
        assert (await refused(node, ask(TEST, digest(9)), caller("uri:stranger"))).reason == "NOT_PERMITTED"
        assert len(seen) == 4
        assert seen[0]["digests"] == [digest(0).hex()]
        assert len(node.records(RecordType.REQUEST)) == 1


async def test_a_key_of_another_public_key_is_not_used(tmp_path: Path) -> None:
    """The log's KeyGenerated and our pinned public key must be one, else nothing is signed."""
    async with Governed(tmp_path) as node:
        honest = node.key_facts

        def other(line: Line, **fields: Any) -> tuple[f.Fact, ...]:
            facts = honest(line, **fields)
            return tuple(
                replace(fact, key_id="ab" * 32) if isinstance(fact, f.KeyGenerated) else fact for fact in facts
            )

        node.key_facts = other  # type: ignore[method-assign]
        await node.begin()
        assert not node.office.usable(node.shared.keys[0])
        assert (await refused(node, ask(LOW, digest(1)))).reason == "KEY_NOT_ACTIVE"


async def test_explain_tells_the_whole_chain(tmp_path: Path) -> None:
    """For one request: identity, policy, key, grant with its state; every string fit for a terminal."""
    async with Governed(tmp_path) as node:
        await node.begin()
        await node.sign(ask(LOW, digest(1)))
        reader = node.logs["gov"].reader
        office = node.office
        found = explain.by_digest(reader, digest(1))
        told = explain.story(
            reader, found, digest(1), lambda event: evidence_chain.chain(office.state, event, office.recorded)
        )
        why = told[0]["why"]
        assert why["identity"]["owner"] == OLGA
        assert why["key"]["state"] == "active"
        assert (why["grant"]["state"], why["grant"]["line"]) == ("active", LOW)
        assert why["policy"]["in_force"] is True
        own = explain.for_requester(told)
        assert not {"fields", "rule", "verdict"} & set(own[0]["event"])


async def test_a_log_that_fills_up_is_an_alert_in_the_log(tmp_path: Path) -> None:
    """At 75 % one event `alert.log.space` for those who look at alerts; not again while it stays so."""
    disk = FaultDisk()
    async with Governed(tmp_path, ticking=True, segment_bytes=256 << 10, disk=disk.address) as node:
        await node.begin()
        space, journal = node.logs["gov"].space, node.logs["gov"].settings.directory / "journal"
        await until(lambda: {segment_name(1), "reserve"} <= {path.name for path in journal.iterdir()})
        disk.fail("allocate", forever=True, error=28)
        space.free = lambda: 0
        number = 0
        while space.level() is Level.ROOM:
            number += 1
            await node.sign(ask(LOW, *(digest(f"{number}/{item}") for item in range(100))))
            node.clock.advance(1)
        await until(lambda: alerts(node) == ["alert.log.space"])
        await asyncio.sleep(1.2)
        assert alerts(node) == ["alert.log.space"]
        disk.heal("allocate")
