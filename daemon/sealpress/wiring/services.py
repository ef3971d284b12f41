"""Makes the services of a node: signing and audit on every one, the governing ones where there is an office.

Guarantees: an ungoverned node offers nothing that governs; tokens of issuers that the governance log does not know are
refused on a governed one (GR-70). Does not: listen (rpc/server.py).
"""

from __future__ import annotations

from sealpress.config import Config
from sealpress.flow import Flow
from sealpress.rpc.access import AccessService
from sealpress.rpc.approval import ApprovalService
from sealpress.rpc.audit import AuditService
from sealpress.rpc.grant import GrantService
from sealpress.rpc.interceptors import Callers
from sealpress.rpc.issuance import IssuanceService
from sealpress.rpc.node import Node
from sealpress.rpc.policy import PolicyService
from sealpress.rpc.retirement import RetirementService
from sealpress.rpc.server import Governing, Services
from sealpress.rpc.signing import SigningService
from sealpress.rpc.tokens import Tokens
from sealpress.steps._office import Office
from sealpress.telemetry import Telemetry


def make(
    config: Config, flow: Flow, callers: Callers, telemetry: Telemetry, node: Node, office: Office | None
) -> Services:
    """One of each, for all listeners."""
    signing = SigningService(flow, callers, config.limits, telemetry)
    audit = AuditService(flow, callers, telemetry, node, office)
    if office is None:
        return Services(signing, audit)
    governing = Governing(
        GrantService(flow, office, callers, config.limits, telemetry),
        IssuanceService(flow, office, callers, telemetry),
        RetirementService(flow, office, callers, telemetry),
        ApprovalService(flow, office, callers, telemetry),
        AccessService(flow, office, callers, telemetry),
        PolicyService(flow, office, callers, telemetry),
    )
    return Services(signing, audit, governing)


def registered(tokens: Tokens, office: Office) -> None:
    """From here on only tokens of issuers that the governance log knows, as it knows them, are read.

    A token that was there when its pipeline last asked for a release has had its one use.
    """

    def known(url: str, kind: str, audience: str) -> bool:
        found = office.state.issuers.get(url)
        return found is not None and (found.kind, found.audience) == (kind, audience)

    tokens.registered = known
    records = (change.record for change in office.state.changes.values())
    tokens.had_s = {record.requester: record.created for record in records if record.kind == "sign.release"}
