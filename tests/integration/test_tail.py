"""Does who reads the log learn what he may, for as long as he may, and of others nothing?"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import pytest

from kit.acme import LOW, ask, caller, digest
from kit.governed import Governed, until
from sealpress.flow import Flow
from sealpress.governance import facts as f
from sealpress.governance import stops
from sealpress.rpc import explaining, tailing
from sealpress.rpc.audit import AuditService
from sealpress.steps._request import Caller
from sealpress.tlog import record
from sealpress.v1.audit_pb2 import ExplainRequest, ListEventsRequest, TailRequest, TailResponse
from sealpress.v1.types_pb2 import Digest
from sealpress.values import RecordType

RULE = """
[line."{line}".rule.other]
action = "sign"
identities = ["{name}"]
"""


class Reading:
    """A call of Tail by somebody, as gRPC hands it out; `told` is what was written to him."""

    def __init__(self, who: Caller) -> None:
        """Not answered yet."""
        self.who = who
        self.told: list[TailResponse] = []
        self.code: grpc.StatusCode | None = None

    async def write(self, answer: TailResponse) -> None:
        """To him."""
        self.told.append(answer)

    async def abort(self, code: grpc.StatusCode, details: str, trailing_metadata: object) -> None:
        """How it ended, in words and in full: raises, as gRPC's does."""
        del details, trailing_metadata
        self.code = code
        raise grpc.aio.AbortError


class Readers:
    """Finds the caller of such a call."""

    def caller(self, reading: Reading) -> Caller:
        """He who reads."""
        return reading.who

    def still(self, who: Caller, _context: Any) -> Caller:
        """His certificate is good."""
        return who


async def test_an_auditor_whose_role_ends_reads_no_further(tmp_path: Path) -> None:
    """Who follows the log when his role ends is told nothing that is recorded from then on, and that he may not."""
    async with Governed(tmp_path) as node:
        await node.begin()
        bound = f.BindingMade(
            binding="b1", identity="workload:auditor", role="auditor", line="*", group="", not_after=0, change_id="c"
        )
        await node.write(node.enrolled("workload:auditor", "uri:auditor"), bound)
        telemetry = node.shared.telemetry
        service = AuditService(node.flow, Readers(), telemetry, None, node.office)  # type: ignore[arg-type]
        reading = Reading(caller("uri:auditor"))
        call = asyncio.create_task(service.Tail(TailRequest(follow=True), reading))
        await until(lambda: "binding.made" in str(reading.told))
        await node.stop(lambda desk: stops.revoke_binding(desk, node.olga, "b1", "left the team"))
        await asyncio.wait([call], timeout=5)

        assert reading.code is grpc.StatusCode.PERMISSION_DENIED
        assert "binding.moved" not in str(reading.told)


async def test_a_requester_learns_nothing_of_others_in_his_batch(tmp_path: Path) -> None:
    """What became of his own request is told with his own leaves, not with how much others had signed beside them."""
    other, name = "workload:other", "uri:other"
    rules = RULE.format(line=LOW, name=name)
    async with Governed(tmp_path, rules=rules) as node:
        await node.begin()
        await node.write(node.enrolled(other, name))
        for who in (caller(), caller(name)):  # the grants of both jobs
            await node.sign(ask(LOW, digest(who.identity.id)), who)
        node.signer.gate.clear()
        asked = [node.sign(ask(LOW, digest(n)), who) for n, who in ((1, caller()), (2, caller(name)))]
        signing = asyncio.gather(*asked)
        await until(lambda: len(node.records(RecordType.REQUEST)) == 4)
        node.signer.gate.set()
        await signing
        await until(lambda: len(node.records(RecordType.OUTCOME)[-1].head.event.requests) == 2)
        service = AuditService(node.flow, Readers(), node.shared.telemetry, None, node.office)  # type: ignore[arg-type]
        found = await service.Explain(ExplainRequest(digest=Digest(algorithm=1, value=digest(1))), Reading(caller()))
        outcome = next(json.loads(event.json) for event in found.events if event.type == "outcome")
        request = next(event for event in found.events if event.type == "request")

        assert [one["seq"] for one in outcome["event"]["requests"]] == [request.seq]


