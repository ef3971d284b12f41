"""Changes that are pending: whose they are, and how many there may be.

Guarantees: nobody, and no line's machines, takes the room of the others; the last of it is for persons. Does not: end
them (endings.py).
"""

from __future__ import annotations

from sealpress.errors import Precondition
from sealpress.governance import changes as c
from sealpress.governance.desk import Actor, Desk

PENDING_MAX, PENDING_BYTES_MAX = 10_000, 1 << 30  # changes, and their requests
RETURNS_MAX = 8  # of one key or identity: its next stop ends them all, and always has room to record that
OF_ONE, OF_A_LINE, OF_MACHINES, OF_ALL = 1, 3, 9, 10  # tenths of these
RETURNING = {"key.resume": "key", "access.restore": "id"}  # kinds of such changes, and what names whom they are about


def check_room(desk: Desk, actor: Actor, line: str, size: int) -> None:
    """Precondition CHANGES_PENDING when so many are pending that this one would leave too little room for others.

    Anybody has a share. A pipeline has many names, so a line has one, too; and what persons have to change in an
    emergency is not kept out by machines.
    """
    pending = [desk.state.changes[change_id].record for change_id in desk.state.open_changes]
    whose = actor.identity or actor.name  # one who connects by many names has one share
    own = [one for one in pending if (requester_of(desk, one.change_id) or one.requester) == whose]
    shares = [(OF_ONE, "of this requester", own)]
    if actor.person:
        shares.append((OF_ALL, "in all", pending))
    else:
        releases = [one for one in pending if one.line == line and not one.requester_person]
        shares += [(OF_A_LINE, "that pipelines asked for on this line", releases), (OF_MACHINES, "in all", pending)]
    for tenths, whose, have in shares:
        number, bytes_ = len(have) + 1, sum(len(one.request) for one in have) + size
        if number * OF_ALL > PENDING_MAX * tenths or bytes_ * OF_ALL > PENDING_BYTES_MAX * tenths:
            raise Precondition(
                f"too many changes are pending {whose}", reason="CHANGES_PENDING", hint="decide or withdraw some first"
            )


def requester_of(desk: Desk, change_id: str) -> str:
    """The identity that asked for it; empty where nobody has that name now."""
    record = desk.state.changes[change_id].record
    return record.requester_person or desk.state.names.get(record.requester, "")


def behind(desk: Desk, change_id: str) -> set[str]:
    """The identities that asked for it: by themselves, or by a build that one of them set off (GR-30)."""
    return {requester_of(desk, change_id), desk.state.changes[change_id].record.creator_person} - {""}


def check_returns(desk: Desk, kind: str, asked: c.Request) -> None:
    """Precondition CHANGES_PENDING for one more change that lets the same key or identity return."""
    if kind in RETURNING and len(returns(desk, kind, getattr(asked, RETURNING[kind]))) >= RETURNS_MAX:
        raise Precondition(
            f"{RETURNS_MAX} changes that let it return are pending", reason="CHANGES_PENDING",
            hint="decide or withdraw one of them",
        )  # fmt: skip


def returns(desk: Desk, kind: str, subject: str) -> list[str]:
    """The open changes of this kind by which this key or identity returns."""
    open_ = (desk.state.changes[change_id].record for change_id in desk.state.open_changes)
    name = RETURNING[kind]
    return [one.change_id for one in open_ if one.kind == kind and getattr(c.request_of(one), name) == subject]


def returning(desk: Desk) -> set[str]:
    """The identities that are suspended, and about whose return people decide."""
    records = (desk.state.changes[change_id].record for change_id in desk.state.open_changes)
    asked = [c.request_of(record) for record in records if record.kind == "access.restore"]
    ids = {one.id for one in asked if isinstance(one, c.RestoreRequest) and one.what == "identity"}
    return {id_ for id_ in ids if desk.state.identities[id_].state == "suspended"}
