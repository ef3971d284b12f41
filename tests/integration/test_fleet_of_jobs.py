"""Does a fleet whose every job has a credential of its own sign as it should: together, apart, and for years?"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kit.acme import CI, LOW, RELEASE, TEST, ask, caller, digest
from kit.disk import FaultDisk
from kit.governed import Governed
from sealpress.errors import Busy, Malformed, Refusal, Unavailable
from sealpress.governance import facts as f
from sealpress.governance import state, stops
from sealpress.governance.facts import GrantIssued
from sealpress.steps import _jobs, admit
from sealpress.steps._request import Caller
from sealpress.steps._ticket import Ticket
from sealpress.values import KeyClass, RecordType

JOBS = 200
HOUR_S = 3_600


def job(number: object, name: str = CI) -> Caller:
    """One run of a pipeline."""
    return caller(name, certificate_sha256=hashlib.sha256(str(number).encode()).digest())


def monkeypatched(patch: pytest.MonkeyPatch, other: Callable[..., Any]) -> Callable[..., Any]:
    """What the office asks for the grant of a job, now replaced."""
    found = _jobs.grants.job
    patch.setattr(_jobs.grants, "job", other)
    return found


def grants(node: Governed) -> list[GrantIssued]:
    """All that the log has."""
    events = [record.head.event for record in node.records(RecordType.GOVERNANCE)]
    found = [f.decode(event.kind, event.body) for event in events if event.kind == "grant.issued"]
    return [fact for fact in found if isinstance(fact, GrantIssued)]


async def test_grants_of_many_jobs_share_a_commit(tmp_path: Path) -> None:
    """Two hundred jobs begin at once: a grant for each, few commits; and each request rests on its own."""
    async with Governed(tmp_path) as node:
        await node.begin()
        issued_from = node.office.state.seq + 1
        await asyncio.gather(*(node.sign(ask(LOW, digest(number)), job(number)) for number in range(JOBS)))
        issued = grants(node)
        requests = [record.head.event for record in node.records(RecordType.REQUEST)]
        reader = node.logs["gov"].reader
        frames = [frame for number in reader.numbers() for frame in reader.frames(number)]
        batches = {frame.batch for frame in frames if frame.type == RecordType.GOVERNANCE and frame.seq >= issued_from}

    assert JOBS == len({one.holder for one in issued}) == len(issued)
    assert {one.grant for one in issued} == {event.grant_id for event in requests}
    assert len(batches) <= JOBS // _jobs.JOBS_MAX + 2


async def test_a_job_that_may_not_is_refused_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose grant was revoked, and one whose name is too long to record, among others who get theirs."""
    async with Governed(tmp_path) as node:
        await node.begin()
        await node.sign(ask(LOW, digest("first")), job("revoked"))
        (grant,) = node.office.state.grants
        await node.stop(lambda desk: stops.revoke_grant(desk, node.olga, grant, "stolen"))
        too_long = job("long").identity.credential.hex()

        def named(*arguments: Any) -> tuple[str, list[f.Fact]]:
            name, facts = of_job(*arguments)
            bad = [replace(one, identity=CI * 5_000) if one.holder == too_long else one for one in facts]
            return name, bad

        of_job = monkeypatched(monkeypatch, named)
        numbers = ["revoked", "long", *range(20)]
        asked = [node.office.jobs.grant(job(number).identity, LOW, "ci") for number in numbers]
        answers = dict(zip(numbers, await asyncio.gather(*asked, return_exceptions=True), strict=True))

    refused = {number: answer for number, answer in answers.items() if isinstance(answer, Refusal)}
    assert {"revoked", "long"} == set(refused)
    assert "GRANT_REVOKED" == refused["revoked"].reason
    assert isinstance(refused["long"], Malformed)
    assert 20 == len({answer for answer in answers.values() if isinstance(answer, str)})


async def test_short_segments_take_grants_one_by_one(tmp_path: Path) -> None:
    """Where sixty-four grants are more than a batch may have, each job gets its own all the same."""
    async with Governed(tmp_path, segment_bytes=64 << 10) as node:
        await node.begin()
        await asyncio.gather(*(node.sign(ask(LOW, digest(number)), job(number)) for number in range(JOBS)))

        assert JOBS == len(node.office.state.open_grants)


