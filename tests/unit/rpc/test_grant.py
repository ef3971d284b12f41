"""What does a token that is good for one grant cost a job that asks for it, and does not get it?"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kit.governed import RELEASE, Governed, digest
from kit.issuer import AUDIENCE, URLS
from kit.token_desk import HOME, Desk
from sealpress.config import Limits
from sealpress.errors import Busy, NotPermitted
from sealpress.rpc.grant import GrantService
from sealpress.rpc.interceptors import Callers
from sealpress.v1 import grant_pb2 as pb
from sealpress.v1 import types_pb2
from sealpress.values import KeyClass

RULE = f"""
[line."{RELEASE}".rule.gha]
action = "sign"
issuer = "{URLS["github"]}"
audience = "{AUDIENCE}"
claims.repository_id       = {{ eq = "74" }}
claims.repository_owner_id = {{ eq = "65" }}
claims.ref                 = {{ prefix = "refs/tags/v" }}
"""


def call(token: str) -> Any:
    """As much of a gRPC call as is looked at."""
    metadata = (("authorization", f"Bearer {token}"),)
    return SimpleNamespace(
        peer=lambda: HOME, auth_context=dict, time_remaining=lambda: None, invocation_metadata=lambda: metadata
    )


async def test_a_request_that_a_full_log_did_not_take_costs_no_use(tmp_path: Path) -> None:
    """LOG_FULL says to come back after the delay: the same token is taken then, once, and nobody is told of a thief."""
    desk = Desk()
    lines = {RELEASE: KeyClass.RELEASE}
    async with Governed(tmp_path, lines=lines, rules=RULE, clock=desk.clock) as node:
        await node.begin()
        callers = Callers(desk.clock, node.shared.telemetry, desk.tokens)
        service = GrantService(node.flow, node.office, callers, Limits(), node.shared.telemetry)
        item = pb.ReleaseItem(digest=digest("image"), name="router.img")
        asked = pb.RequestGrantRequest(
            release_id="1", key=RELEASE, algorithm=types_pb2.DIGEST_ALGORITHM_SHA256, items=[item], reason="release"
        )
        request = getattr(GrantService.RequestGrant, "__wrapped__")  # noqa: B009 - its refusals as they are
        job = call(desk.github.token())
        node.logs["gov"].space.filled()
        with pytest.raises(Busy) as full:
            await request(service, asked, job)
        desk.clock.advance(10)
        answer = await request(service, asked, job)
        asked.release_id = "2"
        with pytest.raises(NotPermitted) as again:
            await request(service, asked, job)

    assert full.value.reason == "LOG_FULL"
    assert answer.grant.state == "in_review"
    assert again.value.reason == "TOKEN_REPLAYED"
