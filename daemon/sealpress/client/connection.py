"""The connections of an asynchronous client: a channel to each listener, and who asks again when.

Guarantees: a retry carries the same request id, so that nothing is signed twice; waits between retries are bounded; a
certificate that was replaced since is taken when a connection is refused or lost. Does not: look into answers.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import grpc

from sealpress.client.config import ClientConfig
from sealpress.client.errors import UNREACHED_MAX, from_rpc, retry_wait_ms
from sealpress.client.tls import KEEPALIVE, RECONNECT, credentials, stamps
from sealpress.client.token import TokenFile
from sealpress.errors import ConfigError, SealpressError, TransportError
from sealpress.v1 import audit_pb2_grpc, signing_pb2_grpc

MESSAGE_BYTES_MAX = 64 << 20
_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),  # else clients of one process share a connection, and so its streams
    *KEEPALIVE,
    *RECONNECT,
)


class Connection:
    """One channel to each listener."""

    def __init__(self, config: ClientConfig, *, attempts_max: int, timeout_s: float) -> None:
        """Checks our own certificate; connects on first use. ConfigError or TransportError if it will not do."""
        self.config = config
        self.attempts_max = attempts_max
        self.timeout_s = timeout_s
        self._token = TokenFile(config.path(config.token)) if config.token else None
        self._channels: list[grpc.aio.Channel] = []
        self._leaving: set[asyncio.Future[None]] = set()
        self._open()
        self.connected = False

    def _open(self) -> None:
        """Channels with our certificate as it is now; what is under way on the former ones has its time to end."""
        self._files = stamps(self.config)
        trust, signing, audit = credentials(self.config), self.config.signing, self.config.audit or self.config.signing
        channels = {to: grpc.aio.secure_channel(to, trust, options=_OPTIONS) for to in (signing, audit)}
        leaving = {asyncio.ensure_future(channel.close(self.timeout_s)) for channel in self._channels}
        self._leaving = leaving | {one for one in self._leaving if not one.done()}
        self._channels = list(channels.values())
        self.signing: Any = signing_pb2_grpc.SigningServiceStub(channels[signing])  # type: ignore[no-untyped-call]
        self.audit: Any = audit_pb2_grpc.AuditServiceStub(channels[audit])  # type: ignore[no-untyped-call]

    def _renewed(self) -> bool:
        """Whether our certificate has another in its place, with which there are channels now."""
        if stamps(self.config) == self._files:
            return False
        with suppress(ConfigError, TransportError):  # for one whose key is still the former
            self._open()
            return True
        return False

    async def close(self) -> None:
        """Every one; calls under way end with CONNECTION_LOST."""
        for one in self._leaving:
            one.cancel()
        for channel in self._channels:
            await channel.close()
        await asyncio.gather(*self._leaving, return_exceptions=True)

    def until(self) -> float:
        """When a call that begins now has to be over, on the loop's clock."""
        return asyncio.get_running_loop().time() + self.timeout_s

    async def ask(
        self,
        call: Callable[[], Callable[..., Awaitable[Any]]],
        request: Any,
        until: float | None = None,
        *,
        attempt_s: float = math.inf,
    ) -> Any:
        """One unary call with its retries, all of it before `until`.

        `attempt_s`: of a request with an id, which may be asked again when it had no answer for so long.
        """
        until, now_s = until or self.until(), asyncio.get_running_loop().time
        attempt = late = 0
        while True:
            try:
                left_s = max(until - now_s(), 0.0)
                answer = await call()(request, timeout=min(left_s, attempt_s), metadata=self.metadata())
            except grpc.RpcError as error:
                found = self.error(error)
                if found.reason == "DEADLINE" and left_s > attempt_s and late + 1 < self.attempts_max:
                    late += 1
                else:
                    attempt = await self.pause(found, attempt, until)
                continue
            self.connected = True
            return answer

    async def pause(self, found: Exception, attempt: int, until: float = math.inf) -> int:
        """Before it may be asked again, for which time that will be; raises `found` if it may not, or not in time."""
        in_time_s = until - asyncio.get_running_loop().time()
        if isinstance(found, TransportError) and in_time_s > 0 and self._renewed():
            return attempt
        wait_ms = retry_wait_ms(found, attempt)
        most = self.attempts_max
        if getattr(found, "reason", "") == "UNREACHABLE" and not self.connected:
            most = min(most, UNREACHED_MAX)
        if wait_ms is None or attempt + 1 >= most or wait_ms >= 1000 * in_time_s:
            raise found from None
        await asyncio.sleep(wait_ms / 1000)
        return attempt + 1

    def metadata(self) -> tuple[tuple[str, str], ...] | None:
        """What proves who we are where a certificate does not; only ever sent over TLS."""
        return None if self._token is None else self._token.metadata()

    def error(self, error: grpc.RpcError) -> SealpressError:
        """What it says, as one of the tree."""
        found = from_rpc(error, connected=self.connected)
        self.connected = self.connected or error.code() is not grpc.StatusCode.UNAVAILABLE
        return found
