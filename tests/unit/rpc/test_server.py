"""What a listener answers by itself, on the grpc that is installed."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc._cython import cygrpc

from kit.token_desk import Desk
from sealpress.client.tls import KEEPALIVE
from sealpress.config import Limits
from sealpress.rpc import server
from sealpress.rpc.audit import AuditService
from sealpress.rpc.grant import GrantService
from sealpress.rpc.interceptors import Callers, Gate
from sealpress.rpc.server import Governing, Listener, Services
from sealpress.rpc.signing import SigningService
from sealpress.telemetry import Telemetry

NO_MESSAGE = b"\xff"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER = struct.Struct(">BHBBI")  # of a frame: length in two parts, type, flags, stream
SETTINGS, PING = HEADER.pack(0, 0, 4, 0, 0), HEADER.pack(0, 8, 6, 0, 0) + bytes(8)
PINGED, GONE = 6, 7
NOTHING: Any = None


def _listener(desk: Desk, *, by_token: bool = False) -> Listener:
    """One whose services are never reached."""
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
    return Listener("127.0.0.1:0", offered, grpc.local_server_credentials(), Limits(), services, gate)


async def _answered(calls: Sequence[tuple[str, str, list[bytes]]], *, by_token: bool) -> list[tuple[str, str]]:
    """Code and reason of calls (method, kind, what is sent) to a listener whose services are never reached."""
    desk = Desk()
    listener = _listener(desk, by_token=by_token)
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


async def _pinged(interval_s: float, times: int) -> list[int]:
    """Types of the frames that come on a connection without calls that is pinged so often, until it ends or is left."""
    listener = _listener(Desk())
    await listener.start()
    host, _, port = listener.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(PREFACE + SETTINGS)
    came: list[int] = []

    async def read() -> None:
        while header := await reader.read(HEADER.size):
            high, low, kind, _, _ = HEADER.unpack(header)
            await reader.readexactly(high << 16 | low)
            came.append(kind)

    reading = asyncio.create_task(read())
    for _ in range(times):
        writer.write(PING)
        await asyncio.sleep(interval_s)
    reading.cancel()
    writer.close()
    await listener.stop()
    return came


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


def test_compressed_messages_are_refused() -> None:
    """Nobody makes the daemon hold 64 MiB by sending 64 KiB."""

    async def scenario() -> grpc.aio.AioRpcError:
        listener = _listener(Desk())
        await listener.start()
        async with grpc.aio.secure_channel(listener.address, grpc.local_channel_credentials()) as channel:
            method = channel.unary_unary("/sealpress.v1.SigningService/Sign")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await method(bytes(1 << 20), compression=grpc.Compression.Gzip)
        await listener.stop()
        return caught.value

    error = asyncio.run(scenario())

    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "gzip" in str(error.details())


def test_grpc_knows_every_argument() -> None:
    """A channel argument of another name would be left out without a word, and its bound be another one."""
    library = Path(cygrpc.__file__).read_bytes()

    assert not [name for name, _ in (*server.options(Limits()), *KEEPALIVE) if name.encode() not in library]


def test_an_idle_connection_may_be_pinged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pings at the allowed interval keep a connection without calls open, as those of fleets behind firewalls do."""
    monkeypatch.setattr(server, "PING_INTERVAL_MS_MIN", 100)

    came = asyncio.run(_pinged(0.15, times=8))

    assert came.count(PINGED) == 8
    assert GONE not in came


def test_pings_without_end_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pings that come faster than allowed end the connection."""
    monkeypatch.setattr(server, "PING_INTERVAL_MS_MIN", 100)

    assert GONE in asyncio.run(_pinged(0.02, times=8))
