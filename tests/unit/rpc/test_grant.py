"""What does it cost to ask for a grant: a job its token, the daemon its time?"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kit.acme import RELEASE, caller, digest
from kit.governed import Governed
from kit.issuer import AUDIENCE, URLS
from kit.token_desk import HOME, Desk
from sealpress.config import Limits
from sealpress.errors import Busy, NotPermitted
from sealpress.rpc import grant
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


def columns(count: int) -> pb.SubmitManifestRequest:
    """A release of so many digests."""
    return pb.SubmitManifestRequest(
        release_id=str(count), key=RELEASE, algorithm=types_pb2.DIGEST_ALGORITHM_SHA256, reason="release",
        digests=b"".join(digest(number) for number in range(count)),
    )  # fmt: skip


class Counted:
    """A message that counts how often its digests are looked at: each time they are copied."""

    def __init__(self, message: pb.SubmitManifestRequest) -> None:
        """Never yet."""
        self._message = message
        self.looks = 0

    def __getattr__(self, name: str) -> Any:
        self.looks += name == "digests"
        return getattr(self._message, name)


async def test_a_long_release_is_copied_once(tmp_path: Path) -> None:
    """Not once for each of its digests: a hundred thousand kept the loop, and everybody, for seven seconds."""
    async with Governed(tmp_path, lines={RELEASE: KeyClass.RELEASE}) as node:
        await node.begin()
        who: Any = SimpleNamespace(caller=lambda _: caller(), consumed=lambda found: found)
        service = GrantService(node.flow, node.office, who, Limits(), node.shared.telemetry)
        asked = Counted(columns(1_000))
        answer = await getattr(GrantService.SubmitManifest, "__wrapped__")(service, asked, None)  # noqa: B009

    assert answer.grant.max_uses == 1_000
    assert asked.looks == 1


async def test_a_release_is_not_taken_apart_for_who_may_not_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger's longest release costs a look at his name; the refusal is recorded."""
    monkeypatch.setattr(grant, "_item", None)  # whoever makes one fails
    async with Governed(tmp_path, lines={RELEASE: KeyClass.RELEASE}) as node:
        await node.begin()
        who: Any = SimpleNamespace(caller=lambda _: caller("uri:stranger"), consumed=lambda found: found)
        service = GrantService(node.flow, node.office, who, Limits(), node.shared.telemetry)
        asked = pb.RequestGrantRequest(
            release_id="1", key=RELEASE, algorithm=types_pb2.DIGEST_ALGORITHM_SHA256, items=[pb.ReleaseItem()]
        )
        for method, request in (("SubmitManifest", columns(2)), ("RequestGrant", asked)):
            with pytest.raises(NotPermitted) as refused:
                await getattr(GrantService, method).__wrapped__(service, request, None)
            assert refused.value.event_id
        assert node.refusals() == ["NOT_PERMITTED"] * 2
