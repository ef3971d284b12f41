"""Endings: a change that is over before it was carried out, and an approval that counts no more.

Guarantees: a key that was proposed ends with its change, and a change that has its quorum with one of its approvals.
Does not: say who may (proposals.py, stops.py), or when it is time (clockwork.py).
"""

from __future__ import annotations

from typing import Literal

from sealpress.errors import Malformed
from sealpress.governance import changes as c
from sealpress.governance import facts as f
from sealpress.governance import tables
from sealpress.governance.desk import Actor, Desk
from sealpress.governance.state import Change
from sealpress.verify.change import TEXT_MAX


def end(desk: Desk, change_id: str, verb: str, actor: Actor | None, reason: str) -> list[f.Fact]:
    """The facts that end a change before it was carried out; a key that it proposed is rejected with it."""
    name, person = (actor.name, actor.person) if actor is not None else ("", "")
    change = desk.state.change(change_id)
    tables.move(tables.CHANGE, change.state, verb, "the change")
    moved = f.ChangeMoved(change_id=change_id, verb=verb, actor=name, person=person, reason=said(reason))
    found: list[f.Fact] = [moved]
    record = change.record
    if record.kind in ("key.issue", "key.adopt"):
        asked = c.request_of(record)
        assert isinstance(asked, c.KeyRequest)
        state = desk.state.keys[asked.key].state
        if state in ("proposed", "approved"):
            found.append(_key_over(asked.key, "reject" if state == "proposed" else "expire", name, change_id, reason))
    return found


def desert(desk: Desk, change_id: str) -> list[f.Fact]:
    """Who asked for it has no right any more."""
    return end(desk, change_id, "void", None, "who asked for it was stopped")


def outlived(desk: Desk, change: Change, person: str) -> list[f.Fact]:
    """An approval whose person, role or credential was stopped: it does not count, and here it is told."""
    return end_approval(desk, change, person, "invalidate", None, "who gave it was stopped, or his role or key")


def end_approval(
    desk: Desk,
    change: Change,
    person: str,
    verb: Literal["revoke", "expire", "invalidate"],
    actor: Actor | None,
    why: str,
) -> list[f.Fact]:
    """A counted approval counts no more; a change that has its quorum by it is void."""
    change_id, name = change.record.change_id, actor.name if actor is not None else ""
    found: list[f.Fact] = [f.ApprovalEnded(change_id=change_id, person=person, verb=verb, actor=name, reason=said(why))]
    return found + (end(desk, change_id, "void", actor, why) if change.state == "approved" else [])


def said(reason: str) -> str:
    """Malformed TOO_LARGE for a reason that no record holds."""
    if len(reason) > TEXT_MAX:
        raise Malformed(f"a reason has at most {TEXT_MAX} characters", reason="TOO_LARGE")
    return reason


def _key_over(key: str, verb: str, actor: str, change_id: str, reason: str) -> f.KeyMoved:
    return f.KeyMoved(key=key, verb=verb, actor=actor, person="", reason=reason, change_id=change_id)
