"""One policy after another: when it decides, and what rested on rules that it changes (GR-35).

Guarantees: no change and no grant goes on under rules that its approvers did not see; roles that the new classes keep
apart are parted before it decides. Does not: count who approved it (counting.py), or compile it (policy.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from sealpress.governance import endings, paths
from sealpress.governance import facts as f
from sealpress.governance.desk import Desk, clash
from sealpress.governance.roles import Plane
from sealpress.governance.rules import Policy
from sealpress.governance.state import Change

POLICY_DELAY_S = 900  # between the approval of a policy and its force (GR-35)


def scheduled(desk: Desk, change: Change, text: str) -> list[f.Fact]:
    """The policy of an approved change is scheduled, or in force at once where nothing was before it."""
    new = paths.compiled(desk, text)
    delay = POLICY_DELAY_S if desk.policy is not None and desk.anchors.profile != "lab" else 0
    waits = f.PolicyScheduled(
        change_id=change.record.change_id, policy_sha256=new.sha256.hex(), effective=desk.now + delay
    )
    return [waits] if delay else [waits, *chain.from_iterable(in_force(desk, text, change.record.change_id))]


def in_force(desk: Desk, text: str, by_change: str) -> Iterator[list[f.Fact]]:
    """The policy decides from here on; what rested on rules that it changes ends before it (GR-35).

    Each time what makes sense only together, the policy last: so much may end that it takes several acts.
    """
    new = paths.compiled(desk, text)
    for change_id in desk.state.open_changes:
        if change_id != by_change and _judged_otherwise(desk, new, desk.state.changes[change_id]):
            yield endings.end(desk, change_id, "void", None, "the policy changed")
    for grant_id in desk.state.open_grants:
        if _granted_otherwise(desk, new, desk.state.grants[grant_id].issued):
            reason = "the policy of the line changed"
            yield [f.GrantMoved(grant=grant_id, verb="expire", actor="", reason=reason)]
    yield from parted(desk, new)
    yield [f.PolicyInForce(body=text)]


def _judged_otherwise(desk: Desk, new: Policy, change: Change) -> bool:
    """Whether an open change is void under the new policy: approvers see the policy that they approve under."""
    record = change.record
    if record.kind == "policy.change":
        return True  # what it loosens was judged against the former policy (GR-36)
    access = paths.kind_of(record.kind).plane is Plane.ACCESS
    if access and desk.policy is not None and desk.policy.approvals["access"] != new.approvals["access"]:
        return True
    if not record.line:
        return False
    old = desk.policy.lines.get(record.line) if desk.policy is not None else None
    return change.state == "in_review" or old != new.lines.get(record.line)


def _granted_otherwise(desk: Desk, new: Policy, issued: f.GrantIssued) -> bool:
    """Whether the class, the signing path or the rule that a grant rests on is another one."""
    old, now = desk.rules(issued.line), new.lines.get(issued.line)
    return now is None or (old.class_, old.approvals.get("signing"), old.rule(issued.rule)) != (
        now.class_, now.approvals.get("signing"), now.rule(issued.rule)
    )  # fmt: skip


def parted(desk: Desk, new: Policy | None) -> Iterator[list[f.Fact]]:
    """Bindings that do not go together under the new classes are suspended, all but what the anchors say.

    Each time those of one identity: the first of a pair that rested alone would leave the other where it is.
    """
    for ids in desk.state.bindings_of.values():
        found: list[f.Fact] = []
        held = [desk.state.bindings[id_] for id_ in ids if desk.state.bindings[id_].lasts(desk.now)]
        while (apart := clash(held, new)) is not None:
            ends = [b for b in held if b.role in apart[:2] and not b.id.startswith("anchors/")]
            held = [b for b in held if b not in ends]
            reason = f"{apart[0]} and {apart[1]} of {apart[2]} do not go together"
            found += [f.BindingMoved(binding=b.id, verb="suspend", actor="", reason=reason) for b in ends]
            if not ends:
                break
        if found:
            yield found
