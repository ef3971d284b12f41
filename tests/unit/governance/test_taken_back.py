"""Does an approval that was taken back stay so, whatever else its person once signed?"""

from __future__ import annotations

import pytest

from kit.town import Town
from kit.townsfolk import RELEASE, key_request, person
from sealpress.errors import Precondition
from sealpress.verify import statement


def test_an_older_statement_does_not_stand_in_for_it() -> None:
    """Whoever signed twice, and handed in the second one, took back both: another carrier may still have the first."""
    town = Town()
    change_id = town.propose("ines", "key.issue", key_request("k1", RELEASE, town.now))
    first = statement.render(town.ask(change_id, "kim"))
    town.wait(5)
    town.approve(change_id, "kim")
    town.take_back(change_id, "kim")

    with pytest.raises(Precondition) as caught:
        town.hand_in(first, "kim")
    assert "APPROVAL_USED" == caught.value.reason
    town.approve(change_id, "kim")
    assert "counted" == town.state.changes[change_id].approvals[person("kim")].state
