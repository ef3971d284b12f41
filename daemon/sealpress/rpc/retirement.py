"""RetirementService: stops and ends keys.

Guarantees: one person stops, at once (L6); what ends for good has its change, and destruction its witnesses. Does not:
touch a token: the custodian destroys, and looks on every slot.
"""

from __future__ import annotations

from collections.abc import Sequence

from sealpress.errors import Malformed, NotPermitted
from sealpress.flow import Flow
from sealpress.governance import execution, stops
from sealpress.governance import facts as f
from sealpress.governance.desk import Actor, Desk
from sealpress.governance.roles import Role
from sealpress.governance.state import Key
from sealpress.rpc import views
from sealpress.rpc.control import Control, bounded
from sealpress.rpc.interceptors import Callers, Context, guarded
from sealpress.rpc.issuance import key_of, of_kind
from sealpress.rpc.scanning import Scans
from sealpress.steps._ids import ulid_text
from sealpress.steps._office import Office
from sealpress.steps._ticket import LogState
from sealpress.telemetry import Telemetry
from sealpress.tlog.entry import RequestEvent
from sealpress.v1 import governance_pb2, grant_pb2, retirement_pb2_grpc
from sealpress.v1 import retirement_pb2 as pb
from sealpress.values import RecordType

IMPACT_MAX = 10_000
DIGESTS_MAX = 100  # of one event
NANOSECONDS = 1_000_000_000
LOOKERS = frozenset({Role.RETIREMENT_OPERATOR, Role.INCIDENT_RESPONDER, Role.SECURITY_OFFICER})
WITNESSES_MAX = 16


class RetirementService(retirement_pb2_grpc.RetirementServiceServicer):
    """The methods of protos/sealpress/v1/retirement.proto."""

    def __init__(self, flow: Flow, office: Office, callers: Callers, telemetry: Telemetry) -> None:
        """One for all listeners."""
        self._control = Control("retirement", flow, office, callers, telemetry)
        self._scans = Scans(1)
        self.telemetry = telemetry

    @guarded
    async def ProposeRetirement(
        self, request: pb.ProposeRetirementRequest, context: Context
    ) -> pb.ProposeRetirementResponse:
        """The end of a key, or that it is compromised."""
        record = await self._control.propose(context, request.proposal)
        told = views.whole_change(self._control.office, record.change_id).change
        return pb.ProposeRetirementResponse(change=told, recorded=self._control.recorded())

    @guarded
    async def SuspendKey(self, request: pb.SuspendKeyRequest, context: Context) -> pb.SuspendKeyResponse:
        """It signs no more until its quorum says so."""

        def rule(desk: Desk, actor: Actor) -> tuple[None, list[f.Fact]]:
            return None, stops.suspend_key(desk, actor, request.key, bounded(request.reason, "reason"))

        await self._control.act(context, "SuspendKey", rule)
        return pb.SuspendKeyResponse(key=self._key(request.key), recorded=self._control.recorded())

    @guarded
    async def RevokeGrant(self, request: grant_pb2.RevokeGrantRequest, context: Context) -> object:
        """No more uses."""

        def rule(desk: Desk, actor: Actor) -> tuple[None, list[f.Fact]]:
            id_ = views.grant_of(desk, request.id) or request.id
            return None, stops.revoke_grant(desk, actor, id_, bounded(request.reason, "reason"))

        await self._control.act(context, "RevokeGrant", rule)
        return grant_pb2.RevokeGrantResponse(recorded=self._control.recorded())

    @guarded
    async def DeactivateKey(self, request: pb.DeactivateKeyRequest, context: Context) -> pb.DeactivateKeyResponse:
        """It only verifies from here on."""
        key = await self._execute(context, "DeactivateKey", "key.deactivate", request.change_id, None)
        return pb.DeactivateKeyResponse(key=self._key(key), recorded=self._control.recorded())

    @guarded
    async def DestroyKey(self, request: pb.DestroyKeyRequest, context: Context) -> pb.DestroyKeyResponse:
        """It is on no token any more, as two witnesses saw."""
        key = await self._execute(context, "DestroyKey", "key.destroy", request.change_id, request.witnesses)
        return pb.DestroyKeyResponse(key=self._key(key), recorded=self._control.recorded())

    @guarded
    async def GetImpact(self, request: pb.GetImpactRequest, context: Context) -> pb.GetImpactResponse:
        """What the key signed since then."""

        def view(desk: Desk, actor: Actor) -> Key:
            found = desk.state.keys.get(request.key)
            if found is None:
                raise NotPermitted("there is no such key that this identity may look at")
            desk.need(actor, found.proposed.line, LOOKERS)
            return found

        key = await self._control.look(context, "GetImpact", view)
        since = request.since or key.since or key.proposed.not_before
        logs = list(self._control.flow.shared.logs.values())
        events = await self._scans.run(_impact, logs, key, since)
        return pb.GetImpactResponse(since=since, events=events[:IMPACT_MAX], truncated=len(events) > IMPACT_MAX)

    async def _execute(
        self, context: Context, method: str, kind: str, change_id: str, named: Sequence[str] | None
    ) -> str:
        def rule(desk: Desk, actor: Actor) -> tuple[str, list[f.Fact]]:
            witnesses = _witnesses(named) if named is not None else None
            of_kind(desk, change_id, kind)
            return key_of(desk, change_id), execution.execute(desk, actor, change_id, witnesses)

        return await self._control.act(context, method, rule)

    def _key(self, name: str) -> governance_pb2.GovernedKey:
        office = self._control.office
        return views.key(name, office.state.keys[name], office.ledger)


def _witnesses(named: Sequence[str]) -> f.Names:
    if len(named) > WITNESSES_MAX:
        raise Malformed(f"more than {WITNESSES_MAX} witnesses", reason="TOO_LARGE", hint="name two of them")
    return tuple(bounded(name, "witnesses", 512) for name in named)


def _impact(logs: list[LogState], key: Key, since: int) -> list[pb.Impact]:
    """Acts of the key since that second, of all logs; one more than are told."""
    found: list[pb.Impact] = []
    key_id = bytes.fromhex(key.key_id)
    for log in logs if key_id else ():  # one that was never made signed nothing
        reader, since_ns = log.log.reader, since * NANOSECONDS
        for record in reader.of_types((RecordType.REQUEST,), reader.since_time(since_ns), key_id):
            event: RequestEvent = record.head.event
            if event.key_id != key_id or record.time_ns < since_ns:
                continue
            found.append(
                pb.Impact(
                    log=log.id, seq=record.seq, time_ns=record.time_ns, event_id=ulid_text(event.event_id),
                    identity=event.identity, grant_id=event.grant_id, first_leaf_index=record.head.first_leaf,
                    count=record.head.count, algorithm=event.algorithm.label,
                    digests=bytes(record.digests[: DIGESTS_MAX * event.algorithm.size]),
                )
            )  # fmt: skip
            if len(found) > IMPACT_MAX:
                return found
    return found