async def test_a_page_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large events make shorter lists, which go on where they ended; nothing is told twice or left out."""
    async with Governed(tmp_path) as node:
        await node.begin()
        service = AuditService(node.flow, Readers(), node.shared.telemetry, None, node.office)  # type: ignore[arg-type]
        monkeypatch.setattr(Flow, "permit_audit", _permitted)
        whole = await service.ListEvents(ListEventsRequest(), Reading(caller()))
        monkeypatch.setattr(explaining, "PAGE_BYTES", 1, raising=False)
        pages = [await service.ListEvents(ListEventsRequest(), Reading(caller()))]
        while pages[-1].next_seq:
            pages.append(await service.ListEvents(ListEventsRequest(from_seq=pages[-1].next_seq), Reading(caller())))

    assert len(whole.events) > 2
    assert [len(page.events) for page in pages] == [1] * len(whole.events)
    assert [event for page in pages for event in page.events] == list(whole.events)


async def test_a_reader_holds_few_bytes_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of large records fewer are read at a time, and he is told all of them in order."""
    monkeypatch.setattr(tailing, "TAIL_PART_BYTES", 1, raising=False)
    monkeypatch.setattr(Flow, "permit_audit", _permitted)
    held: list[int] = []
    part = tailing._part

    def counted(*asked: Any) -> Any:
        found = part(*asked)
        held.append(len(found[0]))
        return found

    monkeypatch.setattr(tailing, "_part", counted)
    async with Governed(tmp_path) as node:
        await node.begin()
        service = AuditService(node.flow, Readers(), node.shared.telemetry, None, node.office)  # type: ignore[arg-type]
        reading = Reading(caller())
        await service.Tail(TailRequest(), reading)
        records = [each.seq for each in node.records(*RecordType)]

    assert reading.code is None
    assert [answer.event.seq for answer in reading.told] == records
    assert held == [1] * len(records) + [0]


async def test_who_asks_for_facts_does_not_pay_for_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ListEvents reads no record that is none of governance: between two facts there may be millions."""
    monkeypatch.setattr(Flow, "permit_audit", _permitted)
    read, from_frame = [], record.from_frame
    async with Governed(tmp_path) as node:
        await node.begin()
        for number in range(20):
            await node.sign(ask(LOW, digest(number)))
        await node.move(node.shared.keys[0].key, "suspend")
        facts = [each.seq for each in node.records(RecordType.GOVERNANCE)]
        service = AuditService(node.flow, Readers(), node.shared.telemetry, None, node.office)  # type: ignore[arg-type]
        monkeypatch.setattr(record, "from_frame", lambda *frame: read.append(frame) or from_frame(*frame))
        for asked in (facts[0], facts[3], facts[-1]):
            told = await service.ListEvents(ListEventsRequest(from_seq=asked), Reading(caller()))
            assert [event.seq for event in told.events] == [seq for seq in facts if seq >= asked]

    assert len(read) <= 3 * len(facts)


async def test_many_who_follow_are_told_what_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With each commit what is new is read and put into words for all of them, not for each; all are told all."""
    monkeypatch.setattr(Flow, "permit_audit", _permitted)
    reads, part = [], tailing._part
    monkeypatch.setattr(tailing, "_part", lambda *asked: reads.append(asked) or part(*asked))
    async with Governed(tmp_path) as node:
        await node.begin()
        service = AuditService(node.flow, Readers(), node.shared.telemetry, None, node.office)  # type: ignore[arg-type]
        readings = [Reading(caller()) for _ in range(50)]
        calls = [asyncio.create_task(service.Tail(TailRequest(follow=True), reading)) for reading in readings]
        for number in range(5):
            await node.sign(ask(LOW, digest(number)))
        records = [each.seq for each in node.records(*RecordType)]
        await until(lambda: all(len(reading.told) >= len(records) for reading in readings))
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    for reading in readings:
        assert [answer.event.seq for answer in reading.told][: len(records)] == records
    assert len(reads) < len(readings)


@pytest.mark.parametrize("behind", [0, 3])
async def test_what_others_were_told_does_not_hide_what_came_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behind: int
) -> None:
    """Who reads on from where somebody stood a moment ago is told what he was, or nothing, and all that is new."""
    monkeypatch.setattr(Flow, "permit_audit", _permitted)
    async with Governed(tmp_path) as node:
        await node.begin()
        service = AuditService(node.flow, Readers(), node.shared.telemetry, None, node.office)  # type: ignore[arg-type]
        wanted = TailRequest(from_seq=node.records(*RecordType)[-1].seq + 1 - behind)
        for number in range(3):
            before, reading = node.records(*RecordType), Reading(caller())
            await service.Tail(wanted, reading)
            assert {each.seq for each in before if each.seq >= wanted.from_seq} <= {
                answer.event.seq for answer in reading.told
            }
            await node.sign(ask(LOW, digest(number)))


async def _permitted(*_: Any) -> None:
    """Everybody."""
