"""What the governing services share: who may call which, how a rule becomes records, how refusals become records.

One service is one power (GR-10): before a request is even looked at, its caller must be an enrolled, active person with
a role that the service is for. Then the rule judges the role on the line at hand.

Guarantees: whoever has no role of a service's power is answered NOT_PERMITTED whatever he sends, and the refusal is
recorded; a rule sees the actor as he is at the moment of the append. Does not: decide (governance does) or append (the
office does).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from sealpress.errors import Malformed, NotPermitted, Precondition, Refusal
from sealpress.flow import Flow
from sealpress.governance import changes as c
from sealpress.governance import facts as f
from sealpress.governance import proposals
from sealpress.governance.desk import Actor, Desk
from sealpress.governance.proposals import Texts
from sealpress.governance.roles import Role
from sealpress.rpc.interceptors import Callers, Context
from sealpress.steps import _grounds
from sealpress.steps._office import Office
from sealpress.steps._request import Caller
from sealpress.telemetry import Telemetry
from sealpress.v1 import governance_pb2 as pb
from sealpress.verify.change import REQUEST_BYTES_MAX, TEXT_MAX, ChangeRecord

T = TypeVar("T")
Rule = Callable[[Desk, Actor], tuple[T, list[f.Fact]]]

_OFFICER = Role.SECURITY_OFFICER
POWERS: dict[str, frozenset[Role]] = {
    "issuance": frozenset({Role.ISSUANCE_OPERATOR, Role.RECOVERY_CUSTODIAN, _OFFICER}),
    "retirement": frozenset({Role.RETIREMENT_OPERATOR, Role.INCIDENT_RESPONDER, _OFFICER}),
    "policy": frozenset({Role.POLICY_AUTHOR, Role.POLICY_APPROVER, _OFFICER}),
    "access": frozenset({Role.ACCESS_ADMIN, Role.ACCESS_REVIEWER, Role.INCIDENT_RESPONDER, _OFFICER}),
    "approval": frozenset(Role),
    "grant": frozenset({Role.RELEASER, Role.INCIDENT_RESPONDER, Role.RETIREMENT_OPERATOR, _OFFICER}),
}
"""Service → roles that it is for. Any role makes a person one who may see what waits for approval."""

KINDS_OF: dict[str, frozenset[str]] = {
    "issuance": frozenset({"key.issue", "key.adopt", "key.activate", "key.resume", "key.extend", "recovery.shares"}),
    "retirement": frozenset({"key.deactivate", "key.destroy", "key.compromise"}),
    "policy": frozenset({"policy.change"}),
    "access": frozenset({"access.enrol", "access.credential", "access.bind", "access.restore", "access.issuer"}),
}
"""Service → kinds of change that are proposed there."""
assert {"sign.release"} | frozenset().union(*KINDS_OF.values()) == set(c.KINDS)


class Control:
    """The tools of one service."""

    def __init__(
        self, power: str, flow: Flow, office: Office, callers: Callers, telemetry: Telemetry, service: str = ""
    ) -> None:
        """`power` names its roles in POWERS, `service` itself in records; by default the same."""
        self.power = power
        self.service = service or power
        self.flow = flow
        self.office = office
        self.callers = callers
        self.telemetry = telemetry

    async def act(self, context: Context, method: str, rule: Rule[T]) -> T:
        """Have a rule judged and its facts recorded; the refusal is recorded, too."""
        caller = self.callers.caller(context)

        def judged(desk: Desk) -> tuple[T, list[f.Fact]]:
            return rule(desk, self._admitted(desk, caller))

        try:
            return await self.office.act(judged)
        except (NotPermitted, Precondition) as refusal:
            raise await self.refused(refusal, caller, method) from None

    async def look(self, context: Context, method: str, view: Callable[[Desk, Actor], T]) -> T:
        """Something that changes nothing, for those whom the service is for."""
        caller = self.callers.caller(context)
        try:
            desk = self.office.desk()
            return view(desk, self._admitted(desk, caller))
        except (NotPermitted, Precondition) as refusal:
            raise await self.refused(refusal, caller, method) from None

    async def propose(self, context: Context, proposal: pb.Proposal) -> ChangeRecord:
        """A change of one of the service's kinds."""

        def rule(desk: Desk, actor: Actor) -> tuple[ChangeRecord, list[f.Fact]]:
            kind, request, texts = proposed(self.power, proposal)
            return proposals.propose(desk, actor, kind, request, texts)

        return await self.act(context, "Propose", rule)

    async def refused(self, refusal: Refusal, caller: Caller, method: str) -> Refusal:
        """The refusal with the id of its record."""
        return await self.flow.refusals.refused(refusal, caller, f"[{self.service}] {method}")

    def recorded(self) -> pb.Recorded:
        """Where the newest act stands."""
        return pb.Recorded(governance_seq=self.office.state.seq, log_size=self.office.head()[0])

    def _admitted(self, desk: Desk, caller: Caller) -> Actor:
        return admitted(desk, caller, POWERS[self.power])


def admitted(desk: Desk, caller: Caller, roles: frozenset[Role]) -> Actor:
    """The person behind the caller, if he holds one of these roles on any line; NotPermitted otherwise."""
    if caller.flaw:
        raise _grounds.identity_refusal(caller.flaw)
    actor = desk.actor(caller.identity.id)
    if not actor.person or not holds(desk, actor.identity, roles):
        raise NotPermitted(
            "this identity has no role that this service is for",
            hint="`sealpress access roles` shows a person's roles; an access administrator proposes bindings",
        )
    return actor


def holds(desk: Desk, identity: str, roles: Iterable[Role]) -> bool:
    """Whether the identity is bound to one of these roles on any line now."""
    wanted = frozenset(roles)
    ids = desk.state.bindings_of.get(identity, ())
    return any(
        binding.role in wanted and binding.covers(binding.line, desk.now)
        for binding in (desk.state.bindings[id_] for id_ in ids)
    )


def proposed(power: str, proposal: pb.Proposal) -> tuple[str, str, Texts]:
    """Kind, request and texts of a proposal; Malformed if another service is for it, or a text is too long."""
    if proposal.kind not in KINDS_OF[power]:
        raise Malformed(
            "this service is not for changes of that kind", hint=f"here: {', '.join(sorted(KINDS_OF[power]))}"
        )
    request = utf8(proposal.request, "request", REQUEST_BYTES_MAX)
    texts = {name: bounded(getattr(proposal, name), name) for name in ("reason", "risk", "rollback")}
    return proposal.kind, request, Texts(**texts, ticket=bounded(proposal.ticket, "ticket", 512))


def utf8(raw: bytes, field: str, bytes_max: int) -> str:
    """Bytes of a request as text."""
    if len(raw) > bytes_max:
        raise Malformed(f"{field} is more than {bytes_max} bytes", reason="TOO_LARGE", hint="shorten it")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Malformed(f"{field} is not UTF-8 text", hint="send canonical JSON") from None


def bounded(text: str, field: str, length_max: int = TEXT_MAX) -> str:
    """A caller's text, not too long for a record."""
    if len(text) > length_max:
        raise Malformed(f"{field} is more than {length_max} characters", reason="TOO_LARGE", hint="shorten it")
    return text
