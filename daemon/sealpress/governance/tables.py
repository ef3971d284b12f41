"""State machines of governance as tables: what may follow what, and by which verb. Nothing else moves a state.

From GOVERNANCE 3.2; keys follow SP 800-57 part 1, section 7. A table maps (state, verb) to the next state. An illegal
move raises and leaves everything as it was. A verb whose name says "auto" has no actor: time or a count did it.

Does not: say who may (roles.py, changes.py) or what else must hold (steps/_office.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sealpress.errors import Precondition

Table = Mapping[tuple[str, str], str]


def _table(text: str) -> Table:
    """Lines of `state, state --verb--> state`."""
    moves: dict[tuple[str, str], str] = {}
    for line in text.split("\n"):
        if not line.strip():
            continue
        sources, rest = line.split(" --")
        verb, target = rest.split("--> ")
        for source in sources.split(","):
            moves[source.strip(), verb.strip()] = target.strip()
    return MappingProxyType(moves)


KEY = _table("""
    proposed --approve--> approved
    proposed --reject--> rejected
    approved --expire--> rejected
    approved --generate--> generated
    generated --verify--> pre_active
    generated --fail--> rejected
    rejected --destroy--> destroyed
    pre_active --activate--> active
    pre_active --cancel--> destroyed
    active --suspend--> suspended
    suspended --resume--> active
    active, suspended --deactivate--> deactivated
    generated, pre_active, active, suspended, deactivated --mark_compromised--> compromised
    deactivated --destroy--> destroyed
    compromised --destroy--> destroyed_compromised
""")
"""The private half of a key."""

PUBLIC = _table("""
    unpublished --publish--> published
    published --retire--> verify_only
    published, verify_only --distrust--> distrusted
    verify_only --restore--> published
""")
"""The public half: never deleted. `restore` follows the private half's `resume`."""

CHANGE = _table("""
    draft --submit--> submitted
    submitted --review--> in_review
    in_review --approve--> approved
    in_review --reject--> rejected
    submitted, in_review, approved --expire--> expired
    submitted, in_review, approved --withdraw--> withdrawn
    submitted, in_review, approved --void--> void
    approved --execute--> executing
    executing --succeed--> executed
    executing --fail--> failed
    executed --close--> closed
""")
"""A change record. A failed one is never tried again: there is a new record for a new try."""

APPROVAL = _table("""
    presented --verify--> verified
    verified --count--> counted
    counted --consume--> consumed
    counted --revoke--> revoked
    counted --expire--> expired
    counted --invalidate--> invalidated
""")

GRANT = _table("""
    issued --activate--> active
    active --exhaust--> exhausted
    active, issued --expire--> expired
    active, issued, exhausted --revoke--> revoked
    exhausted --give_back--> active
""")
"""A right to use. `give_back`: leaves that lapsed return their uses (DESIGN L2)."""

BINDING = _table("""
    requested --approve--> approved
    approved --activate--> active
    active --suspend--> suspended
    suspended --restore--> active
    active, suspended --revoke--> revoked
    active, suspended --expire--> expired
""")

IDENTITY = _table("""
    enrolling --enrol--> active
    active --suspend--> suspended
    suspended --restore--> active
    active, suspended --offboard--> offboarded
""")
"""Offboarded is the end: an id is never used again."""

POLICY = _table("""
    draft --submit--> submitted
    submitted --approve--> approved
    approved --schedule--> scheduled
    scheduled --enter_force--> in_force
    submitted, approved, scheduled --withdraw--> withdrawn
    in_force --supersede--> superseded
""")

TABLES: Mapping[str, Table] = MappingProxyType({
    "key": KEY, "public": PUBLIC, "change": CHANGE, "approval": APPROVAL, "grant": GRANT,
    "binding": BINDING, "identity": IDENTITY, "policy": POLICY,
})  # fmt: skip


def move(table: Table, state: str, verb: str, what: str) -> str:
    """The state after `verb`; Precondition ILLEGAL_MOVE if the table has no such arrow."""
    found = table.get((state, verb))
    if found is None:
        raise Precondition(
            f"{what} is {state}: it cannot {verb.replace('_', ' ')}",
            reason="ILLEGAL_MOVE",
            hint=f"from {state} it can: {', '.join(sorted(v for s, v in table if s == state)) or 'nothing'}",
        )
    return found


def states(table: Table) -> frozenset[str]:
    """Every state of a table."""
    return frozenset(source for source, _ in table) | frozenset(table.values())
