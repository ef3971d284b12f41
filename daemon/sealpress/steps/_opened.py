"""Leaves opened to a signer that looks at every one: what each is made of, and the approvals of those to be signed.

Guarantees: leaves are read back from their records, so that the signer sees what the log holds; what goes into one
message fits. Does not: judge approvals (the guard does), or tell the signer (_signer.py does).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sealpress.core import leaf
from sealpress.core.leaf import OPENING_SHARED_SIZE, SALT_SIZE
from sealpress.errors import Internal, Unavailable
from sealpress.hsm.leaves import EventLeaf, Openings, SignatureLeaf
from sealpress.hsm.messages import ADVANCE_APPROVALS_MAX, EVIDENCE_BYTES_MAX, EVIDENCE_MAX
from sealpress.tlog.entry import RequestEvent, Where
from sealpress.tlog.log import Log
from sealpress.tlog.record import NANOSECONDS, Record
from sealpress.verify.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Leaf:
    """One leaf, opened, and the change that it cites; its evidence is not numbered yet."""

    opened: EventLeaf | SignatureLeaf
    change_id: str
    time: int


def with_evidence(found: list[Leaf], evidence_of: Callable[[str], Evidence | None]) -> Openings:
    """The leaves whose evidence fits into one message; Unavailable EVIDENCE_MISSING if the first has none."""
    positions: dict[str, int] = {}
    evidence: list[Evidence] = []
    leaves: list[EventLeaf | SignatureLeaf] = []
    room, approvals = EVIDENCE_BYTES_MAX, ADVANCE_APPROVALS_MAX
    for one in found:
        if isinstance(one.opened, EventLeaf):
            leaves.append(one.opened)
            continue
        if one.change_id not in positions:
            held = evidence_of(one.change_id)
            if held is None and not leaves:
                raise Unavailable("a leaf's approvals are not at hand", reason="EVIDENCE_MISSING")
            if held is None or (leaves and (held.size > room or len(evidence) == EVIDENCE_MAX)):
                break
            if leaves and len(held.approvals) > approvals:
                break
            room, approvals = room - held.size, approvals - len(held.approvals)
            positions[one.change_id] = len(evidence)
            evidence.append(held)
        leaves.append(replace(one.opened, evidence=positions[one.change_id]))
    return Openings(tuple(leaves), tuple(evidence))


def read_leaves(log: Log, first: int, end: int, at: Where | None) -> tuple[list[Leaf], Where]:
    """Open the leaves [first, end) from their records; where the last of them stands. Any thread."""
    leaves: list[Leaf] = []
    where = Where(0, 0)
    for record in log.reader.records_of_leaves(first, at):
        start = record.head.first_leaf
        part = range(max(first, start) - start, min(end, start + record.head.count) - start)
        if not part:
            break
        where = record.where
        leaves += _leaves_of(record, log.name, part)
        if len(leaves) == end - first:
            break
    if len(leaves) != end - first:
        raise Internal("the records of the newest leaves are not to be found")
    return leaves, where


def _leaves_of(record: Record, log_name: str, part: range) -> list[Leaf]:
    event, time = record.event, record.time_ns // NANOSECONDS
    if not isinstance(event, RequestEvent):
        return [Leaf(EventLeaf(record.hash, time), "", time)]
    shared = leaf.opening(record.spec(log_name), bytes(SALT_SIZE))[:OPENING_SHARED_SIZE]
    salts = leaf.salts(record.salt_seed, part.start, len(part))
    size, change_id = event.algorithm.size, event.change_id
    openings = (shared + salts[SALT_SIZE * i : SALT_SIZE * (i + 1)] for i in range(len(part)))
    digests = (record.digests[size * position : size * (position + 1)] for position in part)
    return [
        Leaf(SignatureLeaf(event.key_id, opening, digest, 0), change_id, time)
        for opening, digest in zip(openings, digests, strict=True)
    ]
