"""Does who follows the log learn what he may, for as long as he may?"""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc

from kit.governed import Governed, caller, until
from sealpress.governance import facts as f
from sealpress.governance import stops
from sealpress.rpc.audit import AuditService
from sealpress.steps._state import Caller
from sealpress.v1.audit_pb2 import TailRequest, TailResponse


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

    def set_code(self, code: grpc.StatusCode) -> None:
        """How it ended."""
        self.code = code

    def set_details(self, details: str) -> None:
        """In words."""

    def set_trailing_metadata(self, metadata: object) -> None:
        """In full."""


class Readers:
    """Finds the caller of such a call."""

    def caller(self, reading: Reading) -> Caller:
        """He who reads."""
        return reading.who

    def still(self, who: Caller) -> Caller:
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
