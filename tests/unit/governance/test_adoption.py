"""Does what rested on earlier trust anchors end when the next version is adopted?"""

from __future__ import annotations

import pytest
from msgspec import structs

from kit.town import Town
from kit.townsfolk import (
    DAY_S,
    FIRMWARE,
    LOW,
    OFFICERS,
    RELEASE,
    certificate,
    key_of,
    person,
    policy_text,
    resident,
    uri,
)
from sealpress.errors import NotPermitted
from sealpress.governance import adoption
from sealpress.governance import facts as f
from sealpress.governance.changes import ExtendRequest, PolicyRequest
from sealpress.verify import statement
from sealpress.verify.anchors import AnchorKey, Officer, TrustAnchors


def adopt(town: Town, **other: object) -> TrustAnchors:
    """The next version, as if the officers had signed it."""
    old = town.state.anchors
    assert old is not None
    new = structs.replace(old, version=old.version + 1, **other)
    town.act(lambda desk: adoption.adopt(desk, new, ()))
    return new


def granted(town: Town, line: str, *approvers: str) -> str:
    """An approved release."""
    change_id = town.request(certificate("ci-router"), line, (1,))
    town.pass_(change_id, *approvers)
    return town.grant_of(change_id)


@pytest.mark.parametrize("field", ["created", "approvers", "expires"])
def test_a_grant_that_the_signer_would_no_longer_believe_is_over(field: str) -> None:
    """A leaf under it would end the log of a firmware line; other lines' grants go on."""
    town = Town()
    grant, other = granted(town, FIRMWARE, "rita", "sam", "rob"), granted(town, RELEASE, "rita", "rob")
    old = town.state.anchors
    assert old is not None
    changed = {
        "created": town.now + 1,
        "approvers": tuple(one for one in old.approvers if one.person != "person:sam"),
        "expires": town.now + 60,
    }
    town.wait(2)
    adopt(town, **{field: changed[field]})

    assert [town.state.grants[one].state for one in (grant, other)] == ["expired", "active"]


def test_a_grant_that_the_signer_believes_goes_on() -> None:
    """A version that changes nothing about the line and its approvers ends no grant."""
    town = Town()
    grant = granted(town, FIRMWARE, "rita", "sam", "rob")
    adopt(town, root_threshold=3)

    assert town.state.grants[grant].state == "active"


def test_an_access_administrator_who_becomes_an_officer_is_one_alone() -> None:
    """The two roles exclude one another: as both he could do nothing, and officers be too few."""
    town = Town()
    old = town.state.anchors
    assert old is not None
    key = AnchorKey(public=key_of("ada").line, application=key_of("ada").application)
    ada = Officer(person=person("ada"), names=(uri("ada"),), keys=(key,))
    adopt(town, officers=(*old.officers, ada))
    change_id = town.propose("paul", "policy.change", PolicyRequest(policy=policy_text(ttl="12h")))

    town.pass_(change_id, "ada", "olga")
    assert town.state.change(change_id).state == "closed"
    assert [one.role for one in town.state.bindings_at(person("ada"), "", town.now)] == ["security-officer"]
    assert town.folded_again() == town.state


@pytest.mark.parametrize(("named", "drops"), [(("olga", "oscar"), True), (("olga", "otto"), False)])
def test_a_scheduled_loosening_takes_the_new_officers(named: tuple[str, ...], drops: bool) -> None:
    """Two approved it, and one of them is no officer when it would decide: it does not, and people are told."""
    town = Town()
    text = policy_text(ttl="12h")
    change_id = town.propose("paul", "policy.change", PolicyRequest(policy=text))
    town.pass_(change_id, "olga", "otto")
    old = town.state.anchors
    assert old is not None
    adopt(town, officers=tuple(one for one in old.officers if one.person in map(person, named)))
    town.wait(1_000)

    assert town.state.policy == (policy_text() if drops else text)
    alerts = [fact for fact in town.history if isinstance(fact, f.AlertRaised)]
    told = [alert.subject for alert in alerts if alert.name == "alert.policy.dropped"]
    assert told == ([change_id] if drops else [])
    assert town.folded_again() == town.state


def test_a_higher_root_threshold_counts_for_what_waits() -> None:
    """A loosening that was proposed under the lower threshold is void: fewer officers than it now takes would do."""
    town = Town()
    change_id = town.propose("paul", "policy.change", PolicyRequest(policy=policy_text(ttl="12h")))
    other = town.propose("paul", "policy.change", PolicyRequest(policy=policy_text(head="other words")))
    town.approve(change_id, OFFICERS[0])
    adopt(town, root_threshold=3)

    assert [town.state.change(one).state for one in (change_id, other)] == ["void", "in_review"]


def test_a_revoked_key_that_the_document_lists_is_told() -> None:
    """Whoever wrote the next version may not have heard that it was stolen: it counts again, and all see that."""
    town = Town()
    stolen = key_of("otto").fingerprint
    town.stop("iris", "credential", stolen)
    adopt(town)
    adopt(town)

    told = [fact for fact in town.history if isinstance(fact, f.AlertRaised)]
    assert [("alert.credential.revived", stolen)] == [(alert.name, alert.subject) for alert in told]
    assert not town.state.credentials[stolen].revoked and town.folded_again() == town.state


def test_no_one_person_sends_an_officer_away_for_good() -> None:
    """Whoever has one responder's certificate could leave no officer for the next version: it suspends them at most."""
    town = Town()
    for name in OFFICERS:
        with pytest.raises(NotPermitted) as refusal:
            town.stop("iris", "offboard", person(name))
        assert "OFFICERS" == refusal.value.reason
        town.stop("iris", "identity", person(name))
    old = town.state.anchors
    assert old is not None
    adopt(town, officers=old.officers[:2])

    assert ["active", "active", "suspended"] == [town.state.identities[person(name)].state for name in OFFICERS]
    town.stop("iris", "offboard", person(OFFICERS[2]))
    assert town.folded_again() == town.state


def test_an_officer_approves_with_the_keys_that_the_officers_signed_alone() -> None:
    """Two administrators gave him another one before: with it they would have a voice in the root quorum."""
    town = Town()
    old = town.state.anchors
    assert old is not None
    town.declare(*resident("zed"))
    new = key_of("p1")
    keys = (AnchorKey(public=new.line, application=new.application),)
    adopt(town, officers=(*old.officers, Officer(person=person("zed"), names=(uri("zed"),), keys=keys)))
    later = town.state.keys["k-low"].not_after + DAY_S
    request = ExtendRequest(key="k-low", line=LOW, rotate_by=later, not_after=later)
    change_id = town.propose("ines", "key.extend", request)

    with pytest.raises(NotPermitted) as refusal:
        town.approve(change_id, "zed")
    assert "APPROVAL_KEY" == refusal.value.reason
    said = statement.render(town.ask(change_id, "zed"))
    town.present(said, new.sign(said, statement.NAMESPACE))
    assert town.folded_again() == town.state
