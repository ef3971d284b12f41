"""From gRPC statuses back to the error tree: the reason of google.rpc.ErrorInfo decides, not the text.

Guarantees: every RpcError becomes a SealpressError; `retry_wait_ms` says whether to ask again, and when.
Does not: sleep or send.
"""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from sealpress import errors
from sealpress.client.tls import THREE_THINGS

DOMAIN = "sealpress"
RETRY_MS_FIRST = 100
RETRY_MS_MAX = 5_000
UNREACHED_MAX = 6  # attempts of one who was never connected: three seconds, in which a daemon can be started again
BROKEN_WRITE = "Internal error from Core"  # grpc.aio's word for a stream whose connection broke under a write
# what gRPC says when no connection came to be, and no handshake began: the system's words, or the name has no address
NOT_REACHED = (
    "failed to connect to remote host",
    "connect failed",
    "connection refused",
    "timed out",
    "resolving",
    "dns",
)

# what gRPC says of calls for which it had no connection; all else ends one that was there, be it at its first call
NEVER_THERE = ("failed to connect to all addresses", "connections to all backends failing")
# what gRPC says of a message or metadata that is too large for one of both sides: it will be so the next time, too
TOO_LARGE = ("message larger than max", "exceeds hard limit")
CLOSED_EARLY = "handshake read failed"  # and not the handshake: a certificate is refused with an alert, or behind it

_BY_CODE: dict[grpc.StatusCode, type[errors.Refusal]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.Malformed,
    grpc.StatusCode.PERMISSION_DENIED: errors.NotPermitted,
    grpc.StatusCode.UNAUTHENTICATED: errors.NotPermitted,
    grpc.StatusCode.ALREADY_EXISTS: errors.Conflict,
    grpc.StatusCode.ABORTED: errors.OutcomeUnknown,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.Busy,
    grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.TimedOut,
    grpc.StatusCode.FAILED_PRECONDITION: errors.Precondition,
}


def from_rpc(error: grpc.RpcError, *, connected: bool) -> errors.SealpressError:
    """`connected`: did this channel ever get an answer? If not, a closed connection is a refused handshake."""
    status = None
    try:
        status = rpc_status.from_call(error)
    except (ValueError, AttributeError, DecodeError):
        status = None
    if status is not None:
        found = from_details(error.code(), status.message, status.details)
        if found is not None:
            return found
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return errors.Precondition(
            "the listener at this address does not offer this",
            reason="NOT_OFFERED",
            hint="the node is not governed, or client.toml names another listener than the one with this service",
        )
    broken = error.code() is grpc.StatusCode.INTERNAL and BROKEN_WRITE in (error.details() or "")
    ended = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)  # the second by a server that stops, not by us
    if error.code() in ended or broken:
        details = error.details() or ""
        there = not details.lower().startswith(NEVER_THERE)  # a call that was on it: the handshake was long over
        return _transport(details, connected=connected or there)
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and any(
        words in (error.details() or "") for words in TOO_LARGE
    ):
        return errors.Malformed(
            error.details() or "", reason="TOO_LARGE", hint="ask for fewer at once, or with shorter names and texts"
        )
    return _BY_CODE.get(error.code(), errors.Internal)(error.details() or error.code().name)


def from_details(code: grpc.StatusCode, message: str, details: Any) -> errors.Refusal | None:
    """From the Any list of a google.rpc.Status; None without our ErrorInfo."""
    info, delay = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    ours, wait_ms = False, 0
    try:
        for detail in details:
            if detail.Is(info.DESCRIPTOR):
                detail.Unpack(info)
                ours = info.domain == DOMAIN
            elif detail.Is(delay.DESCRIPTOR):
                detail.Unpack(delay)
                wait_ms = max(0, delay.retry_delay.seconds * 1000 + delay.retry_delay.nanos // 1_000_000)
    except DecodeError:
        return None
    if not ours:
        return None
    kind = _BY_CODE.get(code, errors.Internal)
    metadata = dict(info.metadata)
    hint, event_id = metadata.pop("hint", ""), metadata.pop("event_id", "")
    if issubclass(kind, errors.Precondition):
        return kind(message, reason=info.reason, hint=hint, event_id=event_id, metadata=metadata)
    return kind(
        message,
        reason=info.reason,
        hint=hint,
        retry_after_ms=wait_ms,
        event_id=event_id,
    )


def _transport(details: str, *, connected: bool) -> errors.TransportError:
    lowered = details.lower()
    if any(words in lowered for words in NOT_REACHED):
        return errors.TransportError(
            f"the daemon cannot be reached: {details}", reason="UNREACHABLE", hint="is it running at this address?"
        )
    if not connected and CLOSED_EARLY in lowered:
        return errors.TransportError(
            "the connection was closed before its TLS handshake was over",
            reason="CONNECTION_LOST",
            hint="the daemon has as many connections as it may ([limits] connections_max) or stops: ask again later; "
            "if it is always so, its certificate may be of a kind that we do not speak",
        )
    if connected:
        return errors.TransportError(
            "the connection to the daemon was lost", reason="CONNECTION_LOST", hint="ask again with the same request id"
        )
    return errors.TransportError("the server refused the TLS handshake", reason="HANDSHAKE_REFUSED", hint=THREE_THINGS)


def retry_wait_ms(error: Exception, attempt: int) -> int | None:
    """How long to wait before asking again with the same request id; None: do not. `attempt` counts from 0."""
    backoff = min(RETRY_MS_FIRST << attempt, RETRY_MS_MAX)
    if isinstance(error, errors.TransportError):
        return backoff if error.reason in ("CONNECTION_LOST", "UNREACHABLE") else None
    if isinstance(error, errors.Busy | errors.Unavailable):
        return max(min(error.retry_after_ms, RETRY_MS_MAX), backoff)
    return None
