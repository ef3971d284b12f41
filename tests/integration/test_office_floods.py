"""Do floods of refusals share a record, and does a job have one grant however many ask?"""

from __future__ import annotations

import asyncio
from pathlib import Path

from kit.acme import ALL, CI, LOW, RELEASE, TEST, ask, caller, digest, policy_text
from kit.governed import Governed, refused
from sealpress.errors import Refusal
from sealpress.governance import facts as f
from sealpress.governance import stops
from sealpress.tlog import explain
from sealpress.values import RecordType


async def test_a_flood_of_preconditions_shares_one_record(tmp_path: Path) -> None:
    """The first twenty a minute have a record each; the rest are told one event id, and their number is written."""
    async with Governed(tmp_path, lines=ALL) as node:
        await node.begin()
        told = [await refused(node, ask(RELEASE, digest(number))) for number in range(50)]
        assert len({refusal.event_id for refusal in told}) == 21
        node.flow.refusals.flush()
        await asyncio.sleep(0.05)
        events = [record.head.event for record in node.records(RecordType.REFUSAL)]
        assert [event.suppressed for event in events] == [0] * 20 + [30]
        assert explain.ulid_text(events[-1].event_id) == told[-1].event_id


async def test_a_flood_that_is_dropped_in_the_commit_step_shares_it_too(tmp_path: Path) -> None:
    """Requests that were admitted and lose their grant before the append are counted with all others."""
    async with Governed(tmp_path, lines=ALL) as node:
        await node.begin()
        grant = node.grant(RELEASE, 1)
        await node.write(grant)
        asked = [node.sign(ask(RELEASE, digest(number), grant_id=grant.grant)) for number in range(60)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(not isinstance(answer, Refusal) for answer in answers) == 1
        assert len(node.records(RecordType.REFUSAL)) <= 20


async def test_a_job_has_one_grant_however_many_ask(tmp_path: Path) -> None:
    """A hundred requests at once cost one GrantIssued; another credential of the same name gets its own."""
    async with Governed(tmp_path) as node:
        await node.begin()
        await asyncio.gather(*(node.sign(ask(LOW, digest(number))) for number in range(100)))
        assert len(node.office.state.grants) == 1
        await node.sign(ask(LOW, digest("x")), caller(certificate_sha256=bytes(range(32))))
        assert len(node.office.state.grants) == 2


async def test_a_job_has_its_grant_while_the_clock_is_behind_the_log(tmp_path: Path) -> None:
    """The log's times stand still when the clock goes back: requests are decided on at them, as grants are issued."""
    async with Governed(tmp_path) as node:
        await node.begin()
        node.clock.step(-600)
        await node.sign(ask(LOW, digest(1)))
        await node.sign(ask(LOW, digest(2)))
        assert len(node.office.state.grants) == 1


async def test_a_revoked_job_gets_no_second_grant(tmp_path: Path) -> None:
    """What one person stopped does not start again by itself, not even for requests that wait in the queue."""
    async with Governed(tmp_path) as node:
        await node.begin()
        await node.sign(ask(LOW, digest(1)))
        (grant,) = node.office.state.grants
        await node.stop(lambda desk: stops.revoke_grant(desk, node.olga, grant, "stolen"))
        assert (await refused(node, ask(LOW, digest(2)))).reason == "GRANT_REVOKED"
        assert (await refused(node, ask(LOW, digest(1)))).reason == "GRANT_REVOKED"  # a known id, too
        assert len(node.office.state.grants) == 1


async def test_a_used_up_job_is_not_renewed(tmp_path: Path) -> None:
    """max_uses of the rule bounds the job, not each of a row of grants."""
    rules = f'[line."{TEST}"]\nclass = "test"\nmode = "proof"\nformat = "tlog-proof"\n'
    async with Governed(tmp_path, rules=rules) as node:
        await node.begin()
        text = policy_text(node.lines).replace(f'identities = ["{CI}"]', f'identities = ["{CI}"]\ngrant.max_uses = 3')
        await node.write(f.PolicyInForce(body=text))
        answers = await asyncio.gather(
            *(node.sign(ask(LOW, digest(number))) for number in range(10)), return_exceptions=True
        )
        assert sum(not isinstance(answer, Refusal) for answer in answers) == 3
        assert {answer.reason for answer in answers if isinstance(answer, Refusal)} == {"GRANT_EXHAUSTED"}


async def test_a_known_request_is_admitted_again_without_a_use(tmp_path: Path) -> None:
    """Same id, same fields: the same leaf, no second use, even where the grant is used up; never after a stop."""
    async with Governed(tmp_path, lines=ALL) as node:
        await node.begin()
        grant = node.grant(RELEASE, 1)
        await node.write(grant)
        request = ask(RELEASE, digest(1), grant_id=grant.grant)
        first = await node.sign(request)
        again = await node.sign(request)
        assert again.act.seq == first.act.seq
        assert node.office.ledger.grants[grant.grant] == 1
        await node.move("k-app", "suspend")
        assert (await refused(node, request)).reason == "KEY_NOT_ACTIVE"
