"""Is a caller shown the lines that he may request, and no others?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kit.acme import CI, RELEASE, TEST, caller
from kit.governed import Governed
from sealpress.config import Limits
from sealpress.governance import facts as f
from sealpress.rpc.signing import SigningService
from sealpress.v1 import signing_pb2 as pb
from sealpress.values import KeyClass


class Builder:
    """Finds the CI behind every call."""

    def caller(self, context: Any) -> Any:
        """It."""
        del context
        return caller(CI)


async def test_who_was_offboarded_is_shown_no_line(tmp_path: Path) -> None:
    """A policy may still name him, as a rule for many does: what GetKey refuses ListKeys does not tell."""
    async with Governed(tmp_path, lines={RELEASE: KeyClass.RELEASE, TEST: KeyClass.TEST}) as node:
        await node.begin()
        service = SigningService(node.flow, Builder(), Limits(), node.shared.telemetry)  # type: ignore[arg-type]
        before = await service.ListKeys(pb.ListKeysRequest(), None)
        await node.write(f.IdentityMoved(identity="workload:ci", verb="offboard", actor="", reason="left"))
        after = await service.ListKeys(pb.ListKeysRequest(), None)

    assert len(before.keys) == 2
    assert not after.keys
