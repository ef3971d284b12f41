"""Answers "when, why and by whom was it allowed?" from the records alone, in plain dicts for printing.

Guarantees: every string is ASCII without control characters, so no caller's text reaches a terminal raw; bytes are hex;
a hit is a record that means the thing asked for, not one that happens to hold its bytes; no signature of a line is
told, only its hash, so that nobody assembles from here what was withheld. Does not: index (it scans; use a thread), or
ask who may see it (rpc).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import msgspec

from sealpress.core import index
from sealpress.tlog import entry
from sealpress.tlog.entry import GovernanceEvent, OutcomeEvent, RefusalEvent, RequestEvent, RequestRef
from sealpress.tlog.reader import LogReader
from sealpress.tlog.record import NANOSECONDS, Record
from sealpress.values import RecordType

ITEMS_MAX = 100  # matching items shown of one request
EVENTS_MAX = 1_000
HEADS_BYTES = 16 << 20  # of the records that are told; their names and digests are not among them
TEXT_MAX = 65_536
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def by_digest(reader: LogReader, digest: bytes) -> Iterator[Record]:
    """REQUESTs with this digest in their column, and REFUSALs that name it."""
    for record in reader.find(digest, (RecordType.REQUEST, RecordType.REFUSAL), key=index.value_key(digest)):
        event = record.head.event
        if isinstance(event, RefusalEvent):
            if event.digest == digest:
                yield record
        elif matching_items(record, digest):
            yield record


def by_event_id(reader: LogReader, event_id: bytes) -> Iterator[Record]:
    """The REQUEST or REFUSAL with this id."""
    for record in reader.find(event_id, (RecordType.REQUEST, RecordType.REFUSAL), key=index.value_key(event_id)):
        if record.head.event.event_id == event_id:
            yield record


def by_signature(reader: LogReader, sha256: bytes) -> Iterator[Record]:
    """The OUTCOMEs that hold a signature with this hash, and the REQUESTs that they are about."""
    if not any(sha256):
        return  # what stands beside an item that failed is no hash
    for record in reader.find(sha256, (RecordType.OUTCOME,), key=index.value_key(sha256)):
        event: OutcomeEvent = record.head.event
        hashes = event.signature_sha256
        positions = [at for at in range(0, len(hashes), 32) if hashes[at : at + 32] == sha256]
        if not positions:
            continue
        refs = event.requests if event.checkpoint else [_ref_at(event, at // 32) for at in positions]
        for ref in refs:
            request = reader.request(ref.seq) if ref is not None else None
            if request is not None:
                yield request
        yield record


def facts_about(reader: LogReader, kind: str, id_: str) -> Iterator[bytes]:
    """Bodies of governance records of a kind that have this ULID in them, of the time that it names."""
    raw = parse_ulid(id_)
    time_ns = int.from_bytes(raw[:6], "big") * 1_000_000 if raw is not None else 0
    for record in reader.written_at(id_.encode(), RecordType.GOVERNANCE, time_ns):
        event: GovernanceEvent = record.head.event
        if event.kind == kind:
            yield event.body


def outcomes_of(reader: LogReader, request: Record) -> Iterator[Record]:
    """Every OUTCOME about leaves of this REQUEST, newest segment first."""
    needle = b"\x93" + msgspec.msgpack.encode(request.seq)  # how a RequestRef of it begins
    key = index.outcome_key(request.seq)
    for record in reader.find(needle, (RecordType.OUTCOME,), since=request.where, key=key):
        if any(ref.seq == request.seq for ref in record.head.event.requests):
            yield record


def story(
    reader: LogReader,
    found: Iterator[Record],
    digest: bytes | None = None,
    why: Callable[[RequestEvent], dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """What is to be told of the records found: each with its outcomes, in order of time.

    At most EVENTS_MAX or HEADS_BYTES. `why` tells what stands behind a REQUEST (governance/evidence_chain.py).
    """
    told: dict[int, dict[str, Any]] = {}  # described at once: a record may have megabytes of names and digests
    size = 0
    for record in found:
        told[record.seq] = _with_reasons(describe(record, digest), record, why)
        size += len(record.head_bytes)
        if record.type is RecordType.REQUEST:
            for outcome in outcomes_of(reader, record):
                told[outcome.seq] = describe(outcome, digest)
                size += len(outcome.head_bytes)
                if len(told) >= EVENTS_MAX or size >= HEADS_BYTES:
                    break
        if len(told) >= EVENTS_MAX or size >= HEADS_BYTES:
            break
    return [told[seq] for seq in sorted(told)]


def for_requester(story: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a requester without the role of an auditor hears of his own events and what became of them.

    Never what a rule expects (GR-22), or whose leaves were signed beside his.
    """
    own = {told["seq"] for told in story}
    return [told | {"event": _own(told["event"], own)} for told in story]


