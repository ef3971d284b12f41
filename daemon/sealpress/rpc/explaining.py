"""Records as auditors and requesters are told them: what Explain found, and lists of governance records.

Guarantees: a list ends with the event that fills a page. Does not: ask who may, or choose a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from sealpress.errors import Malformed, Precondition
from sealpress.rpc import convert, views
from sealpress.steps._ticket import LogState
from sealpress.tlog import explain
from sealpress.tlog.entry import GovernanceEvent, RequestEvent
from sealpress.tlog.record import Record
from sealpress.v1 import audit_pb2 as pb
from sealpress.values import RecordType

PAGE_BYTES = 16 << 20  # a list ends with the event that reaches it: who asked can take it, and goes on from there


def asked_for(request: pb.ExplainRequest) -> tuple[str, bytes]:
    """What is asked for: its kind and the bytes to look for."""
    kind = request.WhichOneof("what")
    if kind == "digest":
        algorithm = convert.algorithm_of(request.digest.algorithm)
        if len(request.digest.value) != algorithm.size:
            raise Malformed(f"{algorithm.label} digests have {algorithm.size} bytes", reason="DIGEST_LENGTH")
        return kind, request.digest.value
    if kind == "event_id":
        raw = explain.parse_ulid(request.event_id)
        if raw is None:
            hint = "it is in every answer and refusal; a digest is asked for as sha256:HEX"
            raise Malformed("an event id has 26 letters and digits", hint=hint)
        return kind, raw
    if kind == "signature_sha256":
        if len(request.signature_sha256) != 32:
            raise Malformed("signature_sha256 has 32 bytes", reason="DIGEST_LENGTH")
        return kind, request.signature_sha256
    raise Malformed("say what to explain", hint="a digest, an event id, or the SHA-256 of a signature")


def story(
    log: LogState,
    what: tuple[str, bytes],
    owner: str | None,
    why: Callable[[RequestEvent], dict[str, Any]] | None,
) -> list[pb.LogEvent]:
    """The story of it in one log; `owner`: only requests of this identity and what became of them, and no rules."""
    kind, raw = what
    reader = log.log.reader
    search = {"digest": explain.by_digest, "event_id": explain.by_event_id, "signature_sha256": explain.by_signature}
    found = search[kind](reader, raw)
    if owner is not None:
        found = (record for record in found if getattr(record.head.event, "identity", None) == owner)
    told = explain.story(reader, found, raw if kind == "digest" else None, why if owner is None else None)
    return [_told(log, event) for event in (told if owner is None else explain.for_requester(told))]


def look_elsewhere(logs: Iterable[LogState]) -> None:
    """Nothing was found: Precondition LOG_ARCHIVED if records of these logs are elsewhere, so that it means little."""
    for log in logs:
        first = log.log.reader.numbers().start
        if first:
            header = log.log.reader.segment(first).header
            raise Precondition(
                f"nothing is recorded of it since seq {header.first_seq} of log {log.id}; the older records were "
                "archived, and are not searched here",
                reason="LOG_ARCHIVED",
                hint="an operator reads them with `sealpress log show <data>/<log>`, or brings them back with "
                "`sealpress log unarchive` while the daemon stands",
            )


def _told(log: LogState, event: dict[str, Any]) -> pb.LogEvent:
    return pb.LogEvent(
        log=log.id,
        seq=event["seq"],
        time_ns=event["time_ns"],
        type=event["type"],
        first_leaf_index=event["first_leaf_index"],
        count=event["count"],
        json=msgspec.json.encode(event).decode(),
    )


def log_event(log: LogState, record: Record) -> pb.LogEvent:
    """One record as it is told."""
    return _told(log, explain.describe(record))


def listed(log: LogState, asked: pb.ListEventsRequest) -> pb.ListEventsResponse:
    """Governance records of a kind, or of all kinds that begin with `kind` and its dot."""
    limit, size = views.count(asked.limit), 0
    found: list[pb.LogEvent] = []
    reader = log.log.reader
    for record in reader.of_types((RecordType.GOVERNANCE,), reader.since_seq(asked.from_seq), indexed=True):
        event: GovernanceEvent = record.head.event
        if (
            asked.kind
            and event.kind != asked.kind
            and not (asked.kind.endswith(".") and event.kind.startswith(asked.kind))
        ):
            continue
        if len(found) == limit or size >= PAGE_BYTES:
            return pb.ListEventsResponse(events=found, next_seq=record.seq)
        found.append(log_event(log, record))
        size += len(found[-1].json)
    return pb.ListEventsResponse(events=found)
