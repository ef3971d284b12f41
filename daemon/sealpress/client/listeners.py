"""The way of those who govern to each listener: the stub of every service, one call, and a stream for as long as asked.

Guarantees: a call that changes something is sent once, never again by itself; only what found nobody at the address is
asked again; each call goes with our certificate as it is now. Does not: know what is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import grpc

from sealpress.client.config import ClientConfig
from sealpress.client.errors import RETRY_MS_MAX, UNREACHED_MAX, from_rpc, retry_wait_ms
from sealpress.client.tls import KEEPALIVE, RECONNECT, credentials, stamps
from sealpress.client.token import TokenFile
from sealpress.errors import ConfigError, SealpressError, TransportError
from sealpress.v1 import (
    access_pb2_grpc,
    approval_pb2_grpc,
    audit_pb2_grpc,
    grant_pb2_grpc,
    issuance_pb2_grpc,
    policy_pb2_grpc,
    retirement_pb2_grpc,
)

MESSAGE_BYTES_MAX = 64 << 20
_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.enable_retries", 0),
    *KEEPALIVE,
    *RECONNECT,
)
ENDED = ("SHUTTING_DOWN", "STREAM_ENDED")  # why a stream ends before what it follows does
PAUSE_S = 1.0  # before a stream that the daemon ended is asked for again
AWAY_MAX = 16  # attempts of who follows something, each after a longer pause: a minute


class Listeners:
    """One channel to each address, when it is first asked for."""

    def __init__(self, config: ClientConfig, timeout_s: float) -> None:
        """Checks our own certificate; connects on first use."""
        self.config = config
        self._timeout_s = timeout_s
        self._files = stamps(config)
        self._credentials = credentials(config)
        self._token = TokenFile(config.path(config.token)) if config.token else None
        self._channels: dict[str, grpc.Channel] = {}
        self._former: list[grpc.Channel] = []  # with the certificate before: what is under way there may end
        self._connected = False

    def close(self) -> None:
        """Close the connections."""
        for channel in (*self._channels.values(), *self._former):
            channel.close()

    @property
    def approval(self) -> Any:
        """Changes, approvals, what waits."""
        return approval_pb2_grpc.ApprovalServiceStub(self._channel("control"))  # type: ignore[no-untyped-call]

    @property
    def issuance(self) -> Any:
        """Keys, until they sign."""
        return issuance_pb2_grpc.IssuanceServiceStub(self._channel("control"))  # type: ignore[no-untyped-call]

    @property
    def retirement(self) -> Any:
        """Keys, from their end on, and stops."""
        return retirement_pb2_grpc.RetirementServiceStub(self._channel("control"))  # type: ignore[no-untyped-call]

    @property
    def access(self) -> Any:
        """Persons and roles."""
        return access_pb2_grpc.AccessServiceStub(self._channel("control"))  # type: ignore[no-untyped-call]

    @property
    def policy(self) -> Any:
        """The policy."""
        return policy_pb2_grpc.PolicyServiceStub(self._channel("control"))  # type: ignore[no-untyped-call]

    @property
    def grants(self) -> Any:
        """Releases, at the signing listener."""
        return grant_pb2_grpc.GrantServiceStub(self._channel("signing"))  # type: ignore[no-untyped-call]

    @property
    def audit(self) -> Any:
        """What is recorded."""
        return audit_pb2_grpc.AuditServiceStub(self._channel("audit"))  # type: ignore[no-untyped-call]

    def _channel(self, listener: str) -> grpc.Channel:
        address = getattr(self.config, listener) or (self.config.signing if listener == "audit" else "")
        if not address:
            raise ConfigError(f"client.toml has no `{listener}`", hint=f'{listener} = "host:port" of that listener')
        self._renew()
        if address not in self._channels:
            self._channels[address] = grpc.secure_channel(address, self._credentials, options=_OPTIONS)
        return self._channels[address]

    def _renew(self) -> None:
        """Take what was put in the place of our certificate; one that does not go with its key yet is left there."""
        files = stamps(self.config)
        if files == self._files:
            return
        with suppress(ConfigError, TransportError):
            self._credentials, self._files = credentials(self.config), files
            for channel in self._former:
                channel.close()
            self._former, self._channels = [*self._channels.values()], {}

    def _metadata(self) -> tuple[tuple[str, str], ...] | None:
        return None if self._token is None else self._token.metadata()

    def call(self, call: Callable[..., Any], request: Any) -> Any:
        """One unary call."""
        attempt = 0
        while True:
            try:
                answer = call(request, timeout=self._timeout_s, metadata=self._metadata())
            except grpc.RpcError as error:
                attempt = self._knock(self._error(error), attempt, UNREACHED_MAX)
                continue
            self._connected = True
            return answer

    def follow(self, call: Callable[[], Callable[..., Any]], request: Any) -> Iterator[Any]:
        """For as long as somebody listens: the daemon ends each stream after an hour, and one when it stops."""
        attempt = 0
        while True:
            try:
                for answer in call()(request, metadata=self._metadata()):
                    self._connected, attempt = True, 0
                    yield answer
                pause_s = PAUSE_S  # so ended the streams of earlier daemons
            except grpc.RpcError as error:
                found = self._error(error)
                if found.reason not in ENDED:
                    attempt = self._knock(found, attempt, AWAY_MAX if self._connected else UNREACHED_MAX)
                    continue
                pause_s = min(getattr(found, "retry_after_ms", 0), RETRY_MS_MAX) / 1_000
            time.sleep(pause_s)

    def _knock(self, found: SealpressError, attempt: int, attempts_max: int) -> int:
        """Wait before what found nobody at the address is asked once more: nothing of it was heard. Raises others."""
        ours = isinstance(found, TransportError)  # and no word of a daemon that heard it
        if not ours or found.reason != "UNREACHABLE" or attempt + 1 >= attempts_max:
            raise found from None
        time.sleep((retry_wait_ms(found, attempt) or 0) / 1_000)
        return attempt + 1

    def _error(self, error: grpc.RpcError) -> SealpressError:
        found = from_rpc(error, connected=self._connected)
        self._connected = self._connected or error.code() is not grpc.StatusCode.UNAVAILABLE
        return found
