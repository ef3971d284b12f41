"""The client of those who govern: proposals, approvals, stops, and what there is to see. Synchronous.

Guarantees: the errors of `sealpress.client`; a call that changes something is sent once, never again by itself: who
does not hear the answer looks at the state. Does not: decide what to show or sign (cli/approve.py does), or touch keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from sealpress.client.config import ClientConfig
from sealpress.client.listeners import Listeners
from sealpress.errors import Invalid
from sealpress.v1 import (
    access_pb2,
    approval_pb2,
    audit_pb2,
    governance_pb2,
    grant_pb2,
    issuance_pb2,
    policy_pb2,
    retirement_pb2,
    types_pb2,
)
from sealpress.values import DigestAlgorithm

TIMEOUT_S = 60.0
PENDING_MAX = 10_000  # changes that may wait at a node
UNDER_WAY = frozenset({"in_review", "approved", "held", "active"})  # states of a grant that is not over


@dataclass(frozen=True, slots=True)
class Texts:
    """What a proposer says about a change."""

    reason: str
    risk: str = ""
    rollback: str = ""
    ticket: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One artifact of a release."""

    digest: bytes
    name: str = ""
    version: str = ""
    size: int = 0


class ControlClient:
    """Use as a context manager. Answers are the messages of protos/sealpress/v1."""

    def __init__(self, config: ClientConfig, *, timeout_s: float = TIMEOUT_S) -> None:
        """Checks our own certificate; connects on first use."""
        self.config = config
        self._to = Listeners(config, timeout_s)

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._to.close()

    # ---- changes ----

    def propose(self, kind: str, request: bytes, texts: Texts) -> governance_pb2.Change:
        """A change of any kind but `sign.release`, at the service of its power."""
        proposal = governance_pb2.Proposal(
            kind=kind, request=request, reason=texts.reason, risk=texts.risk, rollback=texts.rollback,
            ticket=texts.ticket,
        )  # fmt: skip
        call, message = self._proposing(kind)
        answer: governance_pb2.Change = self._to.call(call, message(proposal=proposal)).change
        return answer

    def changes(
        self, *, line: str = "", kind: str = "", state: str = "", limit: int = 0, before_seq: int = 0
    ) -> governance_pb2.ListChangesResponse:
        """The newest first."""
        request = governance_pb2.ListChangesRequest(
            line=line, kind=kind, state=state, limit=limit, before_seq=before_seq
        )
        answer: governance_pb2.ListChangesResponse = self._to.call(self._to.approval.ListChanges, request)
        return answer

    def change(self, change_id: str) -> governance_pb2.GetChangeResponse:
        """One with everything."""
        request = governance_pb2.GetChangeRequest(change_id=change_id)
        answer: governance_pb2.GetChangeResponse = self._to.call(self._to.approval.GetChange, request)
        return answer

    def governance(self) -> governance_pb2.GetGovernanceResponse:
        """Keys, persons and roles as they stand."""
        request = governance_pb2.GetGovernanceRequest()
        answer: governance_pb2.GetGovernanceResponse = self._to.call(self._to.approval.GetGovernance, request)
        return answer

    # ---- approvals ----

    def pending(self) -> list[governance_pb2.Change]:
        """What we may approve now, the oldest first."""
        found: list[governance_pb2.Change] = []
        after_seq = 0
        while True:
            request = approval_pb2.ListPendingRequest(after_seq=after_seq)
            answer: approval_pb2.ListPendingResponse = self._to.call(self._to.approval.ListPending, request)
            found += answer.changes
            if not answer.next_after_seq:
                return found
            if answer.next_after_seq <= after_seq or len(found) > PENDING_MAX:
                raise Invalid("the daemon's list of what waits for us does not end", reason="ANSWER")
            after_seq = answer.next_after_seq

    def statement(self, change_id: str, note: str = "") -> bytes:
        """The exact bytes that we would sign."""
        request = approval_pb2.GetStatementRequest(change_id=change_id, note=note)
        return bytes(self._to.call(self._to.approval.GetStatement, request).statement)

    def submit(self, statement: bytes, signature: str) -> governance_pb2.Change:
        """A signed statement, ours or another's."""
        request = approval_pb2.SubmitApprovalRequest(statement=statement, signature=signature)
        answer: governance_pb2.Change = self._to.call(self._to.approval.SubmitApproval, request).change
        return answer

    def withdraw(self, change_id: str, reason: str) -> governance_pb2.Change:
        """Our change, or our approval of another's."""
        request = approval_pb2.WithdrawRequest(change_id=change_id, reason=reason)
        answer: governance_pb2.Change = self._to.call(self._to.approval.Withdraw, request).change
        return answer

    def reject(self, change_id: str, reason: str) -> governance_pb2.Change:
        """No."""
        request = approval_pb2.RejectRequest(change_id=change_id, reason=reason)
        answer: governance_pb2.Change = self._to.call(self._to.approval.Reject, request).change
        return answer

    def watch(self) -> Iterator[governance_pb2.Change]:
        """What waits for us, as it comes; each change once."""
        told: set[str] = set()
        for answer in self._to.follow(lambda: self._to.approval.Watch, approval_pb2.WatchRequest()):
            if answer.HasField("change") and answer.change.change_id not in told:
                told.add(answer.change.change_id)
                yield answer.change

    # ---- keys ----

    def generated(self, change_id: str, report: bytes, *, adopted: bool = False) -> governance_pb2.GovernedKey:
        """What the custodian did."""
        if adopted:
            request: Any = issuance_pb2.AdoptKeyRequest(change_id=change_id, report=report)
            answer = self._to.call(self._to.issuance.AdoptKey, request)
        else:
            request = issuance_pb2.GenerateKeyRequest(change_id=change_id, report=report)
            answer = self._to.call(self._to.issuance.GenerateKey, request)
        key: governance_pb2.GovernedKey = answer.key
        return key

    def certify(self, key: str, chain: bytes) -> governance_pb2.GovernedKey:
        """A certificate chain, PEM."""
        request = issuance_pb2.CertifyKeyRequest(key=key, chain=chain)
        found: governance_pb2.GovernedKey = self._to.call(self._to.issuance.CertifyKey, request).key
        return found

    def activate(self, change_id: str) -> governance_pb2.GovernedKey:
        """It signs from here on."""
        request = issuance_pb2.ActivateKeyRequest(change_id=change_id)
        found: governance_pb2.GovernedKey = self._to.call(self._to.issuance.ActivateKey, request).key
        return found

    def suspend_key(self, key: str, reason: str) -> governance_pb2.GovernedKey:
        """It signs no more, until a quorum says so."""
        request = retirement_pb2.SuspendKeyRequest(key=key, reason=reason)
        found: governance_pb2.GovernedKey = self._to.call(self._to.retirement.SuspendKey, request).key
        return found

    def deactivate(self, change_id: str) -> governance_pb2.GovernedKey:
        """It only verifies."""
        request = retirement_pb2.DeactivateKeyRequest(change_id=change_id)
        found: governance_pb2.GovernedKey = self._to.call(self._to.retirement.DeactivateKey, request).key
        return found

    def destroy(self, change_id: str, witnesses: Sequence[str]) -> governance_pb2.GovernedKey:
        """It is on no token any more."""
        request = retirement_pb2.DestroyKeyRequest(change_id=change_id, witnesses=witnesses)
        found: governance_pb2.GovernedKey = self._to.call(self._to.retirement.DestroyKey, request).key
        return found

    def impact(self, key: str, since: int = 0) -> retirement_pb2.GetImpactResponse:
        """What it signed since then."""
        request = retirement_pb2.GetImpactRequest(key=key, since=since)
        answer: retirement_pb2.GetImpactResponse = self._to.call(self._to.retirement.GetImpact, request)
        return answer

    # ---- persons and roles ----

    def suspend_identity(self, identity: str, reason: str) -> None:
        """No right until two persons give it back."""
        self._to.call(
            self._to.access.SuspendIdentity, access_pb2.SuspendIdentityRequest(identity=identity, reason=reason)
        )

    def offboard(self, identity: str, reason: str) -> None:
        """No right ever again."""
        self._to.call(
            self._to.access.OffboardIdentity, access_pb2.OffboardIdentityRequest(identity=identity, reason=reason)
        )

    def revoke_binding(self, binding: str, reason: str) -> None:
        """The role is gone."""
        self._to.call(self._to.access.RevokeBinding, access_pb2.RevokeBindingRequest(binding=binding, reason=reason))

    def revoke_credential(self, fingerprint: str, reason: str) -> None:
        """The key counts for nothing."""
        request = access_pb2.RevokeCredentialRequest(fingerprint=fingerprint, reason=reason)
        self._to.call(self._to.access.RevokeCredential, request)

    def roles(self) -> access_pb2.GetRolesResponse:
        """Our own."""
        answer: access_pb2.GetRolesResponse = self._to.call(self._to.access.GetRoles, access_pb2.GetRolesRequest())
        return answer

    # ---- the policy ----

    def policy(self) -> policy_pb2.GetPolicyResponse:
        """In force, and waiting."""
        answer: policy_pb2.GetPolicyResponse = self._to.call(self._to.policy.GetPolicy, policy_pb2.GetPolicyRequest())
        return answer

    def diff_policy(self, policy: bytes) -> list[policy_pb2.PolicyDifference]:
        """Against the policy in force, by meaning."""
        request = policy_pb2.DiffPolicyRequest(policy=policy)
        return list(self._to.call(self._to.policy.DiffPolicy, request).differences)

    def simulate(
        self, policy: bytes, log: str = "", from_seq: int = 0, limit: int = 0
    ) -> policy_pb2.SimulatePolicyResponse:
        """How it would have decided what is recorded."""
        request = policy_pb2.SimulatePolicyRequest(policy=policy, log=log, from_seq=from_seq, limit=limit)
        answer: policy_pb2.SimulatePolicyResponse = self._to.call(self._to.policy.SimulatePolicy, request)
        return answer

    # ---- grants ----

    def request_grant(
        self, line: str, release_id: str, algorithm: DigestAlgorithm, items: Sequence[Item], *, ttl_s: int = 0,
        reason: str = "", ticket: str = "", security_version: int = 0,
    ) -> grant_pb2.Grant:  # fmt: skip
        """A grant, or the change that will bring it."""
        request = grant_pb2.RequestGrantRequest(
            key=line, release_id=release_id, algorithm=_algorithm(algorithm), ttl_s=ttl_s, reason=reason,
            ticket=ticket, security_version=security_version, items=[
                grant_pb2.ReleaseItem(digest=one.digest, name=one.name, version=one.version, size=one.size)
                for one in items
            ],
        )  # fmt: skip
        answer: grant_pb2.Grant = self._to.call(self._to.grants.RequestGrant, request).grant
        return answer

    def submit_manifest(
        self, line: str, release_id: str, algorithm: DigestAlgorithm, items: Sequence[Item], *, version: str = "",
        ttl_s: int = 0, reason: str = "", ticket: str = "", security_version: int = 0,
    ) -> grant_pb2.SubmitManifestResponse:  # fmt: skip
        """The same for many artifacts, in columns."""
        request = grant_pb2.SubmitManifestRequest(
            key=line, release_id=release_id, algorithm=_algorithm(algorithm), version=version, ttl_s=ttl_s,
            digests=b"".join(one.digest for one in items), names=[one.name for one in items],
            sizes=[one.size for one in items], reason=reason, ticket=ticket, security_version=security_version,
        )  # fmt: skip
        answer: grant_pb2.SubmitManifestResponse = self._to.call(self._to.grants.SubmitManifest, request)
        return answer

    def grant(self, id_: str) -> grant_pb2.Grant:
        """By its id, or its change's."""
        answer: grant_pb2.Grant = self._to.call(self._to.grants.GetGrant, grant_pb2.GetGrantRequest(id=id_)).grant
        return answer

    def watch_grant(self, id_: str) -> Iterator[grant_pb2.Grant]:
        """Its states until it is over."""
        last = None
        for answer in self._to.follow(lambda: self._to.grants.WatchGrant, grant_pb2.WatchGrantRequest(id=id_)):
            if answer.HasField("grant") and answer.grant != last:
                last = answer.grant
                yield last
                if last.state not in UNDER_WAY:
                    return

    def release(self, grant_id: str) -> grant_pb2.Grant:
        """Pass the last gate."""
        request = grant_pb2.ReleaseSignaturesRequest(grant_id=grant_id)
        answer: grant_pb2.Grant = self._to.call(self._to.grants.ReleaseSignatures, request).grant
        return answer

    def revoke_grant(self, id_: str, reason: str, *, control: bool = False) -> None:
        """No more uses; `control`: as one who may stop, at the control listener."""
        call = self._to.retirement.RevokeGrant if control else self._to.grants.RevokeGrant
        self._to.call(call, grant_pb2.RevokeGrantRequest(id=id_, reason=reason))

    # ---- audit ----

    def who_can_sign(self, line: str = "", environment: str = "") -> list[audit_pb2.LineAccess]:
        """From the policy in force."""
        request = audit_pb2.WhoCanSignRequest(key=line, environment=environment)
        return list(self._to.call(self._to.audit.WhoCanSign, request).lines)

    def what_can_sign(self, identity: str) -> audit_pb2.WhatCanSignResponse:
        """The same the other way round."""
        request = audit_pb2.WhatCanSignRequest(identity=identity)
        answer: audit_pb2.WhatCanSignResponse = self._to.call(self._to.audit.WhatCanSign, request)
        return answer

    def audited_change(self, change_id: str) -> governance_pb2.GetChangeResponse:
        """As `change`, for auditors."""
        request = governance_pb2.GetChangeRequest(change_id=change_id)
        answer: governance_pb2.GetChangeResponse = self._to.call(self._to.audit.GetChange, request)
        return answer

    def events(self, kind: str = "", from_seq: int = 0, limit: int = 0) -> audit_pb2.ListEventsResponse:
        """Governance records, in order."""
        request = audit_pb2.ListEventsRequest(kind=kind, from_seq=from_seq, limit=limit)
        answer: audit_pb2.ListEventsResponse = self._to.call(self._to.audit.ListEvents, request)
        return answer

    # ---- helpers ----

    def _proposing(self, kind: str) -> tuple[Any, Any]:
        """The call for a kind of change and its message."""
        if kind.startswith("access."):
            return self._to.access.ProposeAccess, access_pb2.ProposeAccessRequest
        if kind.startswith("policy."):
            return self._to.policy.ProposePolicy, policy_pb2.ProposePolicyRequest
        if kind in ("key.deactivate", "key.destroy", "key.compromise"):
            return self._to.retirement.ProposeRetirement, retirement_pb2.ProposeRetirementRequest
        return self._to.issuance.ProposeIssuance, issuance_pb2.ProposeIssuanceRequest


def _algorithm(algorithm: DigestAlgorithm) -> str:
    return str(types_pb2.DigestAlgorithm.Name(int(algorithm)))
