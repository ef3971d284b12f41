"""Errors of the tree to gRPC: one table, google.rpc.ErrorInfo and a RetryInfo delay.

ErrorInfo has domain "sealpress", the stable reason, and in `metadata` what to do (`hint`), where a record was written
its `event_id`, and of a precondition what must happen first (`change_id`, `grant_id`, …).

Guarantees: only text that the tree marks as meant for callers leaves; a foreign exception becomes INTERNAL.
Does not: log, count, or send.
"""

from __future__ import annotations

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from sealpress import errors
from sealpress.steps._grounds import SHUTTING_DOWN, outcome_unknown

DOMAIN = "sealpress"
DETAILS_KEY = "grpc-status-details-bin"
PUSHBACK_KEY = "grpc-retry-pushback-ms"
TEXT_MAX = 512

CODES: dict[type[errors.Refusal], grpc.StatusCode] = {
    errors.Malformed: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotPermitted: grpc.StatusCode.PERMISSION_DENIED,
    errors.Precondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Conflict: grpc.StatusCode.ALREADY_EXISTS,
    errors.OutcomeUnknown: grpc.StatusCode.ABORTED,
    errors.Busy: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.TimedOut: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Internal: grpc.StatusCode.INTERNAL,
}
INTERNAL = errors.Internal(
    "the daemon has a bug; it is in its log", hint="ask again with the same request_id; tell the operator the time"
)


def code_of(refusal: errors.Refusal) -> grpc.StatusCode:
    """The gRPC code of a refusal."""
    for kind in type(refusal).__mro__:
        if kind in CODES:
            return CODES[kind]
    return grpc.StatusCode.INTERNAL


def to_refusal(error: BaseException) -> errors.Refusal:
    """What the caller may know of any exception."""
    if isinstance(error, errors.Refusal):
        return error
    if isinstance(error, DecodeError):
        return errors.Malformed("a message cannot be read", hint="send messages of protos/sealpress/v1")
    if isinstance(error, errors.Damaged):
        return outcome_unknown()
    return INTERNAL


def to_status(refusal: errors.Refusal) -> Status:
    """The rich status: message, ErrorInfo and, if it makes sense to come back, RetryInfo."""
    status = Status(code=code_of(refusal).value[0], message=refusal.message[:TEXT_MAX])
    metadata: dict[str, str] = {}
    if isinstance(refusal, errors.Precondition):
        metadata |= {name: text[:TEXT_MAX] for name, text in refusal.metadata.items()}
    if refusal.hint:
        metadata["hint"] = refusal.hint[:TEXT_MAX]
    if refusal.event_id:
        metadata["event_id"] = refusal.event_id
    status.details.append(_packed(ErrorInfo(reason=refusal.reason, domain=DOMAIN, metadata=metadata)))
    if refusal.retry_after_ms:
        seconds, rest = divmod(refusal.retry_after_ms, 1_000)
        status.details.append(_packed(RetryInfo(retry_delay=Duration(seconds=seconds, nanos=rest * 1_000_000))))
    return status


def trailing(refusal: errors.Refusal, rich: Status) -> tuple[tuple[str, str | bytes], ...]:
    """What goes out behind a refusal, for who reads it and for retry policies, which know nothing of RetryInfo.

    A policy has some four attempts in a second: against a daemon that stops all are in vain, and the delay is right.
    Other refusals may pass sooner, or take longer than so few attempts at one distance: the policy's own grows.
    """
    details = (DETAILS_KEY, rich.SerializeToString())
    if refusal.reason != SHUTTING_DOWN:
        return (details,)
    return details, (PUSHBACK_KEY, str(refusal.retry_after_ms))


def _packed(message: ErrorInfo | RetryInfo) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed
