"""Is what reads much of a log bounded also when its callers go away?"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kit.acme import caller
from kit.governed import Governed
from sealpress.flow import Flow
from sealpress.rpc import explaining
from sealpress.rpc.audit import EXPLAINS_MAX, AuditService
from sealpress.v1 import audit_pb2 as pb

CALLS = 3 * EXPLAINS_MAX


class Readers:
    """Finds an auditor behind every call."""

    def caller(self, context: Any) -> Any:
        """He."""
        del context
        return caller("uri:auditor")


async def test_a_scan_counts_until_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers who give up leave no more scans behind than there may be at a time, and later ones are answered."""
    go_on, lock = threading.Event(), threading.Lock()
    under_way = most = 0

    def slow(*_: Any) -> pb.ListEventsResponse:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        go_on.wait(20)
        with lock:
            under_way -= 1
        return pb.ListEventsResponse(next_seq=7)

    async def permitted(*_: Any) -> None:
        return

    monkeypatch.setattr(explaining, "listed", slow)
    monkeypatch.setattr(Flow, "permit_audit", permitted)
    async with Governed(tmp_path) as node:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2 * CALLS))
        service = AuditService(node.flow, Readers(), node.shared.telemetry, None, node.office)  # type: ignore[arg-type]
        for _ in range(CALLS):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(service.ListEvents(pb.ListEventsRequest(), None), 0.02)
        later = asyncio.create_task(service.ListEvents(pb.ListEventsRequest(), None))
        await asyncio.sleep(0.05)
        assert most == EXPLAINS_MAX
        go_on.set()
        answer = await asyncio.wait_for(later, 20)

    assert answer.next_seq == 7


class Crowd:
    """Finds behind a call whoever the call is."""

    def caller(self, context: Any) -> Any:
        """The same."""
        return caller(context)


async def test_who_may_not_audit_keeps_no_auditor_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask to explain what they did themselves: all of them have one scan at a time, auditors theirs."""
    go_on, lock = threading.Event(), threading.Lock()
    strangers = 0

    def explain(_log: Any, _what: Any, owner: str | None, _why: Any) -> list[pb.LogEvent]:
        nonlocal strangers
        if owner is not None:
            with lock:
                strangers += 1
            go_on.wait(20)
        return []

    monkeypatch.setattr(explaining, "story", explain)
    rules = '[audit]\nidentities = ["uri:auditor"]\n'
    async with Governed(tmp_path, governed=False, rules=rules) as node:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2 * CALLS))
        service = AuditService(node.flow, Crowd(), node.shared.telemetry, None)  # type: ignore[arg-type]
        asked = pb.ExplainRequest(signature_sha256=bytes(32))
        others = [asyncio.create_task(service.Explain(asked, f"uri:{number}")) for number in range(CALLS)]
        await asyncio.sleep(0.05)
        try:
            await asyncio.wait_for(service.Explain(asked, "uri:auditor"), 5)
            assert strangers == 1
        finally:
            go_on.set()
            await asyncio.gather(*others)
