"""PolicyService: what the rules are, and what others would change.

Guarantees: nothing here changes a rule but an approved change; compiling and simulating happen in a thread, one at a
time, over a bounded number of records. Does not: read files.
"""

from __future__ import annotations

from sealpress.errors import Malformed, SealpressError
from sealpress.flow import Flow
from sealpress.governance import lint, simulate
from sealpress.governance.desk import Actor, Desk
from sealpress.governance.diff import diff
from sealpress.governance.floors import Profile
from sealpress.governance.form import POLICY_BYTES_MAX
from sealpress.governance.policy import compile_policy
from sealpress.governance.rules import Policy
from sealpress.governance.simulate import Decision, RecordedRequest
from sealpress.rpc import views
from sealpress.rpc.control import Control, utf8
from sealpress.rpc.interceptors import Callers, Context, guarded
from sealpress.rpc.scanning import Scans
from sealpress.steps._ids import ulid_text
from sealpress.steps._office import Office
from sealpress.steps._ticket import LogState
from sealpress.telemetry import Telemetry
from sealpress.tlog.entry import RequestEvent, unpack_names
from sealpress.tlog.record import Record
from sealpress.v1 import policy_pb2 as pb
from sealpress.v1 import policy_pb2_grpc
from sealpress.values import Artifact, RecordType

SIMULATED = 10_000
SIMULATED_MAX = 100_000
CHANGED_MAX = 1_000
NANOSECONDS = 1_000_000_000


class PolicyService(policy_pb2_grpc.PolicyServiceServicer):
    """The methods of protos/sealpress/v1/policy.proto."""

    def __init__(self, flow: Flow, office: Office, callers: Callers, telemetry: Telemetry) -> None:
        """One for all listeners."""
        self._control = Control("policy", flow, office, callers, telemetry)
        self._scans = Scans(1)
        self.telemetry = telemetry

    @guarded
    async def GetPolicy(self, request: pb.GetPolicyRequest, context: Context) -> pb.GetPolicyResponse:
        """The file in force, and those that wait."""

        def view(desk: Desk, actor: Actor) -> pb.GetPolicyResponse:
            now = desk.state
            return pb.GetPolicyResponse(
                policy=now.policy.encode(),
                sha256=bytes.fromhex(now.policy_sha256),
                scheduled=[
                    pb.ScheduledPolicy(change_id=id_, sha256=bytes.fromhex(one.policy_sha256), effective=one.effective)
                    for id_, one in now.scheduled.items()
                ],
            )

        return await self._control.look(context, "GetPolicy", view)

    @guarded
    async def ValidatePolicy(self, request: pb.ValidatePolicyRequest, context: Context) -> pb.ValidatePolicyResponse:
        """What is wrong with a file."""
        profile = await self._control.look(context, "ValidatePolicy", _profile)
        text = utf8(request.policy, "policy", POLICY_BYTES_MAX)
        return pb.ValidatePolicyResponse(findings=await self._scans.run(findings, text.encode(), profile))

    @guarded
    async def DiffPolicy(self, request: pb.DiffPolicyRequest, context: Context) -> pb.DiffPolicyResponse:
        """Against the policy in force."""
        old = await self._control.look(context, "DiffPolicy", _in_force)
        profile = self._control.office.desk().anchors.profile

        def work() -> list[pb.PolicyDifference]:
            new = _compiled(request.policy, profile)
            found = diff(old, new) if old is not None else []
            return [pb.PolicyDifference(line=one.line, text=one.text, loosening=one.loosening) for one in found]

        return pb.DiffPolicyResponse(differences=await self._scans.run(work))

    @guarded
    async def SimulatePolicy(self, request: pb.SimulatePolicyRequest, context: Context) -> pb.SimulatePolicyResponse:
        """Over recorded requests."""
        profile = await self._control.look(context, "SimulatePolicy", _profile)
        if request.limit > SIMULATED_MAX:
            raise Malformed(f"at most {SIMULATED_MAX} records at a time", reason="TOO_LARGE", hint="go on later")
        logs = [one for one in self._control.flow.shared.logs.values() if request.log in ("", one.id)]
        if not logs:
            raise Malformed("there is no such log here", hint="leave `log` empty for all logs")
        return await self._scans.run(lambda: _simulated(request, _compiled(request.policy, profile), logs))

    @guarded
    async def ProposePolicy(self, request: pb.ProposePolicyRequest, context: Context) -> pb.ProposePolicyResponse:
        """A whole file."""
        record = await self._control.propose(context, request.proposal)
        told = views.whole_change(self._control.office, record.change_id).change
        return pb.ProposePolicyResponse(change=told, recorded=self._control.recorded())


def findings(body: bytes, profile: Profile) -> list[pb.Finding]:
    """What lint says, or the one thing for which the file is no policy under this profile."""
    try:
        policy = compile_policy(body, "policy", profile=profile)
    except SealpressError as error:
        return [pb.Finding(level="error", where="policy", code="POLICY", text=views.text_of(error))]
    return [pb.Finding(level=one.level, where=one.where, code=one.code, text=one.text) for one in lint.lint(policy)]


def _profile(desk: Desk, actor: Actor) -> Profile:
    return desk.anchors.profile


def _in_force(desk: Desk, actor: Actor) -> Policy | None:
    return desk.policy


def _compiled(raw: bytes, profile: Profile) -> Policy:
    text = utf8(raw, "policy", POLICY_BYTES_MAX)
    try:
        return compile_policy(text.encode(), "policy", profile=profile)
    except SealpressError as error:
        raise Malformed(error.message, reason="POLICY_INVALID", hint=error.hint) from None


def _simulated(request: pb.SimulatePolicyRequest, policy: Policy, logs: list[LogState]) -> pb.SimulatePolicyResponse:
    limit = request.limit or SIMULATED
    answer = pb.SimulatePolicyResponse()
    for log in logs:
        reader = log.log.reader
        for record in reader.of_types((RecordType.REQUEST,), reader.since_seq(request.from_seq)):
            found = _recorded(record)
            if answer.events == limit or len(answer.changed) == CHANGED_MAX:
                answer.truncated = True
                return answer
            answer.events += 1
            after = simulate.decide(policy, found)
            if after.rule != found.decision.rule:
                answer.changed.append(
                    pb.ChangedDecision(
                        log=log.id, seq=record.seq, identity=found.identity, line=found.line,
                        before=_said(found.decision), after=_said(after),
                    )
                )  # fmt: skip
    return answer


def _said(decision: Decision) -> str:
    return f"rule {decision.rule}" if decision.allowed else f"refused {decision.reason}"


def _recorded(record: Record) -> RecordedRequest:
    """The inputs of a recorded decision to allow; refusals do not hold all of theirs."""
    event: RequestEvent = record.head.event
    named = unpack_names(record.names) if record.names else []
    said = event.artifact
    return RecordedRequest(
        identity=event.identity,
        line=event.line,
        algorithm=event.algorithm,
        time_s=record.time_ns // NANOSECONDS,
        decision=Decision(event.rule),
        issuer=getattr(event, "issuer", ""),
        subject=getattr(event, "subject", ""),
        claims=tuple(getattr(event, "claims", ())),
        artifact=Artifact(said.name, said.version, said.size, said.media_type),
        names=tuple(name for _, name in named) if event.batch else (),
        sizes=tuple(size for size, _ in named) if event.batch else (),
        batch=event.batch,
        event_id=ulid_text(event.event_id),
    )
