"""AuditService: reads the log; cannot write but for the record that somebody without right tried to read.

Guarantees: needs the role of [audit], except that a requester may Explain his own events; no answer holds a line's
signature, so nobody can assemble one that was withheld; scans run in threads, never on the loop, and are bounded.
Does not: decide, or hold positions between calls.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, TypeVarTuple, Unpack

import msgspec

import sealpress
from sealpress.errors import Malformed, Precondition
from sealpress.flow import Flow
from sealpress.governance import evidence_chain
from sealpress.governance.desk import Desk
from sealpress.rpc import convert, views
from sealpress.rpc.interceptors import Callers, Context, guarded
from sealpress.rpc.scanning import Scans
from sealpress.steps._office import Office
from sealpress.steps._ticket import LogState
from sealpress.telemetry import Telemetry
from sealpress.tlog import explain
from sealpress.tlog.entry import GovernanceEvent, RequestEvent, Where
from sealpress.tlog.record import Record
from sealpress.v1 import audit_pb2 as pb
from sealpress.v1 import audit_pb2_grpc, governance_pb2
from sealpress.values import RecordType

TAIL_PART = 256  # records read at a time, and less once they have as many bytes
TAIL_PART_BYTES = 1 << 20
PAGE_BYTES = 16 << 20  # a list ends with the event that reaches it: who asked can take it, and goes on from there
HEARTBEAT_S = 10.0
EXPLAINS_MAX = 4  # scans of auditors at the same time; all others together have one

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Slot(Protocol):
    """A token slot as the signer tells it."""

    @property
    def up(self) -> bool:
        """Whether it signs."""
        ...

    @property
    def sessions(self) -> int:
        """Sessions in use."""
        ...

    @property
    def operations(self) -> int:
        """Signatures made since the signer started."""
        ...

    @property
    def restarts(self) -> int:
        """Workers replaced."""
        ...

    @property
    def state(self) -> str:
        """Of its circuit breaker."""
        ...

    @property
    def opened(self) -> int:
        """How often that opened."""
        ...

    @property
    def waiting(self) -> int:
        """Operations that wait or are under way."""
        ...

    @property
    def latency_us(self) -> int:
        """Of one operation."""
        ...

    @property
    def reason(self) -> str:
        """Why it is down."""
        ...

    @property
    def unmanaged(self) -> Sequence[str] | None:
        """Keys on its token that may sign and that nobody configured; None while nobody has looked."""
        ...

    @property
    def counts(self) -> Mapping[str, str] | None:
        """Keys whose operations its token counts otherwise, and what it says; None while nobody has looked."""
        ...


class Node(Protocol):
    """What the daemon tells of itself beyond the flow."""

    name: str

    async def slots(self) -> Mapping[str, Slot] | None:
        """The signer's slots by name, as of now; None while it is away."""
        ...

    def certificate_not_after(self) -> int:
        """End of the server's certificate, Unix seconds."""
        ...


@dataclass(frozen=True, slots=True)
class _Part:
    """Events of a log from a place on: those that were there when its next seq was `seen`, or the first of them."""

    place: tuple[int, Where | None]
    seen: int
    reading: asyncio.Future[tuple[Sequence[pb.TailResponse], Where | None, bool]]


class _Parts:
    """What comes next in each log, read and told once for all who have come equally far."""

    def __init__(self) -> None:
        self._last: dict[str, _Part] = {}  # by log

    async def next(self, log: LogState, seq: int, at: Where | None) -> tuple[_Part, bool]:
        """The part from there on, read, and whether there may be more already."""
        while True:
            seen = log.log.next_seq  # taken before reading: what comes later is waited for
            part = self._last.get(log.id)
            if part is None or part.place != (seq, at):
                part = self._last[log.id] = _Part((seq, at), seen, _threaded(_answers, log, seq, at))
            try:
                answers, _, more = await asyncio.shield(part.reading)
            except BaseException:
                self._forget(log, part)
                raise
            if answers or part.seen >= seen:
                return part, more or part.seen < seen
            self._forget(log, part)  # nothing was there, but is now

    def _forget(self, log: LogState, part: _Part) -> None:
        if self._last.get(log.id) is part:
            del self._last[log.id]


