"""What a listener answers by itself, on the grpc that is installed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from kit.token_desk import Desk
from sealpress.config import Limits
from sealpress.rpc.audit import AuditService
from sealpress.rpc.grant import GrantService
from sealpress.rpc.interceptors import Callers, Gate
from sealpress.rpc.server import Governing, Listener, Services
from sealpress.rpc.signing import SigningService
from sealpress.telemetry import Telemetry

NO_MESSAGE = b"\xff"
NOTHING: Any = None


async def _answered(calls: Sequence[tuple[str, str, list[bytes]]], *, by_token: bool) -> list[tuple[str, str]]:
    """Code and reason of calls (method, kind, what is sent) to a listener whose services are never reached."""
    desk = Desk()
    telemetry = Telemetry(desk.clock)
    callers = Callers(desk.clock, telemetry, desk.tokens)
    governing = Governing(GrantService(NOTHING, NOTHING, callers, Limits(), telemetry), *[NOTHING] * 5)
    services = Services(
        SigningService(NOTHING, callers, Limits(), telemetry),
        AuditService(NOTHING, callers, telemetry, NOTHING),
        governing,
    )
    gate = Gate(callers, desk.tokens, telemetry) if by_token else None
    offered = ("signing", "audit")
    listener = Listener("127.0.0.1:0", offered, grpc.local_server_credentials(), Limits(), services, gate)
    await listener.start()
    found = []
    async with grpc.aio.secure_channel(listener.address, grpc.local_channel_credentials()) as channel:
        for method, kind, sent in calls:
            token = (("authorization", f"Bearer {desk.github.token()}"),)
            call = getattr(channel, f"stream_{kind}")(f"/sealpress.v1.{method}")(iter(sent), metadata=token, timeout=20)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await (call if kind == "unary" else call.read())
            found.append((caught.value.code().name, _reason(caught.value)))
    await listener.stop()
    return found


def _reason(error: grpc.aio.AioRpcError) -> str:
    rich = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    info = ErrorInfo()
    for detail in Status.FromString(rich).details:
        detail.Unpack(info)
    return str(info.reason)


@pytest.mark.parametrize("by_token", [False, True])
def test_a_request_that_is_no_message_is_told_so(by_token: bool) -> None:
    """Every kind of call answers INVALID_ARGUMENT with a reason, also behind a token's gate; nothing is UNKNOWN."""
    calls = [
        ("SigningService/Sign", "unary", [NO_MESSAGE]),
        ("SigningService/ListKeys", "unary", [NO_MESSAGE]),
        ("SigningService/SignContent", "unary", [NO_MESSAGE]),
        ("AuditService/GetStatus", "unary", [NO_MESSAGE]),
        ("AuditService/Tail", "stream", [NO_MESSAGE]),
        ("GrantService/WatchGrant", "stream", [NO_MESSAGE]),
    ]

    assert [("INVALID_ARGUMENT", "BAD_REQUEST")] * len(calls) == asyncio.run(_answered(calls, by_token=by_token))


def test_a_call_without_its_message_is_told_so() -> None:
    """The gate of a token listener gives a reason, too."""
    calls: list[tuple[str, str, list[bytes]]] = [("SigningService/Sign", "unary", [])]

    assert [("INVALID_ARGUMENT", "BAD_REQUEST")] == asyncio.run(_answered(calls, by_token=True))
