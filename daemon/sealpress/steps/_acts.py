"""An act of governance on its way into the log: the records of its facts, and whether they are a stop.

Guarantees: facts whose records nobody could read back are refused. Does not: decide, or write.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from sealpress.errors import Invalid, Malformed
from sealpress.governance import facts as f
from sealpress.governance.desk import Desk
from sealpress.governance.facts import Fact
from sealpress.tlog.entry import GovernanceEvent

T = TypeVar("T")
Rule = Callable[[Desk], tuple[T, Sequence[Fact]]]

STOPPING: dict[type[Fact], frozenset[str]] = {
    f.KeyMoved: frozenset({"suspend", "deactivate", "mark_compromised"}),
    f.GrantMoved: frozenset({"revoke", "expire"}),
    f.IdentityMoved: frozenset({"suspend", "offboard"}),
    f.BindingMoved: frozenset({"suspend", "revoke", "expire"}),
    f.ApprovalEnded: frozenset({"revoke", "expire", "invalidate"}),
}


def events_of(facts: Sequence[Fact], profile: str) -> list[GovernanceEvent]:
    """The records of facts; each says in which profile it was written."""
    events = []
    for fact in facts:
        body = f.body_of(fact)
        events.append(GovernanceEvent(f.kind_of(fact), body, hashlib.sha256(body).digest(), profile))
    return events


def readable(facts: Sequence[Fact]) -> None:
    """A struct checks its fields only when it is read."""
    try:
        for fact in facts:
            f.decode(f.kind_of(fact), f.body_of(fact))
    except (Invalid, UnicodeError) as error:
        raise Malformed(f"a text or number in it is out of bounds: {error}", hint="shorten it") from error


def stops(facts: Sequence[Fact]) -> bool:
    return any(
        isinstance(fact, f.CredentialRevoked) or getattr(fact, "verb", "") in STOPPING.get(type(fact), ())
        for fact in facts
    )
