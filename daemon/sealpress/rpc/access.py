"""AccessService: who is who, and who holds which role.

Guarantees: two persons give, none of them the beneficiary (GR-34); one takes, at once. Does not: know tokens' claims.
"""

from __future__ import annotations

from collections.abc import Callable

from sealpress.flow import Flow
from sealpress.governance import facts as f
from sealpress.governance import stops
from sealpress.governance.desk import Actor, Desk
from sealpress.rpc import views
from sealpress.rpc.control import Control, bounded
from sealpress.rpc.interceptors import Callers, Context, guarded
from sealpress.steps._office import Office
from sealpress.telemetry import Telemetry
from sealpress.v1 import access_pb2 as pb
from sealpress.v1 import access_pb2_grpc, governance_pb2

Stop = Callable[[Desk, Actor], list[f.Fact]]


class AccessService(access_pb2_grpc.AccessServiceServicer):
    """The methods of protos/sealpress/v1/access.proto."""

    def __init__(self, flow: Flow, office: Office, callers: Callers, telemetry: Telemetry) -> None:
        """One for all listeners."""
        self._control = Control("access", flow, office, callers, telemetry)
        self._persons = Control("approval", flow, office, callers, telemetry, "access")  # whoever has any role
        self.telemetry = telemetry

    @guarded
    async def ProposeAccess(self, request: pb.ProposeAccessRequest, context: Context) -> pb.ProposeAccessResponse:
        """A person, a machine, a key, a role, an issuer of tokens, or that something suspended counts again."""
        record = await self._control.propose(context, request.proposal)
        told = views.whole_change(self._control.office, record.change_id).change
        return pb.ProposeAccessResponse(change=told, recorded=self._control.recorded())

    @guarded
    async def SuspendIdentity(self, request: pb.SuspendIdentityRequest, context: Context) -> pb.SuspendIdentityResponse:
        """It has no right until two persons give it back."""
        recorded = await self._ended(context, "SuspendIdentity", request.identity, "suspend", request.reason)
        return pb.SuspendIdentityResponse(recorded=recorded)

    @guarded
    async def OffboardIdentity(
        self, request: pb.OffboardIdentityRequest, context: Context
    ) -> pb.OffboardIdentityResponse:
        """It never has a right again."""
        recorded = await self._ended(context, "OffboardIdentity", request.identity, "offboard", request.reason)
        return pb.OffboardIdentityResponse(recorded=recorded)

    @guarded
    async def RevokeBinding(self, request: pb.RevokeBindingRequest, context: Context) -> pb.RevokeBindingResponse:
        """The role is gone."""

        def stop(desk: Desk, actor: Actor) -> list[f.Fact]:
            return stops.revoke_binding(desk, actor, request.binding, bounded(request.reason, "reason"))

        return pb.RevokeBindingResponse(recorded=await self._stopped(self._control, context, "RevokeBinding", stop))

    @guarded
    async def RevokeCredential(
        self, request: pb.RevokeCredentialRequest, context: Context
    ) -> pb.RevokeCredentialResponse:
        """The key counts for nothing; everybody may revoke his own."""

        def stop(desk: Desk, actor: Actor) -> list[f.Fact]:
            return stops.revoke_credential(desk, actor, request.fingerprint, bounded(request.reason, "reason"))

        recorded = await self._stopped(self._persons, context, "RevokeCredential", stop)
        return pb.RevokeCredentialResponse(recorded=recorded)

    @guarded
    async def GetRoles(self, request: pb.GetRolesRequest, context: Context) -> pb.GetRolesResponse:
        """The caller's own."""

        def view(desk: Desk, actor: Actor) -> pb.GetRolesResponse:
            now = desk.state
            return pb.GetRolesResponse(
                person=actor.person,
                bindings=[views.binding(now.bindings[id_]) for id_ in now.bindings_of.get(actor.person, ())],
                credentials=[
                    views.credential(one, now.ends(one))
                    for one in now.credentials.values()
                    if one.person == actor.person
                ],
            )

        return await self._persons.look(context, "GetRoles", view)

    async def _ended(
        self, context: Context, method: str, identity: str, verb: str, reason: str
    ) -> governance_pb2.Recorded:
        def stop(desk: Desk, actor: Actor) -> list[f.Fact]:
            return stops.end_identity(desk, actor, identity, verb, bounded(reason, "reason"))

        return await self._stopped(self._control, context, method, stop)

    async def _stopped(self, control: Control, context: Context, method: str, stop: Stop) -> governance_pb2.Recorded:
        def rule(desk: Desk, actor: Actor) -> tuple[None, list[f.Fact]]:
            return None, stop(desk, actor)

        await control.act(context, method, rule)
        return control.recorded()
