"""Whether a person may carry out a stage of a key, having carried out another (GR-12).

Where the line's policy is strict (the default from class `release` up), or there is none any more, he may not. Where it
says "warn" he may, if a security officer is among those who approved the change at hand; that waiver is a record, for
the next review.

Does not: know roles that exclude one another (roles.py), or who approved what he asked for (counting.py).
"""

from __future__ import annotations

from sealpress.errors import NotPermitted
from sealpress.governance import facts as f
from sealpress.governance.desk import Desk
from sealpress.governance.roles import Role, strict
from sealpress.governance.state import Change, Key

STAGE_OF = {
    "generate": "issuance",
    "activate": "issuance",
    "release": "use",
    "deactivate": "retirement",
    "destroy": "retirement",
}


def check(desk: Desk, line: str, key: Key, stage: str, person: str, change: Change | None) -> list[f.Fact]:
    """Nothing, or the waiver to be recorded; NotPermitted OPERATOR_SEPARATION if he may not."""
    plane = STAGE_OF.get(stage)
    done = [*key.operators.items(), *(("release", who) for who in key.releasers)]
    earlier = next((one for one, who in done if who == person and STAGE_OF.get(one, plane) != plane), "")
    rules = desk.policy.lines.get(line) if desk.policy is not None else None
    separated = rules.operator_separation if rules is not None else "strict"
    classes = (key.class_,) if rules is None else (key.class_, rules.class_)
    if plane is None or not earlier or not (separated == "strict" or any(map(strict, classes))):
        return []
    officers = _officers(desk, line, change)
    if separated == "strict" or not officers:
        raise NotPermitted(
            f"this person carried out `{earlier}` of the same key",
            reason="OPERATOR_SEPARATION",
            hint="another person carries out this stage (GR-12)",
        )
    said = f"{person} carries out `{stage}` after `{earlier}`; waived by {', '.join(officers)}"
    return [f.AlertRaised(name="sod.waiver", subject=key.proposed.key, text=said)]


def _officers(desk: Desk, line: str, change: Change | None) -> list[str]:
    """Security officers among the approvers."""
    given = change.approvals.values() if change is not None else ()
    return [
        one.person
        for one in given
        if one.state in ("counted", "consumed") and desk.bindings(one.person, line, {Role.SECURITY_OFFICER})
    ]