def describe(record: Record, digest: bytes | None = None) -> dict[str, Any]:
    """One record as plain values; with `digest`, the items of a REQUEST that have it."""
    event = plain(record.head.event)
    event_id = getattr(record.head.event, "event_id", None)
    if event_id is not None:
        event["event_id"] = ulid_text(event_id)
    if isinstance(record.head.event, GovernanceEvent):
        event["body"] = escape(record.head.event.body[:TEXT_MAX].decode("utf-8", "backslashreplace"))
    if isinstance(record.head.event, RequestEvent):
        event["claims"] = {escape(name): escape(value) for name, value in record.head.event.claims}
    if isinstance(record.head.event, OutcomeEvent):
        event |= _without_signatures(record.head.event)
    told: dict[str, Any] = {
        "type": record.type.name.lower(),
        "seq": record.seq,
        "time_ns": record.time_ns,
        "time": _time_text(record.time_ns),
        "first_leaf_index": record.head.first_leaf,
        "count": record.head.count,
        "record_sha256": record.hash.hex(),
        "event": event,
    }
    if digest is not None and isinstance(record.head.event, RequestEvent):
        names = entry.unpack_names(record.names) if record.names else []
        told["items"] = [_item(record, names, position) for position in matching_items(record, digest)]
    return told


def matching_items(record: Record, digest: bytes) -> list[int]:
    """Positions in a REQUEST whose digest this is, at most ITEMS_MAX; empty if another algorithm's length."""
    size = record.head.event.algorithm.size
    if len(digest) != size:
        return []
    digests = record.digests
    positions: list[int] = []
    at = digests.find(digest)
    while at >= 0 and len(positions) < ITEMS_MAX:
        if at % size == 0:
            positions.append(at // size)
        at = digests.find(digest, at + 1)
    return positions


def plain(value: Any) -> Any:
    """Structs to dicts, bytes to hex, strings escaped."""
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, bytes):
        return value[:TEXT_MAX].hex()
    if isinstance(value, Enum):
        return value.name.lower() if isinstance(value.value, int) else str(value.value)
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {escape(str(name)): plain(item) for name, item in list(value.items())[:EVENTS_MAX]}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value[:EVENTS_MAX]]
    return value


def escape(text: str) -> str:
    """ASCII without control characters; a backslash becomes two, so that nothing can pose as an escape."""
    return text.encode("unicode_escape").decode("ascii")


def ulid_text(raw: bytes) -> str:
    """The 26 characters of a 16-byte ULID."""
    number = int.from_bytes(raw, "big")
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def parse_ulid(text: str) -> bytes | None:
    """The 16 bytes of its 26 characters; None if it is none."""
    if len(text) != 26:
        return None
    number = 0
    for letter in text:
        value = _CROCKFORD.find(letter)
        if value < 0:
            return None
        number = number << 5 | value
    return number.to_bytes(17, "big")[1:] if number < 1 << 128 else None


def _own(event: dict[str, Any], own: set[int]) -> dict[str, Any]:
    kept = {name: value for name, value in event.items() if name not in ("fields", "verdict", "rule")}
    if "requests" in kept:
        kept["requests"] = [ref for ref in kept["requests"] if ref["seq"] in own]
    return kept


def _with_reasons(
    told: dict[str, Any], record: Record, why: Callable[[RequestEvent], dict[str, Any]] | None
) -> dict[str, Any]:
    event = record.head.event
    return told | {"why": plain(why(event))} if why is not None and isinstance(event, RequestEvent) else told


def _ref_at(event: OutcomeEvent, position: int) -> RequestRef | None:
    for ref in event.requests:
        if position < ref.count:
            return ref
        position -= ref.count
    return None


def _item(record: Record, names: Sequence[tuple[int, str]], position: int) -> dict[str, Any]:
    size = record.head.event.algorithm.size
    item: dict[str, Any] = {
        "leaf_index": record.head.first_leaf + position,
        "digest": record.digests[position * size : (position + 1) * size].hex(),
    }
    if names:
        item["size"], name = names[position]
        item["name"] = escape(name)
    return item


def _time_text(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, NANOSECONDS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1_000:06}Z"


def _without_signatures(event: OutcomeEvent) -> dict[str, Any]:
    """What is told of an OUTCOME in place of its signatures: the signed text, who signed it, hashes."""
    hashes = [event.signature_sha256[at : at + 32].hex() for at in range(0, len(event.signature_sha256), 32)]
    text, _, lines = event.checkpoint.decode("utf-8", "backslashreplace").rpartition("\n\n")
    return {
        "checkpoint": [escape(line) for line in text.splitlines()],
        "checkpoint_signers": [escape(line.split(" ")[1]) for line in lines.splitlines() if line.count(" ") > 1],
        "signatures": sum(map(bool, event.signatures)),
        "signature_sha256": hashes[:EVENTS_MAX],
    }
