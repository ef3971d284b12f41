"""Is a build that a stopped person set off no more released than what he asked for himself?"""

from __future__ import annotations

import pytest

from kit.town import Town
from kit.townsfolk import GITHUB, RELEASE, person, token
from sealpress.errors import NotPermitted, Precondition
from sealpress.governance import facts as f
from sealpress.governance import stops
from sealpress.governance.changes import RestoreRequest


@pytest.mark.parametrize("what", ["identity", "offboard"])
def test_a_release_that_he_set_off_ends_with_his_stop(what: str) -> None:
    """Whoever stole his account may have set the build off: nobody approves it as his any more."""
    town = Town()
    change_id = town.request(token(), RELEASE, (1,))
    town.stop("iris", what, person("dora"))

    assert "void" == town.state.changes[change_id].state
    assert town.folded_again() == town.state


def test_those_beyond_what_a_stop_can_record_end_a_moment_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many builds he set off: time ends what the stop had no room for."""
    monkeypatch.setattr(stops, "AT_ONCE_MAX", 1)
    town = Town(strict=False)
    asked = [town.request(token(number), RELEASE, (number,)) for number in range(4)]
    town.stop("iris", "identity", person("dora"))
    town.wait(1)

    assert {"void"} == {town.state.changes[one].state for one in asked}


def test_no_further_release_of_his_is_taken_until_he_is_back() -> None:
    """The pipeline is told at once what it would hear a moment later; with him its builds return."""
    town = Town()
    town.stop("iris", "identity", person("dora"))
    with pytest.raises(Precondition) as refusal:
        town.request(token(), RELEASE, (1,))
    assert "REQUESTER_GONE" == refusal.value.reason

    request = RestoreRequest(what="identity", id=person("dora"))
    town.pass_(town.propose("ada", "access.restore", request), "abe", "stella")
    assert "in_review" == town.state.changes[town.request(token(), RELEASE, (1,))].state


def test_he_whose_agent_set_the_build_off_does_not_approve_it() -> None:
    """An agent acts on behalf of a person, also where it pushes the button of a CI under a name of its own (GR-33)."""
    town = Town()
    town.declare(
        f.IdentityEnrolled(
            identity="agent:bot", kind="agent", names=(f"actor:{GITHUB}#2002",), owner=person("kim"),
            backup_owner=person("karl"), trust_domain="", environment="", on_behalf_of=person("rita"), change_id="c",
        )
    )  # fmt: skip
    change_id = town.request(token(actor_id="2002"), RELEASE, (1,))

    assert person("rita") == town.state.changes[change_id].record.creator_person
    with pytest.raises(NotPermitted):
        town.approve(change_id, "rita")
    assert "closed" == town.state.changes[town.pass_(change_id, "rob")].state
