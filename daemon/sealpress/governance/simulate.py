"""What a policy would have said to requests that are on record (GOVERNANCE 3.5, Simulate; GR-121).

Guarantees: pure: the same policy and records give the same decisions; a record is all that a decision needs. Does not:
replay grants, rates or key states: it answers for the policy's half of a decision.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sealpress.governance.rules import Policy
from sealpress.values import Artifact, DigestAlgorithm, Identity, SignAsk

NO_ARTIFACT = Artifact()


@dataclass(frozen=True, slots=True)
class Decision:
    """By which rule a request was allowed, or for what reason it was not."""

    rule: str = ""  # empty: refused
    reason: str = ""

    @property
    def allowed(self) -> bool:
        """Whether a rule admitted it."""
        return bool(self.rule)


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """The inputs of one decision, as the log has them, and how it went."""

    identity: str  # Identity.id
    line: str
    algorithm: DigestAlgorithm
    time_s: int
    decision: Decision
    issuer: str = ""
    subject: str = ""
    claims: tuple[tuple[str, str], ...] = ()
    artifact: Artifact = NO_ARTIFACT
    names: tuple[str, ...] = ()  # of a batch
    sizes: tuple[int, ...] = ()
    batch: bool = False
    event_id: str = ""


def simulate(policy: Policy, events: Iterable[RecordedRequest]) -> list[tuple[RecordedRequest, Decision, Decision]]:
    """Each record with its old decision and the one that this policy makes; what differs is for the caller to pick."""
    return [(event, event.decision, decide(policy, event)) for event in events]


def decide(policy: Policy, event: RecordedRequest) -> Decision:
    """What this policy says to one record."""
    identity = Identity(event.identity, b"", 0, issuer=event.issuer, subject=event.subject, claims=event.claims)
    ask = SignAsk(
        "simulated",
        event.line,
        event.algorithm,
        b"",
        artifact=event.artifact,
        names=event.names,
        sizes=event.sizes,
        batch=event.batch,
    )
    rule, reason = policy.evaluate(identity, event.line).admit(ask, event.time_s)
    return Decision(reason=reason) if rule is None else Decision(rule.id)
