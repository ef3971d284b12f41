"""AuditService: reads the log; cannot write but for the record that somebody without right tried to read.

Guarantees: needs the role of [audit], except that a requester may Explain his own events; no answer holds a line's
signature, so nobody can assemble one that was withheld; scans run in threads, never on the loop, and are bounded.
Does not: decide, or hold positions between calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sealpress
from sealpress.errors import Malformed, Precondition
from sealpress.flow import Flow
from sealpress.governance import evidence_chain
from sealpress.governance.desk import Desk
from sealpress.rpc import explaining, views
from sealpress.rpc.interceptors import Callers, Context, guarded
from sealpress.rpc.node import Node, log_status
from sealpress.rpc.scanning import Scans, threaded
from sealpress.rpc.tailing import Parts, grown
from sealpress.steps._office import Office
from sealpress.steps._ticket import LogState
from sealpress.telemetry import Telemetry
from sealpress.tlog import explain
from sealpress.tlog.entry import RequestEvent
from sealpress.v1 import audit_pb2 as pb
from sealpress.v1 import audit_pb2_grpc, governance_pb2

EXPLAINS_MAX = 4  # scans of auditors at the same time; all others together have one


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
        self._parts = Parts()

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
        """Everything recorded of a digest, an event or a signature; LOG_ARCHIVED if it may be elsewhere."""
        caller = self._callers.caller(context)
        if caller.flaw:
            await self._flow.permit_audit(caller, "Explain")
        own_only = not self._flow.shared.may_audit(caller)
        what, scans = explaining.asked_for(request), self._own if own_only else self._scans
        found: list[pb.LogEvent] = []
        for log in self._flow.shared.logs.values():
            owner = caller.identity.id if own_only else None
            found += await scans.run(explaining.story, log, what, owner, self._why)
        if not found:
            await scans.run(explaining.look_elsewhere, tuple(self._flow.shared.logs.values()))
        return pb.ExplainResponse(events=found)

    @guarded
    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:
        """How the node is."""
        await self._flow.permit_audit(self._callers.caller(context), "GetStatus")
        shared = self._flow.shared
        slots = await self._node.slots()
        logs = [await threaded(log_status, log, log.log.space.segments_bytes()) for log in shared.logs.values()]
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
            if not await grown(log, part.seen):
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
        return await self._scans.run(explaining.listed, self._flow.shared.governance, request)

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
