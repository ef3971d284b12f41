"""IssuanceService: makes keys and lets them sign.

Guarantees: nothing without a change that was approved (GR-13); what the custodian reports is compared with it. Does
not: touch a token: the custodian does, as another user with another login (GR-15).
"""

from __future__ import annotations

import msgspec

from sealpress.errors import Malformed, Precondition
from sealpress.flow import Flow
from sealpress.governance import certifying, execution
from sealpress.governance import facts as f
from sealpress.governance.desk import Actor, Desk
from sealpress.rpc import views
from sealpress.rpc.control import Control, utf8
from sealpress.rpc.interceptors import Callers, Context, guarded
from sealpress.steps._office import Office
from sealpress.telemetry import Telemetry
from sealpress.v1 import governance_pb2, issuance_pb2_grpc
from sealpress.v1 import issuance_pb2 as pb

REPORT_BYTES_MAX = 1 << 16
CHAIN_BYTES_MAX = 1 << 17


class IssuanceService(issuance_pb2_grpc.IssuanceServiceServicer):
    """The methods of protos/sealpress/v1/issuance.proto."""

    def __init__(self, flow: Flow, office: Office, callers: Callers, telemetry: Telemetry) -> None:
        """One for all listeners."""
        self._control = Control("issuance", flow, office, callers, telemetry)
        self.telemetry = telemetry

    @guarded
    async def ProposeIssuance(self, request: pb.ProposeIssuanceRequest, context: Context) -> pb.ProposeIssuanceResponse:
        """A key, its activation, its return, longer dates, shares of its backup."""
        record = await self._control.propose(context, request.proposal)
        told = views.whole_change(self._control.office, record.change_id).change
        return pb.ProposeIssuanceResponse(change=told, recorded=self._control.recorded())

    @guarded
    async def GenerateKey(self, request: pb.GenerateKeyRequest, context: Context) -> pb.GenerateKeyResponse:
        """The custodian made it."""
        key = await self._reported(context, "GenerateKey", "key.issue", request.change_id, request.report)
        return pb.GenerateKeyResponse(key=key, recorded=self._control.recorded())

    @guarded
    async def AdoptKey(self, request: pb.AdoptKeyRequest, context: Context) -> pb.AdoptKeyResponse:
        """The custodian found it."""
        key = await self._reported(context, "AdoptKey", "key.adopt", request.change_id, request.report)
        return pb.AdoptKeyResponse(key=key, recorded=self._control.recorded())

    @guarded
    async def CertifyKey(self, request: pb.CertifyKeyRequest, context: Context) -> pb.CertifyKeyResponse:
        """A certificate chain for it."""

        def rule(desk: Desk, actor: Actor) -> tuple[str, list[f.Fact]]:
            chain = utf8(request.chain, "chain", CHAIN_BYTES_MAX)
            return request.key, certifying.certify(desk, actor, request.key, chain)

        key = await self._control.act(context, "CertifyKey", rule)
        return pb.CertifyKeyResponse(key=self._key(key), recorded=self._control.recorded())

    @guarded
    async def ActivateKey(self, request: pb.ActivateKeyRequest, context: Context) -> pb.ActivateKeyResponse:
        """It signs from here on."""

        def rule(desk: Desk, actor: Actor) -> tuple[str, list[f.Fact]]:
            of_kind(desk, request.change_id, "key.activate")
            return key_of(desk, request.change_id), execution.execute(desk, actor, request.change_id)

        key = await self._control.act(context, "ActivateKey", rule)
        return pb.ActivateKeyResponse(key=self._key(key), recorded=self._control.recorded())

    async def _reported(
        self, context: Context, method: str, kind: str, change_id: str, raw: bytes
    ) -> governance_pb2.GovernedKey:
        def rule(desk: Desk, actor: Actor) -> tuple[str, list[f.Fact]]:
            of_kind(desk, change_id, kind)
            report = _report(raw)
            return report.key, execution.execute(desk, actor, change_id, report)

        return self._key(await self._control.act(context, method, rule))

    def _key(self, name: str) -> governance_pb2.GovernedKey:
        office = self._control.office
        return views.key(name, office.state.keys[name], office.ledger)


def of_kind(desk: Desk, change_id: str, kind: str) -> None:
    """Precondition WRONG_KIND unless the change is of this kind: each verb has its own call."""
    found = desk.state.change(change_id).record.kind
    if found != kind:
        raise Precondition(f"the change is a {found}", reason="WRONG_KIND", hint=f"this call carries out {kind}")


def key_of(desk: Desk, change_id: str) -> str:
    """The key that the change is about."""
    request = msgspec.json.decode(desk.state.change(change_id).record.request)
    return str(request["key"])


def _report(raw: bytes) -> f.KeyGenerated:
    if len(raw) > REPORT_BYTES_MAX:
        raise Malformed(f"report is more than {REPORT_BYTES_MAX} bytes", reason="TOO_LARGE")
    try:
        return msgspec.json.decode(raw, type=f.KeyGenerated)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the report: {error}", hint="send the file that `sealpress custodian` wrote") from None
