"""Whose approval a change needs, and who of the living may give it.

A path comes from the policy in force; root, access and compromise have floors that no policy can lower. Groups are
those of the approver's bindings; the officers whom the anchors name are the group `officers`.

Does not: verify signatures (verify/approval.py), or keep count (approvals.py).
"""

from __future__ import annotations

from msgspec import structs

from sealpress.errors import Precondition
from sealpress.governance.changes import (
    KINDS,
    Kind,
    PolicyRequest,
    Request,
    RestoreRequest,
    beneficiary_of,
    line_of,
    request_of,
)
from sealpress.governance.desk import Desk
from sealpress.governance.diff import diff
from sealpress.governance.policy import compile_policy
from sealpress.governance.rules import Policy
from sealpress.governance.state import OFFICERS, Change
from sealpress.values import KeyClass
from sealpress.verify.change import ChangeRecord, Required

ROOT_VALID_S = 14 * 86_400
HOURS_72_S = 72 * 3_600
SECURITY_OFFICERS = "security-officers"


def kind_of(name: str) -> Kind:
    """A kind of change; Precondition UNKNOWN_KIND."""
    found = KINDS.get(name)
    if found is None:
        raise Precondition(f"there is no change of kind {name!r}", reason="UNKNOWN_KIND", hint=", ".join(KINDS))
    return found


def required(desk: Desk, kind: Kind, request: Request) -> Required:
    """What the change needs by the rules of this moment."""
    match kind.path:
        case "root":
            return root(desk)
        case "policy":
            assert isinstance(request, PolicyRequest)
            return _policy(desk, request)
        case "access":
            return _access(desk)
        case "compromise":
            known = desk.policy.lines.get(line_of(request)) if desk.policy is not None else None
            groups = known.required("retirement").groups if known is not None else ()
            return Required(
                path="compromise", quorum=1, groups=(OFFICERS, SECURITY_OFFICERS, *groups), valid_s=HOURS_72_S
            )
        case "retirement" if desk.class_of(line_of(request)) is None:
            return root(desk)  # no policy speaks of its line any more, and yet a key comes to its end (GR-115)
        case path:
            found = desk.rules(line_of(request)).required(path)
            if kind.name != "key.resume":
                return found
            return structs.replace(found, quorum=max(found.quorum, floor(desk.rules(line_of(request)).class_)))


def root(desk: Desk) -> Required:
    """The officers whom the anchors name, as many as these demand."""
    threshold = desk.anchors.root_threshold
    return Required(path="root", quorum=threshold, groups=(OFFICERS,), credential="sk+uv", valid_s=ROOT_VALID_S)


def _policy(desk: Desk, request: PolicyRequest) -> Required:
    new = compiled(desk, request.policy)
    if desk.policy is None or any(change.loosening for change in diff(desk.policy, new)):
        return root(desk)
    return desk.policy.required("policy")


def _access(desk: Desk) -> Required:
    if desk.policy is None:
        return Required(path="access", quorum=2, groups=(OFFICERS,), valid_s=HOURS_72_S)
    return desk.policy.required("access")


def groups_of(desk: Desk, change: Change, person: str) -> tuple[str, ...]:
    """The groups by which a person may approve this change now; empty: he may not."""
    record = change.record
    kind = kind_of(record.kind)
    # Only what gives somebody a right has one who gains by it; a release's request is long to read.
    gain = beneficiaries(desk, request_of(record)) if kind.path == "access" else ()
    if person in (record.requester_person, record.creator_person, *gain):
        return ()
    return among(record, held(desk, person, record.line, record.kind))


def held(desk: Desk, person: str, line: str, kind: str) -> frozenset[str]:
    """The groups in which a person may approve changes of this kind on this line, as far as his roles go."""
    return frozenset(binding.group for binding in desk.bindings(person, line, kind_of(kind).approvers))


def among(record: ChangeRecord, groups: frozenset[str]) -> tuple[str, ...]:
    """Those of these groups that the change asks for; ("any",) where it asks for none."""
    if not record.required.groups:
        return ("any",) if groups else ()
    return tuple(group for group in record.required.groups if group in groups)


def beneficiaries(desk: Desk, request: Request) -> tuple[str, ...]:
    """Who gains by it, also by a role that is restored: they neither propose nor approve (GR-34).

    What an agent gains its principal does, too: it acts on his behalf.
    """
    gains = beneficiary_of(request)
    if isinstance(request, RestoreRequest):
        binding = desk.state.bindings.get(request.id) if request.what == "binding" else None
        gains = binding.identity if binding is not None else request.id
    known = desk.state.identities.get(gains)
    return gains, known.on_behalf_of if known is not None else getattr(request, "on_behalf_of", "")


def compiled(desk: Desk, text: str) -> Policy:
    """The policy of this text, by the floors of the deployment's profile (GR-133)."""
    return compile_policy(text.encode(), "the proposed policy", governed=True, profile=desk.anchors.profile)


def floor(class_: KeyClass) -> int:
    """The least quorum that lets a class sign again."""
    return {KeyClass.TEST: 0, KeyClass.LOW: 1, KeyClass.RELEASE: 1, KeyClass.FIRMWARE: 2, KeyClass.ROOT: 3}[class_]
