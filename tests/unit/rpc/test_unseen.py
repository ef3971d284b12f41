"""Does Explain say so where it cannot have seen everything?"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import grpc
import pytest

from kit.cold import aged, archived
from kit.governed import Governed, caller
from kit.scribe import Scribe
from sealpress.errors import Precondition
from sealpress.rpc import explaining, status
from sealpress.rpc.audit import AuditService
from sealpress.steps._ticket import LogState
from sealpress.v1 import audit_pb2 as pb


class Only:
    """A log as far as Explain asks."""

    def __init__(self, scribe: Scribe) -> None:
        """By the name `ci`."""
        self.id, self.log = "ci", scribe.log


def state_of(scribe: Scribe) -> LogState:
    """The log's, as flow has it."""
    return Only(scribe)  # type: ignore[return-value]


def test_nothing_found_beside_an_archive_is_no_answer(tmp_path: Path) -> None:
    """Not "it never was": LOG_ARCHIVED with the seq from which on was looked, and how to look at the others."""
    scribe = aged(tmp_path)
    explaining.look_elsewhere([state_of(scribe)])  # nothing is archived yet: nothing found is the answer
    moved = archived(scribe, tmp_path / "cold")
    with pytest.raises(Precondition) as refusal:
        explaining.look_elsewhere([state_of(scribe)])
    first = scribe.log.reader.segment(moved[-1].number + 1).header.first_seq
    scribe.log.close()
    assert refusal.value.reason == "LOG_ARCHIVED"
    assert f"since seq {first} of log ci" in refusal.value.message
    assert "unarchive" in refusal.value.hint
    assert status.code_of(status.to_refusal(refusal.value)) is grpc.StatusCode.FAILED_PRECONDITION


class Asking:
    """A call, and how it ended; the caller is an auditor."""

    code: grpc.StatusCode | None = None

    def caller(self, context: Any) -> Any:
        """He."""
        del context
        return caller("uri:auditor")

    async def abort(self, code: grpc.StatusCode, details: str, trailing_metadata: object) -> None:
        """As gRPC's."""
        del details, trailing_metadata
        self.code = code
        raise grpc.aio.AbortError


async def test_explain_looks_whether_something_is_archived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no event is found, of every log; an answer with events is not kept back."""

    def elsewhere(logs: Iterable[LogState]) -> None:
        raise Precondition(" ".join(log.id for log in logs), reason="LOG_ARCHIVED")

    monkeypatch.setattr(explaining, "look_elsewhere", elsewhere)
    found: list[pb.LogEvent] = []
    monkeypatch.setattr(explaining, "story", lambda *_: found)
    rules = '[audit]\nidentities = ["uri:auditor"]\n'
    async with Governed(tmp_path, governed=False, rules=rules) as node:
        asking = Asking()
        service = AuditService(node.flow, asking, node.shared.telemetry, None)  # type: ignore[arg-type]
        await service.Explain(pb.ExplainRequest(signature_sha256=bytes(32)), asking)
        found.append(pb.LogEvent(seq=7))
        answer = await service.Explain(pb.ExplainRequest(signature_sha256=bytes(32)), asking)
    assert asking.code is grpc.StatusCode.FAILED_PRECONDITION
    assert {event.seq for event in answer.events} == {7}
