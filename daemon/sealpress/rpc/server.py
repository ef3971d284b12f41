"""The gRPC listeners: services, health, reflection, bounds.

Guarantees: a listener requires a client certificate, has its port alone (no SO_REUSEPORT), and bounds messages,
connections, streams, metadata, pings and connection age; our own checks answer before gRPC's limits do. Does not:
know what services do.
"""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from sealpress.config import Limits
from sealpress.errors import CannotStart
from sealpress.rpc.audit import AuditService
from sealpress.rpc.signing import SigningService
from sealpress.v1 import audit_pb2, audit_pb2_grpc, signing_pb2, signing_pb2_grpc

HEADROOM_BYTES = 1 << 20  # so that a message of exactly the limit still reaches our own check
METADATA_BYTES_MAX = 16 << 10
PING_INTERVAL_MS_MIN = 10_000
HANDSHAKE_MS_MAX = 10_000  # a connection counts from its first byte, so one that says nothing must not stay
GUARD_FACTOR = 4  # concurrent calls beyond our own queue's bound: the last guard, without a delay in its answer
STOP_GRACE_S = 1.0

_NAMES = {
    "signing": signing_pb2.DESCRIPTOR.services_by_name["SigningService"].full_name,
    "audit": audit_pb2.DESCRIPTOR.services_by_name["AuditService"].full_name,
}


def options(limits: Limits) -> list[tuple[str, int]]:
    """Channel arguments of every listener."""
    age_ms = limits.connection_age_s * 1_000
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", limits.message_bytes_max + HEADROOM_BYTES),
        ("grpc.max_send_message_length", -1),  # what we answer is bounded by what was asked
        ("grpc.max_metadata_size", METADATA_BYTES_MAX),
        ("grpc.max_concurrent_streams", limits.streams_per_connection_max),
        ("grpc.max_allowed_incoming_connections", limits.connections_max),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS_MAX),
        ("grpc.max_connection_age_ms", age_ms),
        ("grpc.max_connection_age_grace_ms", limits.drain_ms_max),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", PING_INTERVAL_MS_MIN),
        ("grpc.http2.max_ping_strikes", 2),
    ]


class Listener:
    """One address with some services."""

    def __init__(
        self,
        address: str,
        names: Sequence[str],
        credentials: grpc.ServerCredentials,
        limits: Limits,
        services: tuple[SigningService, AuditService],
    ) -> None:
        """Bind. CannotStart PORT_IN_USE."""
        signing, audit = services
        bound = GUARD_FACTOR * limits.requests_pending_max
        self._server = grpc.aio.server(options=options(limits), maximum_concurrent_rpcs=bound)
        self._health = health.aio.HealthServicer()
        if "signing" in names:
            signing_pb2_grpc.add_SigningServiceServicer_to_server(signing, self._server)  # type: ignore[no-untyped-call]
        if "audit" in names:
            audit_pb2_grpc.add_AuditServiceServicer_to_server(audit, self._server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._offered = [_NAMES[name] for name in names if name in _NAMES]
        shown = (*self._offered, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(shown, self._server)
        host = address.rpartition(":")[0]
        try:
            port = self._server.add_secure_port(address, credentials)
        except RuntimeError:
            port = 0
        if port == 0:
            raise CannotStart(
                f"cannot listen on {address}",
                reason="PORT_IN_USE",
                hint="another process has the port, or it is not an address of this machine: see [[listen]]",
            )
        self.address = f"{host}:{port}"

    async def start(self) -> None:
        """Serve; health says SERVING."""
        await self._server.start()
        for name in ("", *self._offered):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def drain(self) -> None:
        """Health says NOT_SERVING, so that load balancers look elsewhere; calls under way go on."""
        await self._health.enter_graceful_shutdown()

    async def stop(self) -> None:
        """End what is left."""
        await self._server.stop(STOP_GRACE_S)
