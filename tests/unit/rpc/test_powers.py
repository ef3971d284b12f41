"""Is whoever has no role of a service's power told that first, whatever he sends?"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kit.acme import CI, caller
from kit.governed import Governed
from sealpress.errors import NotPermitted
from sealpress.rpc.approval import ApprovalService
from sealpress.rpc.retirement import RetirementService
from sealpress.v1 import approval_pb2, retirement_pb2


@pytest.mark.parametrize(
    ("service", "method", "request_"),
    [
        (ApprovalService, "GetStatement", approval_pb2.GetStatementRequest(note="n" * 100_000)),
        (RetirementService, "DestroyKey", retirement_pb2.DestroyKeyRequest(witnesses=["w"] * 1_000)),
        (RetirementService, "DestroyKey", retirement_pb2.DestroyKeyRequest(witnesses=["w" * 1_000])),
    ],
)
async def test_a_text_that_is_too_long_hides_nobody(tmp_path: Path, service: Any, method: str, request_: Any) -> None:
    """A stranger at the control listener is refused and recorded, also where the form of what he sends is wrong."""
    async with Governed(tmp_path) as node:
        await node.begin()
        who: Any = SimpleNamespace(caller=lambda _: caller(CI))
        asked = service(node.flow, node.office, who, node.shared.telemetry)
        with pytest.raises(NotPermitted) as refused:
            await getattr(service, method).__wrapped__(asked, request_, None)

        assert refused.value.event_id
        assert node.refusals() == ["NOT_PERMITTED"]
