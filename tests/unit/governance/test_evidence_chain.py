"""Does what Explain tells of a request stand for what decided it then?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from kit.town import Town
from kit.townsfolk import person, policy_text
from sealpress.governance import evidence_chain
from sealpress.governance.changes import PolicyRequest
from sealpress.governance.state import Change
from sealpress.tlog.entry import RefusalEvent

WAIT_S = 8 * 86_400  # and a policy is in force
LOOSER, TIGHTER = ("olga", "otto"), ("pia", "stella")  # who decides


class Nothing:
    """A log that has been archived."""

    def grant(self, grant: str) -> None:
        """Not there."""

    def change(self, found: Change) -> None:
        """Not there."""


def decided(town: Town, text: str) -> Callable[[], dict[str, Any]]:
    """What is told, whenever it is asked, of the policy behind a request that is decided now."""
    sha256 = hashlib.sha256(text.encode()).digest()
    event = RefusalEvent(
        bytes(16), "r", person("carol"), bytes(32), "line", "NOT_PERMITTED", b"", 0, 0, sha256, town.state.seq, "here"
    )
    return lambda: evidence_chain.chain(town.state, event, Nothing())["policy"]


def test_a_policy_is_told_with_the_change_that_brought_it_then() -> None:
    """The same text proposed again, and put in force again by others, changes nothing of what was decided before."""
    town = Town()
    text = policy_text(ttl="12h")
    told, ids = [], []
    for body, by in ((text, LOOSER), (policy_text(ttl="11h"), TIGHTER), (text, LOOSER)):
        ids.append(town.pass_(town.propose("paul", "policy.change", PolicyRequest(policy=body)), *by))
        town.wait(WAIT_S)
        told.append(decided(town, body))
    town.propose("paul", "policy.change", PolicyRequest(policy=text))

    assert [tell()["change_id"] for tell in told] == ids
    assert all(tell()["approved_by"] for tell in told)