class AuditService(audit_pb2_grpc.AuditServiceServicer):
    """The methods of protos/sealpress/v1/audit.proto."""

    def __init__(
        self, flow: Flow, callers: Callers, telemetry: Telemetry, node: Node, office: Office | None = None
    ) -> None:
        """One for all listeners; `office` of a governed node."""
        self._flow = flow
        self._callers = callers
        self.telemetry = telemetry
        self._node = node
        self._office = office
        self._scans = Scans(EXPLAINS_MAX)
        self._own = Scans(1)
        self._parts = _Parts()

    @guarded
    async def GetCheckpoint(self, request: pb.GetCheckpointRequest, context: Context) -> pb.GetCheckpointResponse:
        """The newest sealed head."""
        log = await self._log(request.log, context, "GetCheckpoint")
        return pb.GetCheckpointResponse(checkpoint=log.sealed_note)

    @guarded
    async def GetProof(self, request: pb.GetProofRequest, context: Context) -> pb.GetProofResponse:
        """Inclusion of one leaf."""
        log = await self._log(request.log, context, "GetProof")
        size = request.tree_size or log.sealed_size
        tree = log.log.tree
        if not 0 <= request.leaf_index < size <= log.log.size:
            raise Malformed(
                f"no leaf {request.leaf_index} in a tree of {size}; the log has {log.log.size} leaves",
                hint="give an index below tree_size, and a tree_size of at most the log's",
            )
        return pb.GetProofResponse(
            tree_size=size,
            leaf_hash=tree.node(0, request.leaf_index),
            path=tree.inclusion(request.leaf_index, size),
            checkpoint=log.sealed_note if size == log.sealed_size else b"",
        )

    @guarded
    async def GetConsistency(self, request: pb.GetConsistencyRequest, context: Context) -> pb.GetConsistencyResponse:
        """Consistency of two sizes."""
        log = await self._log(request.log, context, "GetConsistency")
        new_size = request.new_size or log.sealed_size
        if not 0 < request.old_size <= new_size <= log.log.size:
            raise Malformed(
                f"no consistency from {request.old_size} to {new_size}; the log has {log.log.size} leaves",
                hint="old_size is at least 1 and at most new_size",
            )
        return pb.GetConsistencyResponse(
            new_size=new_size,
            path=log.log.tree.consistency(request.old_size, new_size),
            checkpoint=log.sealed_note if new_size == log.sealed_size else b"",
        )

    @guarded
    async def Explain(self, request: pb.ExplainRequest, context: Context) -> pb.ExplainResponse:
        """Everything recorded of a digest, an event or a signature."""
        caller = self._callers.caller(context)
        if caller.flaw:
            await self._flow.permit_audit(caller, "Explain")
        own_only = not self._flow.shared.may_audit(caller)
        what, scans = _what(request), self._own if own_only else self._scans
        found: list[pb.LogEvent] = []
        for log in self._flow.shared.logs.values():
            owner = caller.identity.id if own_only else None
            found += await scans.run(_explain, log, what, owner, self._why)
        return pb.ExplainResponse(events=found)

    @guarded
    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:
        """How the node is."""
        await self._flow.permit_audit(self._callers.caller(context), "GetStatus")
        shared = self._flow.shared
        slots = await self._node.slots()
        logs = [await _threaded(_log_status, log, log.log.space.segments_bytes()) for log in shared.logs.values()]
        return pb.GetStatusResponse(
            node=self._node.name,
            version=sealpress.__version__,
            signer_up=slots is not None,
            slots=[
                pb.SlotStatus(slot=name, up=slot.up, sessions=slot.sessions, operations=slot.operations,
                              restarts=slot.restarts, reason=slot.reason, state=slot.state, opened=slot.opened,
                              waiting=slot.waiting, latency_us=slot.latency_us,
                              unmanaged_keys=slot.unmanaged or (), differing_keys=slot.counts or {})
                for name, slot in (slots or {}).items()
            ],
            lines=[
                pb.LineStatus(line=line.name, mode=line.mode, log=line.log.id, ready=shared.ready(line.key),
                              reason=shared.why(line.key))
                for line in shared.lines.values()
            ],
            logs=logs,
            certificate_not_after=self._node.certificate_not_after(),
        )  # fmt: skip

    @guarded
    async def Tail(self, request: pb.TailRequest, context: Context) -> None:
        """Events in order, then as they come; a heartbeat when nothing comes."""
        log = await self._log(request.log, context, "Tail")
        caller = self._callers.caller(context)
        seq, at = request.from_seq, None
        while True:
            await self._flow.permit_audit(self._callers.still(caller, context), "Tail")
            part, more = await self._parts.next(log, seq, at)
            answers, at, _ = part.reading.result()
            for answer in answers:
                seq = answer.next_seq
                await context.write(answer)
            if more:
                continue
            if not request.follow:
                return
            if not await _grown(log, part.seen):
                await context.write(pb.TailResponse(next_seq=seq))

    # ---- governance (GR-14, 73) ----

    @guarded
    async def WhoCanSign(self, request: pb.WhoCanSignRequest, context: Context) -> pb.WhoCanSignResponse:
        """From the policy in force."""
        return views.who_can_sign(await self._governed(context, "WhoCanSign"), request)

    @guarded
    async def WhatCanSign(self, request: pb.WhatCanSignRequest, context: Context) -> pb.WhatCanSignResponse:
        """The same the other way round."""
        return views.what_can_sign(await self._governed(context, "WhatCanSign"), request.identity)

    @guarded
    async def GetChange(
        self, request: governance_pb2.GetChangeRequest, context: Context
    ) -> governance_pb2.GetChangeResponse:
        """One change, with everything."""
        office = await self._governed(context, "GetChange")
        return views.whole_change(office, request.change_id)

    @guarded
    async def ListChanges(
        self, request: governance_pb2.ListChangesRequest, context: Context
    ) -> governance_pb2.ListChangesResponse:
        """The newest first."""
        return views.changes(await self._desk(context, "ListChanges"), request)

    @guarded
    async def GetGovernance(
        self, request: governance_pb2.GetGovernanceRequest, context: Context
    ) -> governance_pb2.GetGovernanceResponse:
        """What stands."""
        office = await self._governed(context, "GetGovernance")
        return views.governance(office.desk(), office.ledger)

    @guarded
    async def ListEvents(self, request: pb.ListEventsRequest, context: Context) -> pb.ListEventsResponse:
        """Governance records, in order."""
        await self._flow.permit_audit(self._callers.caller(context), "ListEvents")
        return await self._scans.run(_events, self._flow.shared.governance, request)

    @property
    def _why(self) -> Callable[[RequestEvent], dict[str, Any]] | None:
        """What stands behind a request; only a governed node can tell."""
        office = self._office
        return None if office is None else lambda event: evidence_chain.chain(office.state, event, office.recorded)

    async def _desk(self, context: Context, method: str) -> Desk:
        return (await self._governed(context, method)).desk()

    async def _governed(self, context: Context, method: str) -> Office:
        """The office, for a caller with the role."""
        await self._flow.permit_audit(self._callers.caller(context), method)
        if self._office is None:
            raise Precondition(
                "this node is not governed: its policy file alone decides", reason="NOT_GOVERNED",
                hint="[governance] in sealpress.toml",
            )  # fmt: skip
        return self._office

    async def _log(self, name: str, context: Context, method: str) -> LogState:
        """The log meant, for a caller with the role."""
        shared = self._flow.shared
        await self._flow.permit_audit(self._callers.caller(context), method)
        if not name:
            return shared.governance
        found = shared.logs.get(name)
        if found is None:
            raise Malformed(f"there is no log {explain.escape(name)[:64]!r} here", hint="leave `log` empty for the "
                            "governance log")  # fmt: skip
        return found


