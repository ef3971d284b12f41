"""Is nothing granted or resumed that the signer would not, or no longer, believe?"""

from __future__ import annotations

import pytest
from msgspec import structs

from kit.town import Town
from kit.townsfolk import DAY_S, FIRMWARE, HOUR_S, RELEASE, certificate, person, resident, token
from sealpress.errors import NotPermitted, Precondition
from sealpress.governance import facts as f
from sealpress.governance.changes import KeyAct
from sealpress.governance.state import Change, Grant
from sealpress.verify import statement
from sealpress.verify.anchors import open_release
from sealpress.verify.change import encode


def asked(town: Town) -> Change:
    """A release of two images, by a pipeline whose creator nobody could name: three approvals."""
    town.request(certificate("ci-router"), FIRMWARE, (1, 2))
    return next(reversed(town.state.changes.values()))


def granted(town: Town, change: Change) -> Grant:
    """What came of it."""
    return town.state.grants[town.grant_of(change.record.change_id)]


def test_a_grant_ends_before_its_first_approval() -> None:
    """The first approval is hours old when the last one comes: the grant lasts no longer than that one."""
    town = Town()
    change = asked(town)
    town.approve(change.record.change_id, "rita")
    town.wait(70 * HOUR_S, tick=False)
    town.approve(change.record.change_id, "sam")
    town.approve(change.record.change_id, "rob")
    grant, change = granted(town, change), town.state.change(change.record.change_id)
    first = min(given.expires for given in change.approvals.values())

    assert town.now < grant.issued.not_after == first
    shown = [(given.statement.encode(), given.signature) for given in change.approvals.values()]
    assert town.state.anchors is not None
    open_release(town.state.anchors, encode(change.record), shown, FIRMWARE, grant.issued.not_after - 1)


@pytest.mark.parametrize(("left", "counts"), [(1, True), (0, False), (-59, False)])
def test_an_approval_that_is_over_brings_nothing(left: int, counts: bool) -> None:
    """Handed in at its last second it counts; later it would close the release with a grant that is over."""
    town = Town()
    change_id = town.request(token(), RELEASE, (1,))
    said = town.ask(change_id, "rita")
    town.wait(said.expires - town.now - left, tick=False)

    if counts:
        town.hand_in(statement.render(said), "rita")
        assert town.state.grants[town.grant_of(change_id)].issued.not_after > town.now
        return
    with pytest.raises(NotPermitted) as caught:
        town.hand_in(statement.render(said), "rita")
    assert caught.value.reason == "APPROVAL_EXPIRED"
    assert town.state.change(change_id).state == "in_review"


def test_who_is_no_requester_any_more_gets_no_grant() -> None:
    """A person whose role was revoked after he asked: the last approval is refused, and nothing is his to sign."""
    town = Town()
    town.request(certificate("rex"), RELEASE, (1,))
    change_id = next(reversed(town.state.changes))
    binding = next(one.id for one in town.state.bindings.values() if one.identity == person("rex"))
    town.stop("iris", "binding", binding)

    with pytest.raises(Precondition, match="may not request on this line any more"):
        town.approve(change_id, "rita")
    assert not town.grant_of(change_id)


def test_what_the_signer_would_not_lift_is_not_resumed() -> None:
    """An approver whom the anchors do not name: the key stays suspended here, too, and does not only look active."""
    town = Town()
    town.declare(
        *resident("zoe"),
        f.BindingMade(
            binding="z", identity=person("zoe"), role="release-approver", line="*", group="product-security",
            not_after=0, change_id="c",
        ),
    )  # fmt: skip
    town.stop("iris", "key", "k-firmware")
    town.wait(300)
    change_id, other = (town.propose("ines", "key.resume", KeyAct(key="k-firmware", line=FIRMWARE)) for _ in range(2))
    town.approve(change_id, "rita")

    with pytest.raises(Precondition, match="would not believe these approvals"):
        town.approve(change_id, "zoe")
    assert "suspended" == town.state.keys["k-firmware"].state
    town.pass_(other, "rita", "sam")
    assert "active" == town.state.keys["k-firmware"].state


def test_an_approval_that_is_over_is_no_evidence() -> None:
    """One that expired while others were collected is ended, and the others must be enough."""
    town = Town()
    change = asked(town)
    town.approve(change.record.change_id, "rita")
    town.wait(3 * DAY_S + 1, tick=False)
    for name in ("sam", "rob", "sue"):
        town.approve(change.record.change_id, name)

    assert town.state.change(change.record.change_id).approvals["person:rita"].state == "expired"
    assert granted(town, change).issued.not_after > town.now


def test_what_the_signer_would_not_believe_is_not_granted() -> None:
    """Anchors that name other approvers: the last approval is refused, for a leaf under such a grant ends the log."""
    town = Town()
    change = asked(town)
    assert town.state.anchors is not None
    town.state.anchors = structs.replace(town.state.anchors, lines={}, approvers=())
    town.approve(change.record.change_id, "rita")
    town.approve(change.record.change_id, "sam")
    with pytest.raises(Precondition) as caught:
        town.approve(change.record.change_id, "rob")

    assert caught.value.reason == "ANCHORS_QUORUM"
    assert not [one for one in town.state.grants.values() if one.issued.change_id == change.record.change_id]
