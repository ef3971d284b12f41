"""Does an approval that was taken back stay so, whatever else its person once signed?"""

from __future__ import annotations

import pytest

from kit.town import Town
from kit.townsfolk import RELEASE, key_request, person
from sealpress.errors import Precondition
from sealpress.governance.changes import RestoreRequest
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
    town.wait(1)
    town.approve(change_id, "kim")
    assert "counted" == town.state.changes[change_id].approvals[person("kim")].state


@pytest.mark.parametrize("later_s", [0, 5])
def test_no_statement_from_before_that_stands_in_for_it(later_s: int) -> None:
    """Of the same second, or of a later one: what he had signed until he took it back is taken back with it."""
    town = Town()
    change_id = town.propose("ines", "key.issue", key_request("k1", RELEASE, town.now))
    town.approve(change_id, "kim")
    town.wait(later_s)
    second = statement.render(town.ask(change_id, "kim"))
    town.take_back(change_id, "kim")

    with pytest.raises(Precondition) as caught:
        town.hand_in(second, "kim")
    assert "APPROVAL_USED" == caught.value.reason
    assert town.folded_again() == town.state


def test_no_statement_from_before_a_stop_counts_when_its_person_returns() -> None:
    """Whoever stole his key may have signed several: those that nobody handed in yet end with the one that counted."""
    town = Town()
    change_id = town.propose("ines", "key.issue", key_request("k1", RELEASE, town.now))
    town.approve(change_id, "kim")
    town.wait(5)
    second = statement.render(town.ask(change_id, "kim"))
    town.stop("iris", "identity", person("kim"))
    restore = RestoreRequest(what="identity", id=person("kim"))
    town.pass_(town.propose("ada", "access.restore", restore), "abe", "stella")
    town.wait(1)

    with pytest.raises(Precondition) as caught:
        town.hand_in(second, "kim")
    assert "APPROVAL_USED" == caught.value.reason
    town.approve(change_id, "kim")
