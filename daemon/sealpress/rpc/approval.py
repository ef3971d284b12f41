"""ApprovalService: what waits for persons, and their signatures.

Guarantees: the statement handed out is the one that counts when it comes back signed; an approval counts by its
signature, whoever brings it, over whatever channel (GR-94); watchers are bounded. Does not: keep sessions or remember
who watched what.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from itertools import islice

from sealpress.errors import NotPermitted, Precondition
from sealpress.flow import Flow
from sealpress.governance import approvals, paths, proposals
from sealpress.governance import facts as f
from sealpress.governance.desk import Actor, Desk
from sealpress.governance.roles import Role
from sealpress.governance.state import Change
from sealpress.rpc import views
from sealpress.rpc.control import Control, bounded, holds
from sealpress.rpc.interceptors import Callers, Context, guarded
from sealpress.rpc.watching import Watchers
from sealpress.steps import _grounds
from sealpress.steps._office import Office
from sealpress.telemetry import Telemetry
from sealpress.v1 import approval_pb2 as pb
from sealpress.v1 import approval_pb2_grpc
from sealpress.v1 import governance_pb2 as governance
from sealpress.verify import statement

NONCE_BYTES = 16
SIGNATURE_CHARACTERS_MAX = 16_384
WATCHERS_MAX, LOOK_S = 64, 0.5  # each look goes through all that is pending


class ApprovalService(approval_pb2_grpc.ApprovalServiceServicer):
    """The methods of protos/sealpress/v1/approval.proto."""

    def __init__(self, flow: Flow, office: Office, callers: Callers, telemetry: Telemetry) -> None:
        """One for all listeners."""
        self._control = Control("approval", flow, office, callers, telemetry)
        self._watchers = Watchers(flow, WATCHERS_MAX, LOOK_S)
        self.telemetry = telemetry

    @guarded
    async def ListPending(self, request: pb.ListPendingRequest, context: Context) -> pb.ListPendingResponse:
        """What the caller may approve."""
        return await self._control.look(
            context, "ListPending", lambda desk, actor: listed(desk, actor, request.after_seq)
        )

    @guarded
    async def ListChanges(
        self, request: governance.ListChangesRequest, context: Context
    ) -> governance.ListChangesResponse:
        """All, the newest first."""
        return await self._control.look(context, "ListChanges", lambda desk, _: views.changes(desk, request))

    @guarded
    async def GetChange(self, request: governance.GetChangeRequest, context: Context) -> governance.GetChangeResponse:
        """One, with everything."""
        return await self._control.look(
            context, "GetChange", lambda desk, _: views.whole_change(self._control.office, request.change_id)
        )

    @guarded
    async def GetGovernance(
        self, request: governance.GetGovernanceRequest, context: Context
    ) -> governance.GetGovernanceResponse:
        """What stands."""
        ledger = self._control.office.ledger
        return await self._control.look(context, "GetGovernance", lambda desk, _: views.governance(desk, ledger))

    @guarded
    async def GetStatement(self, request: pb.GetStatementRequest, context: Context) -> pb.GetStatementResponse:
        """The exact bytes."""
        office = self._control.office
        nonce = self._control.flow.shared.entropy.bytes(NONCE_BYTES).hex()

        def view(desk: Desk, actor: Actor) -> bytes:
            note = bounded(request.note, "note", statement.NOTE_MAX)
            said = approvals.ask(desk, request.change_id, actor.person, office.head(), nonce, note)
            return statement.render(said)

        return pb.GetStatementResponse(statement=await self._control.look(context, "GetStatement", view))

    @guarded
    async def SubmitApproval(self, request: pb.SubmitApprovalRequest, context: Context) -> pb.SubmitApprovalResponse:
        """From whoever brings it."""
        control = self._control
        caller = control.callers.caller(context)

        def rule(desk: Desk) -> tuple[str, list[f.Fact]]:
            if caller.flaw:
                raise _grounds.identity_refusal(caller.flaw)
            signature = bounded(request.signature, "signature", SIGNATURE_CHARACTERS_MAX)
            return approvals.submit(desk, request.statement, signature, control.office.seen)

        try:
            change_id = await control.office.act(rule)
        except (NotPermitted, Precondition) as refusal:
            raise await control.refused(refusal, caller, "SubmitApproval") from None
        return pb.SubmitApprovalResponse(change=self._change(change_id), recorded=control.recorded())

    @guarded
    async def Withdraw(self, request: pb.WithdrawRequest, context: Context) -> pb.WithdrawResponse:
        """Of one's own change, or one's own approval."""

        def rule(desk: Desk, actor: Actor) -> tuple[None, list[f.Fact]]:
            reason = bounded(request.reason, "reason")
            if desk.state.change(request.change_id).record.requester == actor.name:
                return None, proposals.withdraw(desk, actor, request.change_id, reason)
            return None, approvals.withdraw(desk, actor, request.change_id, reason)

        await self._control.act(context, "Withdraw", rule)
        return pb.WithdrawResponse(change=self._change(request.change_id), recorded=self._control.recorded())

    @guarded
    async def Reject(self, request: pb.RejectRequest, context: Context) -> pb.RejectResponse:
        """No."""

        def rule(desk: Desk, actor: Actor) -> tuple[None, list[f.Fact]]:
            reason = bounded(request.reason, "reason")
            return None, proposals.reject(desk, actor, request.change_id, reason)

        await self._control.act(context, "Reject", rule)
        return pb.RejectResponse(change=self._change(request.change_id), recorded=self._control.recorded())

    @guarded
    async def Watch(self, request: pb.WatchRequest, context: Context) -> None:
        """What waits, as it comes; each change once."""
        await self._control.look(context, "Watch", lambda desk, actor: None)
        told: set[str] = set()

        def new(desk: Desk, actor: Actor) -> list[governance.Change]:
            return untold(desk, actor, told)

        with self._watchers.watching() as watch:
            async for beat in watch:
                for change in await self._control.look(context, "Watch", new):
                    told.add(change.change_id)
                    await context.write(pb.WatchResponse(change=change))
                if beat:
                    await context.write(pb.WatchResponse())
                told.intersection_update(self._control.office.state.open_changes)

    def _change(self, change_id: str) -> governance.Change:
        desk = self._control.office.desk()
        told = views.change(desk, desk.state.change(change_id))
        told.grant_id = views.grant_of(desk, change_id)
        return told


def pending(desk: Desk, actor: Actor, told: Container[str] = ()) -> Iterator[Change]:
    """The changes that a person may approve now and has not, the oldest first; not those of the ids `told`."""
    if not holds(desk, actor.person, _APPROVERS):
        return
    for change_id in desk.state.open_changes:
        if change_id in told:
            continue
        change = desk.state.changes[change_id]
        given = change.approvals.get(actor.person)
        waits = change.state == "in_review" and desk.now < change.record.expires
        if waits and (given is None or given.state != "counted") and paths.groups_of(desk, change, actor.person):
            yield change


def listed(desk: Desk, actor: Actor, after_seq: int) -> pb.ListPendingResponse:
    """A page of them, of those that were submitted after a record."""
    later = (change for change in pending(desk, actor) if change.seq > after_seq)
    found = [views.change(desk, change) for change in islice(later, views.LIST_MAX)]
    more = next(later, None) is not None
    return pb.ListPendingResponse(changes=found, next_after_seq=found[-1].seq if more else 0)


def untold(desk: Desk, actor: Actor, told: Container[str]) -> list[governance.Change]:
    """Those that are not among the ids `told`."""
    return [views.change(desk, change) for change in pending(desk, actor, told)]


_APPROVERS = frozenset({
    Role.SECURITY_OFFICER, Role.RELEASE_APPROVER, Role.POLICY_APPROVER, Role.ACCESS_ADMIN, Role.INCIDENT_RESPONDER,
})  # fmt: skip
