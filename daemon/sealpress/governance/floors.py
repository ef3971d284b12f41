"""What each class of lines demands at least, and what holds where the policy is silent (GOVERNANCE 0 and 2).

A policy may only tighten a floor; so may a profile (GR-133). Defaults are the floor unless the table says more.

Guarantees: every class has a row; no profile's floor is below that of `baseline`. Does not: read policies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from sealpress.governance.form import Constraint, Isolation
from sealpress.values import KeyClass
from sealpress.verify.change import Credential

Profile = Literal["lab", "baseline", "regulated"]
HOUR, DAY = 3_600, 86_400

RANK: dict[KeyClass, int] = {class_: rank for rank, class_ in enumerate(KeyClass)}
CREDENTIALS: tuple[Credential, ...] = ("ssh", "sk", "sk+uv")
ISOLATIONS: tuple[Isolation, ...] = ("shared", "process", "slot", "hsm")
CONSTRAINTS: tuple[Constraint, ...] = ("any", "name-version", "manifest", "exact-digests")

VALID_S_MAX = 30 * DAY
EXCEPTION_QUORUM = 2
EXCEPTION_VALID_S, EXCEPTION_VALID_S_MAX = 4 * HOUR, DAY
SECURITY_OFFICERS = "security-officers"
NODE_QUORUM = 2
NODE_VALID_S = DAY
NODE_PATHS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("policy", ("policy-approvers", SECURITY_OFFICERS), (SECURITY_OFFICERS,)),
    ("access", ("access-admins", SECURITY_OFFICERS), ()),
)
"""Path, its groups by default, and those that must be among the approvers."""

TRUSTS_FIRMWARE = frozenset({"firmware", "boot", "recovery_path"})
"""What believes such a key cannot be recalled: class firmware at least (GR-02)."""


@dataclass(frozen=True, slots=True)
class Floor:
    """One class. Defaults are named so; everything else is a floor and the default."""

    quorum: int  # of the path `signing`
    quorum_of_stages: int  # of issuance and retirement
    credential: Credential
    valid_s: int  # default of one approval for signing
    valid_of_stages_s: int  # default of one approval for issuance and retirement
    isolation: Isolation
    grant_ttl_s: int  # default
    grant_ttl_s_max: int
    constraint: Constraint
    constraint_default: Constraint


_BASELINE: dict[KeyClass, Floor] = {
    KeyClass.TEST: Floor(0, 0, "ssh", DAY, DAY, "shared", HOUR, DAY, "any", "any"),
    KeyClass.LOW: Floor(0, 1, "ssh", DAY, DAY, "shared", HOUR, DAY, "any", "any"),
    KeyClass.RELEASE: Floor(1, 1, "sk", DAY, DAY, "shared", 8 * HOUR, DAY, "name-version", "manifest"),
    KeyClass.FIRMWARE: Floor(
        2, 2, "sk+uv", 3 * DAY, 3 * DAY, "slot", 3 * DAY, 3 * DAY, "exact-digests", "exact-digests"
    ),
    KeyClass.ROOT: Floor(
        3, 3, "sk+uv", 3 * DAY, 14 * DAY, "slot", 3 * DAY, 3 * DAY, "exact-digests", "exact-digests"
    ),
}  # fmt: skip


def floor(class_: KeyClass, profile: Profile = "baseline") -> Floor:
    """What lines of this class demand under this profile."""
    base = _BASELINE[class_]
    if profile != "regulated" or RANK[class_] < RANK[KeyClass.RELEASE]:
        return base
    isolation = max(base.isolation, "slot", key=ISOLATIONS.index)
    return replace(
        base, quorum=max(base.quorum, 2), quorum_of_stages=max(base.quorum_of_stages, 2), isolation=isolation
    )


def at_least(class_: KeyClass, other: KeyClass) -> bool:
    """Whether `class_` is `other` or above it."""
    return RANK[class_] >= RANK[other]
