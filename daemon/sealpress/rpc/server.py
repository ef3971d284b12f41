"""The gRPC listeners: services, health, reflection, bounds.

Guarantees: a listener requires a client certificate or, with a gate, a token before it reads a message; it has its port
alone (no SO_REUSEPORT), and bounds messages, connections, streams, metadata, pings and connection age; our own checks
answer before gRPC's limits do. Does not: know what services do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from sealpress.config import Limits
from sealpress.errors import CannotStart
from sealpress.rpc import accepting, signing
from sealpress.rpc.access import AccessService
from sealpress.rpc.approval import ApprovalService
from sealpress.rpc.audit import AuditService
from sealpress.rpc.grant import GrantService
from sealpress.rpc.interceptors import Gate, Readable
from sealpress.rpc.issuance import IssuanceService
from sealpress.rpc.policy import PolicyService
from sealpress.rpc.retirement import RetirementService
from sealpress.rpc.signing import SigningService
from sealpress.v1 import (
    access_pb2,
    access_pb2_grpc,
    approval_pb2,
    approval_pb2_grpc,
    audit_pb2,
    audit_pb2_grpc,
    grant_pb2,
    grant_pb2_grpc,
    issuance_pb2,
    issuance_pb2_grpc,
    policy_pb2,
    policy_pb2_grpc,
    retirement_pb2,
    retirement_pb2_grpc,
    signing_pb2,
)

HEADROOM_BYTES = 1 << 20  # so that a message of exactly the limit still reaches our own check
METADATA_BYTES_MAX = 16 << 10
METADATA_WITH_TOKEN_BYTES_MAX = 24 << 10  # a token of the longest that we look at, and the rest
PING_INTERVAL_MS_MIN = 5_000  # half of the shortest that clients in Go and Java have: none of theirs comes too early
HANDSHAKE_MS_MAX = 10_000  # a connection counts from its first byte, so one that says nothing must not stay
WINDOW_BYTES = 1 << 20  # of content on its way to a call that has not read it: what one uploads in a round trip
GUARD_FACTOR = 4  # concurrent calls beyond our own queue's bound: the last guard, without a delay in its answer
STOP_GRACE_S = 1.0


@dataclass(frozen=True, slots=True)
class Governing:
    """The services of a governed node."""

    grant: GrantService
    issuance: IssuanceService
    retirement: RetirementService
    approval: ApprovalService
    access: AccessService
    policy: PolicyService


@dataclass(frozen=True, slots=True)
class Services:
    """All that there are."""

    signing: SigningService
    audit: AuditService
    governing: Governing | None = None

    def offered(self, names: Sequence[str]) -> list[tuple[Any, Any, str]]:
        """For the names of a listener: how each service is added, the service, and its full name."""
        found: list[tuple[Any, Any, str]] = []
        if "signing" in names:
            found.append((signing.add_to_server, self.signing,
                          _name(signing_pb2, "SigningService")))  # fmt: skip
            if self.governing is not None:
                found.append((grant_pb2_grpc.add_GrantServiceServicer_to_server, self.governing.grant,
                              _name(grant_pb2, "GrantService")))  # fmt: skip
        if "audit" in names:
            found.append((audit_pb2_grpc.add_AuditServiceServicer_to_server, self.audit,
                          _name(audit_pb2, "AuditService")))  # fmt: skip
        if "control" in names and self.governing is not None:
            g = self.governing
            found += [
                (issuance_pb2_grpc.add_IssuanceServiceServicer_to_server, g.issuance,
                 _name(issuance_pb2, "IssuanceService")),
                (retirement_pb2_grpc.add_RetirementServiceServicer_to_server, g.retirement,
                 _name(retirement_pb2, "RetirementService")),
                (approval_pb2_grpc.add_ApprovalServiceServicer_to_server, g.approval,
                 _name(approval_pb2, "ApprovalService")),
                (access_pb2_grpc.add_AccessServiceServicer_to_server, g.access,
                 _name(access_pb2, "AccessService")),
                (policy_pb2_grpc.add_PolicyServiceServicer_to_server, g.policy,
                 _name(policy_pb2, "PolicyService")),
            ]  # fmt: skip
        return found


def _name(module: Any, service: str) -> str:
    return str(module.DESCRIPTOR.services_by_name[service].full_name)


def options(limits: Limits, metadata_bytes_max: int = METADATA_BYTES_MAX) -> list[tuple[str, int]]:
    """Channel arguments of every listener."""
    age_ms = limits.connection_age_s * 1_000
    guard = GUARD_FACTOR * limits.requests_pending_max
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", limits.message_bytes_max + HEADROOM_BYTES),
        ("grpc.max_send_message_length", -1),  # what we answer is bounded by what was asked
        ("grpc.max_metadata_size", metadata_bytes_max),
        # none but the identity: a message is read whole before anybody is asked for his rights, and zeros compress to
        # a thousandth, digests not at all
        ("grpc.compression_enabled_algorithms_bitset", 1),
        # else a window is 4 MiB, or twice what a probe believes to be under way: our memory, by the caller's pace
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
        ("grpc.max_concurrent_streams", limits.streams_per_connection_max),
        # calls that were answered and not yet freed: without room for some, gRPC counts them among the streams, and
        # resets calls of a caller who keeps to his limit
        ("grpc.http2.max_deallocating_streams", 2 * limits.streams_per_connection_max),
        ("grpc.max_allowed_incoming_connections", limits.connections_max),
        # calls that the loop has yet to take up: of more than 1,000, gRPC cancels some, without a reason or a delay
        ("grpc.server.max_pending_requests", guard),
        ("grpc.server.max_pending_requests_hard_limit", guard),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS_MAX),
        ("grpc.max_connection_age_ms", age_ms),
        ("grpc.max_connection_age_grace_ms", limits.drain_ms_max),
        ("grpc.http2.min_ping_interval_without_data_ms", PING_INTERVAL_MS_MIN),
        ("grpc.keepalive_permit_without_calls", 1),  # else pings of an idle connection are too many below two hours
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
        services: Services,
        gate: Gate | None = None,
    ) -> None:
        """Bind; with a gate for tokens. CannotStart PORT_IN_USE."""
        self._server = accepting.server(
            options(limits, METADATA_BYTES_MAX if gate is None else METADATA_WITH_TOKEN_BYTES_MAX),
            () if gate is None else (gate,),
            GUARD_FACTOR * limits.requests_pending_max,
        )
        self._health = health.aio.HealthServicer()
        offered = services.offered(names)
        readable = Readable(self._server)
        for add, service, _ in offered:
            add(service, readable)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._offered = [name for _, _, name in offered]
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
