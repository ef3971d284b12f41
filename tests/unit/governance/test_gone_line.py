"""Can a key be ended whose line no policy speaks of any more?"""

from __future__ import annotations

import pytest

from kit.town import Town
from kit.townsfolk import LINES, RELEASE, policy_text
from sealpress.errors import NotPermitted, Refusal
from sealpress.governance.changes import KeyAct, PolicyRequest


@pytest.fixture
def town() -> Town:
    """Whose policy has just lost the line of its release key."""
    town = Town()
    text = policy_text(lines=[line for line in LINES if line != RELEASE])
    town.pass_(town.propose("paul", "policy.change", PolicyRequest(policy=text)), "stella", "pia")
    town.wait(1_000)
    assert town.policy is not None and RELEASE not in town.policy.lines
    return town


def test_a_key_of_a_line_that_is_gone_is_retired_and_destroyed(town: Town) -> None:
    """GR-115: it takes the root quorum, since no other is known, and still an operator who did nothing else with it."""
    act = KeyAct(key="k-release", line=RELEASE)
    for kind, state in (("key.deactivate", "deactivated"), ("key.destroy", "destroyed")):
        change_id = town.propose("rena", kind, act)
        assert "root" == town.state.change(change_id).record.required.path
        town.execute(town.pass_(change_id, "olga", "otto"), "rena")
        assert state == town.state.keys["k-release"].state
    assert town.folded_again() == town.state


def test_nothing_else_is_done_with_such_a_key(town: Town) -> None:
    """It is not resumed or given new dates under rules that are gone, and whoever issued it does not end it."""
    town.stop("iris", "key", "k-release")
    with pytest.raises(Refusal, match="knows no line"):
        town.propose("ines", "key.resume", KeyAct(key="k-release", line=RELEASE))
    with pytest.raises(NotPermitted):
        town.propose("ines", "key.deactivate", KeyAct(key="k-release", line=RELEASE))
