"""Roles, the plane that each belongs to, and which two of them one person may not hold (GOVERNANCE.md).

Does not: know who holds what (state.py).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from itertools import combinations

from sealpress.values import KeyClass


class Role(enum.StrEnum):
    """What a person or machine may be bound to, per line."""

    REQUESTER = "requester"
    ISSUANCE_OPERATOR = "issuance-operator"
    RELEASE_APPROVER = "release-approver"
    RELEASER = "releaser"
    RETIREMENT_OPERATOR = "retirement-operator"
    POLICY_AUTHOR = "policy-author"
    POLICY_APPROVER = "policy-approver"
    SECURITY_OFFICER = "security-officer"
    ACCESS_ADMIN = "access-admin"
    ACCESS_REVIEWER = "access-reviewer"
    RECOVERY_CUSTODIAN = "recovery-custodian"
    INCIDENT_RESPONDER = "incident-responder"
    LOG_OPERATOR = "log-operator"
    AUDITOR = "auditor"


class Plane(enum.StrEnum):
    """A power: one service, one listener, one set of roles (GR-10)."""

    ISSUANCE = "issuance"
    USE = "use"
    RETIREMENT = "retirement"
    POLICY = "policy"
    ACCESS = "access"
    AUDIT = "audit"


PLANE_OF: dict[Role, Plane] = {
    Role.REQUESTER: Plane.USE,
    Role.ISSUANCE_OPERATOR: Plane.ISSUANCE,
    Role.RELEASE_APPROVER: Plane.USE,
    Role.RELEASER: Plane.USE,
    Role.RETIREMENT_OPERATOR: Plane.RETIREMENT,
    Role.POLICY_AUTHOR: Plane.POLICY,
    Role.POLICY_APPROVER: Plane.POLICY,
    Role.SECURITY_OFFICER: Plane.POLICY,
    Role.ACCESS_ADMIN: Plane.ACCESS,
    Role.ACCESS_REVIEWER: Plane.ACCESS,
    Role.RECOVERY_CUSTODIAN: Plane.ISSUANCE,
    Role.INCIDENT_RESPONDER: Plane.RETIREMENT,
    Role.LOG_OPERATOR: Plane.AUDIT,
    Role.AUDITOR: Plane.AUDIT,
}

_SIGNING = {Role.REQUESTER, Role.RELEASER}
_ISSUING = {Role.ISSUANCE_OPERATOR, Role.RETIREMENT_OPERATOR, Role.RECOVERY_CUSTODIAN}
_APPROVING = {Role.RELEASE_APPROVER, Role.POLICY_APPROVER, Role.SECURITY_OFFICER}
_FREE = {Role.INCIDENT_RESPONDER}  # it can only stop


def _pairs() -> frozenset[frozenset[Role]]:
    pairs: set[frozenset[Role]] = set()

    def apart(role: Role, others: Iterable[Role]) -> None:
        pairs.update(frozenset((role, other)) for other in others if other is not role)

    everything = set(Role) - _FREE
    apart(Role.ISSUANCE_OPERATOR, {Role.RETIREMENT_OPERATOR, *_SIGNING})
    apart(Role.RELEASE_APPROVER, {Role.ISSUANCE_OPERATOR, *_SIGNING})
    apart(Role.POLICY_AUTHOR, {Role.POLICY_APPROVER})
    apart(Role.ACCESS_ADMIN, {*_SIGNING, *_APPROVING, *_ISSUING})
    apart(Role.ACCESS_REVIEWER, {Role.ACCESS_ADMIN})
    apart(Role.AUDITOR, everything)
    apart(Role.LOG_OPERATOR, everything)
    apart(Role.RECOVERY_CUSTODIAN, {Role.ISSUANCE_OPERATOR, Role.RETIREMENT_OPERATOR})
    return frozenset(pairs)


CONFLICTS = _pairs()
"""Pairs that one person may not hold on one line of class `release` or above."""

_STRICT = {KeyClass.RELEASE, KeyClass.FIRMWARE, KeyClass.ROOT}


def strict(class_: KeyClass) -> bool:
    """Whether the conflict matrix and the separation of operators bind lines of this class."""
    return class_ in _STRICT


def conflict(roles: Iterable[Role]) -> tuple[Role, Role] | None:
    """Two of these roles that do not go together, or None."""
    for one, other in combinations(sorted(set(roles)), 2):
        if frozenset((one, other)) in CONFLICTS:
            return one, other
    return None