async def test_short_segments_take_the_end_of_all_grants_in_pieces(tmp_path: Path) -> None:
    """Two hundred that are over in the same second are more than a batch may have: time goes on all the same."""
    async with Governed(tmp_path, segment_bytes=64 << 10) as node:
        await node.begin()
        await asyncio.gather(*(node.sign(ask(LOW, digest(number)), job(number)) for number in range(JOBS)))
        node.clock.advance(HOUR_S + 1)
        for _ in range(3):
            await node.office.tick()

        assert not node.office.state.open_grants


@pytest.mark.parametrize(("verb", "reason"), [("expire", "GRANT_ENDED"), ("revoke", "GRANT_REVOKED")])
async def test_a_grant_that_ends_under_a_request_is_told_apart(tmp_path: Path, verb: Any, reason: str) -> None:
    """A policy ends it between admission and append: Busy, for another follows; none follows one that was revoked."""
    async with Governed(tmp_path) as node:
        await node.begin()
        await node.sign(ask(LOW, digest("first")), job(1))
        ticket = admit.admit(node.shared, ask(LOW, digest("second")), job(1))
        assert isinstance(ticket, Ticket)
        (grant,) = node.office.state.open_grants
        await node.write(f.GrantMoved(grant=grant, verb=verb, actor="", reason="the policy changed"))
        refusal = admit.redecide(node.shared, ticket, node.now)

    assert refusal is not None
    assert refusal.reason == reason
    assert isinstance(refusal, Busy) == (verb == "expire") == bool(refusal.retry_after_ms)


async def test_a_credential_has_one_grant_under_whichever_rule(tmp_path: Path) -> None:
    """Asked for twice at once, under two rules of a line: still one."""
    async with Governed(tmp_path) as node:
        await node.begin()
        one = job(1).identity
        first, second = await asyncio.gather(
            node.office.jobs.grant(one, LOW, "ci"), node.office.jobs.grant(one, LOW, "other")
        )

    assert first == second
    assert 1 == len(grants(node))


async def test_a_signer_that_hangs_holds_up_no_job_and_no_other_stop(tmp_path: Path) -> None:
    """A stop that it does not take is tried again by the clock: jobs get their grants, other keys are stopped."""
    lines = {LOW: KeyClass.LOW, RELEASE: KeyClass.RELEASE, TEST: KeyClass.TEST}
    async with Governed(tmp_path, lines=lines) as node:
        await node.begin()
        stop, keys = node.signer.stop, {line.name: line.key for line in node.shared.keys}
        release, test = keys[RELEASE], keys[TEST]

        async def hangs(key: str) -> None:
            if key == release:
                await asyncio.sleep(1)
                raise Unavailable("the signer does not answer")
            await stop(key)

        node.signer.stop = hangs  # type: ignore[method-assign]
        await node.move(release, "deactivate")
        async with asyncio.timeout(0.5):
            await node.sign(ask(LOW, digest("first")), job(1))
        ticking = asyncio.create_task(node.office.tick())
        await asyncio.sleep(0.1)
        async with asyncio.timeout(0.5):
            await node.move(test, "deactivate")
        assert node.signer.stopped == {test}
        await ticking


async def test_a_disk_that_fails_is_told_to_every_job(tmp_path: Path) -> None:
    """All who wait for a grant hear of it; none is left waiting."""
    disk = FaultDisk()
    node = Governed(tmp_path, disk=disk.address)
    await node.open()
    await node.begin()
    disk.fail("sync", forever=True)
    asked = [node.sign(ask(LOW, digest(number)), job(number)) for number in range(20)]
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*asked, return_exceptions=True)
    await node.crash()

    assert all(isinstance(answer, Exception) for answer in answers)


async def test_what_was_forgotten_stands_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Explain tells the grant of a job that is long over, from its record, segments later."""
    monkeypatch.setattr(state, "OVER_KEPT", 2)
    async with Governed(tmp_path, segment_bytes=64 << 10) as node:
        await node.begin()
        for number in range(100):
            await node.sign(ask(LOW, digest(number)), job(number))
            node.clock.advance(HOUR_S + 1)
            await node.office.tick()
        assert 2 == len(node.office.state.grants)
        told = [node.office.recorded.grant(one.grant) for one in grants(node)]
        assert len(node.logs["gov"].reader.numbers()) > 2

    assert 100 == len(told)
    assert grants(node) == told
