"""GrantService: the right to have something signed, asked for by pipelines, decided by others.

Guarantees: a token gets one grant (its `jti` is spent here); the rule that lets somebody ask is the policy's, judged at
the append; who did not ask for a grant and may not release or stop it does not learn whether it exists. Does not:
count uses (the office's ledger does).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sealpress.config import Limits
from sealpress.errors import Malformed, NotPermitted, Precondition, Refusal
from sealpress.flow import Flow
from sealpress.governance import facts as f
from sealpress.governance import grants, proposals, releases, stops, usage
from sealpress.governance.desk import Actor, Desk
from sealpress.governance.grants import GrantAsk
from sealpress.governance.roles import Role
from sealpress.rpc import views
from sealpress.rpc.control import POWERS, Control, admitted, bounded
from sealpress.rpc.convert import algorithm_of, line_name
from sealpress.rpc.interceptors import Callers, Context, guarded
from sealpress.rpc.watching import Watchers
from sealpress.steps import _grounds
from sealpress.steps._office import Office
from sealpress.steps._request import Caller
from sealpress.telemetry import Telemetry
from sealpress.v1 import grant_pb2 as pb
from sealpress.v1 import grant_pb2_grpc
from sealpress.values import DigestAlgorithm
from sealpress.verify.change import ReleaseItem

T = TypeVar("T")
NAME_MAX = 512
WAITING = frozenset({"in_review", "approved"})
ALIVE = frozenset({*WAITING, "held", "active"})
ASKED_BY = "ask as who requested it, with the grant_id or change_id that RequestGrant answered"
SHOWN_TO = frozenset({Role.RELEASER, Role.RELEASE_APPROVER, Role.SECURITY_OFFICER, Role.INCIDENT_RESPONDER})


class GrantService(grant_pb2_grpc.GrantServiceServicer):
    """The methods of protos/sealpress/v1/grant.proto."""

    def __init__(self, flow: Flow, office: Office, callers: Callers, limits: Limits, telemetry: Telemetry) -> None:
        """One for all listeners."""
        self._control = Control("grant", flow, office, callers, telemetry)
        self._limits = limits
        self._watchers = Watchers(flow)
        self.telemetry = telemetry

    @guarded
    async def RequestGrant(self, request: pb.RequestGrantRequest, context: Context) -> pb.RequestGrantResponse:
        """A grant, or what waits for persons."""
        algorithm = algorithm_of(request.algorithm) if request.items else DigestAlgorithm.SHA256
        self._count(len(request.items))
        await self._permit(context, request.key)
        items = tuple(_item(algorithm, item.digest, item.name, item.version, item.size) for item in request.items)
        grant = await self._request(context, self._ask(request, algorithm, items))
        return pb.RequestGrantResponse(grant=grant)

    @guarded
    async def SubmitManifest(self, request: pb.SubmitManifestRequest, context: Context) -> pb.SubmitManifestResponse:
        """A release in columns."""
        algorithm = algorithm_of(request.algorithm)
        size, joined = algorithm.size, request.digests  # each look at the field would copy it
        number, rest = divmod(len(joined), size)
        if rest or not number:
            raise Malformed(f"digests has {len(joined)} bytes", reason="DIGEST_LENGTH",
                            hint=f"raw {algorithm.label} digests of {size} bytes each, end to end")  # fmt: skip
        self._count(number)
        for column, given in (("names", len(request.names)), ("sizes", len(request.sizes))):
            if given not in (0, number):
                raise Malformed(f"{column} has {given} entries, digests has {number}", hint=f"send {number} or none")
        await self._permit(context, request.key)
        names = request.names or [""] * number
        sizes = request.sizes or [0] * number
        digests = (joined[at : at + size] for at in range(0, len(joined), size))
        items = tuple(
            _item(algorithm, digest, name, request.version, bytes_)
            for digest, name, bytes_ in zip(digests, names, sizes, strict=True)
        )
        grant = await self._request(context, self._ask(request, algorithm, items))
        return pb.SubmitManifestResponse(manifest_sha256=grant.manifest_sha256, grant=grant)

    @guarded
    async def GetGrant(self, request: pb.GetGrantRequest, context: Context) -> pb.GetGrantResponse:
        """How far it has come."""
        caller = self._control.callers.caller(context)
        return pb.GetGrantResponse(grant=await self._shown(caller, "GetGrant", request.id))

    @guarded
    async def WatchGrant(self, request: pb.WatchGrantRequest, context: Context) -> None:
        """Its states, until it is over."""
        caller = self._control.callers.caller(context)
        last = None
        with self._watchers.watching() as watch:
            async for beat in watch:
                grant = await self._shown(self._control.callers.still(caller, context), "WatchGrant", request.id)
                if grant != last:
                    await context.write(pb.WatchGrantResponse(grant=grant))
                    last = grant
                elif beat:
                    await context.write(pb.WatchGrantResponse())
                if grant.state not in ALIVE:
                    return

    @guarded
    async def ReleaseSignatures(
        self, request: pb.ReleaseSignaturesRequest, context: Context
    ) -> pb.ReleaseSignaturesResponse:
        """The last gate, passed by a person who had no part in it."""

        def rule(desk: Desk, actor: Actor) -> tuple[None, list[f.Fact]]:
            return None, releases.release(desk, actor, request.grant_id)

        await self._control.act(context, "ReleaseSignatures", rule)
        return pb.ReleaseSignaturesResponse(grant=self._grant(request.grant_id), recorded=self._control.recorded())

    @guarded
    async def RevokeGrant(self, request: pb.RevokeGrantRequest, context: Context) -> pb.RevokeGrantResponse:
        """By its grantee, or by who may stop."""
        reason = bounded(request.reason, "reason")

        def rule(desk: Desk, caller: Caller) -> tuple[None, list[f.Fact]]:
            id_ = views.grant_of(desk, request.id) or request.id
            owner, _ = views.grantee(desk, id_)
            if owner == caller.identity.id:
                actor = _requester(desk, caller)
                if id_ in desk.state.changes:
                    return None, proposals.withdraw(desk, actor, id_, reason)
            else:
                actor = admitted(desk, caller, POWERS["grant"])
            return None, stops.revoke_grant(desk, actor, id_, reason)

        await self._act(context, "RevokeGrant", rule)
        return pb.RevokeGrantResponse(recorded=self._control.recorded())

    # ---- helpers, in call order ----

    async def _permit(self, context: Context, key: str) -> None:
        """Before a long release is taken apart: whether he may ask for its line; the refusal is recorded."""
        line = line_name(key, self._limits)

        def rule(desk: Desk, caller: Caller) -> tuple[None, list[f.Fact]]:
            usage.permitted(self._control.flow.shared.snapshot, caller.identity, line, desk.now)
            return None, []

        await self._act(context, "RequestGrant", rule, line=line)

    def _count(self, number: int) -> None:
        if number > self._limits.digests_per_request_max:
            limit = self._limits.digests_per_request_max
            raise Malformed(f"{number} digests is more than {limit}", reason="TOO_LARGE", hint="make several releases")

    def _ask(
        self, request: pb.RequestGrantRequest | pb.SubmitManifestRequest, algorithm: DigestAlgorithm,
        items: tuple[ReleaseItem, ...],
    ) -> GrantAsk:  # fmt: skip
        return GrantAsk(
            release_id=bounded(request.release_id, "release_id", NAME_MAX),
            line=line_name(request.key, self._limits),
            algorithm=algorithm.label,
            items=items,
            ttl_s=request.ttl_s,
            reason=bounded(request.reason, "reason"),
            ticket=bounded(request.ticket, "ticket", NAME_MAX),
            security_version=request.security_version,
        )

    async def _request(self, context: Context, ask: GrantAsk) -> pb.Grant:
        def rule(desk: Desk, caller: Caller) -> tuple[str, list[f.Fact]]:
            snapshot = self._control.flow.shared.snapshot
            usage.permitted(snapshot, caller.identity, ask.line, desk.now)
            return grants.request(desk, caller.identity, ask)

        return self._grant(await self._act(context, "RequestGrant", rule, line=ask.line, once=True))

    async def _act(
        self, context: Context, method: str, rule: Callable[[Desk, Caller], tuple[T, list[f.Fact]]],
        *, line: str = "", once: bool = False,
    ) -> T:  # fmt: skip
        """As Control.act, for callers who need not be persons."""
        control = self._control
        caller = control.callers.caller(context)
        taken = False

        def judged(desk: Desk) -> tuple[T, list[f.Fact]]:
            nonlocal taken
            if caller.flaw:
                raise _grounds.identity_refusal(caller.flaw)
            found = rule(desk, caller)
            # Only what is about to be granted costs the token its one use.
            spent = control.callers.consumed(caller) if once else caller
            if spent.flaw:
                raise _grounds.identity_refusal(spent.flaw)
            taken = once
            return found

        try:
            return await control.office.act(judged)
        except Refusal as refusal:
            if taken:  # it was not written: the log is full, say, and the same token may come back
                control.callers.give_back(caller)
            if not isinstance(refusal, NotPermitted | Precondition):
                raise
            if line:
                raise await control.flow.refusals.refused(refusal, caller, line) from None
            raise await control.refused(refusal, caller, method) from None

    async def _shown(self, caller: Caller, method: str, id_: str) -> pb.Grant:
        """The grant, for who asked for it and for those whom it concerns."""
        desk = self._control.office.desk()
        try:
            if caller.flaw:
                raise _grounds.identity_refusal(caller.flaw)
            owner, line = views.grantee(desk, id_)
            if not owner or owner != caller.identity.id:
                _check_concerned(desk, caller, line)
            grant = views.grant(desk, self._control.office, id_)
            if grant is None:
                raise Precondition("there is no such grant or change", reason="NO_SUCH_GRANT", hint=ASKED_BY)
        except (NotPermitted, Precondition) as refusal:
            raise await self._control.refused(refusal, caller, method) from None
        return grant

    def _grant(self, id_: str) -> pb.Grant:
        office = self._control.office
        found = views.grant(office.desk(), office, id_)
        assert found is not None
        return found


def _requester(desk: Desk, caller: Caller) -> Actor:
    """Who asked, enrolled or known by an issuer alone."""
    identity = desk.state.identities.get(desk.state.names.get(caller.identity.id, ""))
    if identity is None:
        return Actor(caller.identity.id, "", "workload")
    return desk.actor(caller.identity.id)


def _check_concerned(desk: Desk, caller: Caller, line: str) -> None:
    """NotPermitted unless he releases, approves or stops on the line; nothing of roles, for pipelines ask, too."""
    try:
        desk.need(admitted(desk, caller, SHOWN_TO), line, SHOWN_TO)
    except NotPermitted:
        raise NotPermitted("there is no grant of that id that this identity may see", hint=ASKED_BY) from None


def _item(algorithm: DigestAlgorithm, digest: bytes, name: str, version: str, size: int) -> ReleaseItem:
    if len(digest) != algorithm.size:
        raise Malformed(f"a digest has {len(digest)} bytes", reason="DIGEST_LENGTH",
                        hint=f"{algorithm.label} digests have {algorithm.size}")  # fmt: skip
    return ReleaseItem(
        digest=digest.hex(),
        name=bounded(name, "name", NAME_MAX),
        version=bounded(version, "version", NAME_MAX),
        size=min(size, (1 << 63) - 1),
    )