def _threaded(work: Callable[[Unpack[Ts]], T], *arguments: *Ts) -> asyncio.Future[T]:
    return asyncio.get_running_loop().run_in_executor(None, work, *arguments)


def _what(request: pb.ExplainRequest) -> tuple[str, bytes]:
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
            raise Malformed("an event id has 26 letters and digits", hint="it is in every answer and refusal")
        return kind, raw
    if kind == "signature_sha256":
        if len(request.signature_sha256) != 32:
            raise Malformed("signature_sha256 has 32 bytes", reason="DIGEST_LENGTH")
        return kind, request.signature_sha256
    raise Malformed("say what to explain", hint="a digest, an event id, or the SHA-256 of a signature")


def _explain(
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


def _event(log: LogState, record: Record) -> pb.LogEvent:
    return _told(log, explain.describe(record))


def _answers(log: LogState, seq: int, at: Where | None) -> tuple[Sequence[pb.TailResponse], Where | None, bool]:
    """The next records as they are told, where it goes on, and whether there may be more already."""
    records, more = _part(log, seq, at)
    told = [pb.TailResponse(event=_event(log, record), next_seq=record.seq + 1) for record in records]
    return told, records[-1].next if records else at, more


def _part(log: LogState, seq: int, at: Where | None) -> tuple[list[Record], bool]:
    """The next records, and whether there may be more already."""
    found: list[Record] = []
    size = 0
    for record in log.log.records(seq, at):
        found.append(record)
        size += len(record.head_bytes) + len(record.names) + len(record.digests)
        if len(found) == TAIL_PART or size >= TAIL_PART_BYTES:
            return found, True
    return found, False


def _events(log: LogState, asked: pb.ListEventsRequest) -> pb.ListEventsResponse:
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
        found.append(_event(log, record))
        size += len(found[-1].json)
    return pb.ListEventsResponse(events=found)


async def _grown(log: LogState, seen: int) -> bool:
    """Until the log is longer than `seen`; False after a while without."""
    try:
        async with asyncio.timeout(HEARTBEAT_S), log.grown:
            await log.grown.wait_for(lambda: log.log.next_seq > seen)
    except TimeoutError:
        return False
    return True


def _log_status(log: LogState, journal: int) -> pb.LogStatus:
    directory = log.log.settings.directory
    return pb.LogStatus(
        log=log.id,
        origin=log.log.origin,
        tree_size=log.log.size,
        sealed_size=log.sealed_size,
        queue=len(log.queue),
        free_bytes=shutil.disk_usage(directory).free,
        journal_bytes=journal,
    )
