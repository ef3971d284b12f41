"""Counting: which approvals of a change count at this moment, and what its quorum still lacks (I3).

Guarantees: only living persons with the role, in the path's groups, with a credential that is good, count; a policy
that waited is counted again at its hour. Does not: take approvals in (approvals.py), or carry out (execution.py).
"""

from __future__ import annotations

from msgspec import structs

from sealpress.governance import paths
from sealpress.governance.desk import Desk
from sealpress.governance.state import Approval, Change
from sealpress.verify import approval


def counted(desk: Desk, change: Change) -> list[Approval]:
    """The approvals that count now, each for the groups of now: person alive, in role, credential good, not over."""
    return [
        structs.replace(given, groups=groups)
        for given in change.approvals.values()
        if given.state == "counted"
        and desk.now < given.expires
        and _credential_good(desk, given)
        and (groups := paths.groups_of(desk, change, given.person))
    ]


def missing_at_its_hour(desk: Desk, change: Change) -> str:
    """What the quorum of a policy that waited lacks by now: of those who approved it in time, who still may."""
    required = change.record.required
    if required.path == "root":
        required = structs.replace(required, quorum=max(required.quorum, desk.anchors.root_threshold))
    still = [
        structs.replace(given, groups=groups)
        for given in change.approvals.values()
        if given.state == "consumed" and _credential_good(desk, given)
        if (groups := paths.groups_of(desk, change, given.person))
    ]
    return approval.quorum(structs.replace(change.record, required=required), still)


def missing(change: Change, have: list[Approval]) -> str:
    """What the quorum still lacks, in words; empty if nothing."""
    return approval.quorum(change.record, have)


def _credential_good(desk: Desk, given: Approval) -> bool:
    credential = desk.state.credentials.get(given.credential)
    return credential is not None and not credential.revoked and not 0 < desk.state.ends(credential) <= desk.now
