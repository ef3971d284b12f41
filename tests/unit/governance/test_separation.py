"""May who carried out one stage of a key carry out another?"""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import structs

from kit.town import Town
from kit.townsfolk import LINES, certificate, key_request, person
from sealpress.errors import NotPermitted
from sealpress.governance import facts as f
from sealpress.governance import separation
from sealpress.governance.changes import KeyAct
from sealpress.governance.desk import Desk
from sealpress.governance.state import Approval, Change
from sealpress.values import KeyClass

LINE = next(line for line, class_ in LINES.items() if class_ == "release")


def desk(kind: str) -> Desk:
    """The town's, with the line's policy strict or warning."""
    town = Town()
    assert town.policy is not None
    rules = replace(town.policy.lines[LINE], operator_separation=kind)  # type: ignore[arg-type]
    policy = replace(town.policy, lines={**town.policy.lines, LINE: rules})
    return Desk(town.state, policy, town.now, lambda: "id")


def approved_by(found: Desk, name: str) -> Change:
    """Any change, with this person's approval."""
    record = next(iter(found.state.changes.values())).record if found.state.changes else None
    given = Approval(person(name), "", "", "", (), found.now + 1)
    return Change(record, "", 0, approvals={given.person: given})  # type: ignore[arg-type]


def test_strict_means_never() -> None:
    """Ines made the key: she does not end it, whoever approved that; another does."""
    found = desk("strict")
    key = found.state.keys["k-release"]

    with pytest.raises(NotPermitted) as caught:
        separation.check(found, LINE, key, "destroy", person("ines"), approved_by(found, "stella"))
    assert caught.value.reason == "OPERATOR_SEPARATION"
    assert separation.check(found, LINE, key, "destroy", person("rena"), None) == []
    assert separation.check(found, LINE, key, "activate", person("ines"), None) == []


def test_who_let_a_release_go_does_not_end_the_key_that_signs_it() -> None:
    """Also if the key took over between: Lena releases under the former one, the next one signs: she ends neither."""
    town = Town()
    town.declare(
        f.BindingMade(
            binding="z", identity=person("lena"), role="retirement-operator", line="*", group="", not_after=0,
            change_id="c",
        )
    )  # fmt: skip
    released = town.request(certificate("ci-router"), LINE, (1,))
    town.release(town.grant_of(town.pass_(released, "rita", "rob")), "lena")
    issue = town.propose("ivan", "key.issue", key_request("k1", LINE, town.now))
    town.execute(town.pass_(issue, "kim", "karl"), "ivan")
    activation = town.propose("ivan", "key.activate", KeyAct(key="k1", line=LINE))
    town.execute(town.pass_(activation, "kim", "karl"), "ivan")
    assert "k1" == town.sign(certificate("ci-router"), LINE, (1,))[0].key

    end = town.pass_(town.propose("rena", "key.deactivate", KeyAct(key="k1", line=LINE)), "tom", "tina")
    with pytest.raises(NotPermitted, match="carried out `release` of the same key"):
        town.execute(end, "lena")
    town.execute(end, "rena")


def test_a_warning_needs_a_waiver() -> None:
    """With a security officer among the approvers it is allowed and recorded; without one it is not."""
    found = desk("warn")
    key = found.state.keys["k-release"]

    (waiver,) = separation.check(found, LINE, key, "destroy", person("ines"), approved_by(found, "stella"))
    assert (waiver.name, waiver.subject) == ("sod.waiver", "k-release")  # type: ignore[union-attr]
    for change in (None, approved_by(found, "rita")):
        with pytest.raises(NotPermitted):
            separation.check(found, LINE, key, "destroy", person("ines"), change)


@pytest.mark.parametrize(
    ("made", "now", "kind", "said"),
    [
        ("low", "low", "strict", "refused"),
        ("low", "low", "warn", "free"),
        ("low", "release", "warn", "waiver"),
        ("release", "low", "warn", "waiver"),
        ("release", "release", "strict", "refused"),
    ],
)
def test_what_counts_is_the_stricter_of_key_and_line(made: str, now: str, kind: str, said: str) -> None:
    """A key keeps the class that it was made for, and its line may have another by now; a policy may be stricter."""
    found = desk(kind)
    assert found.policy is not None
    rules = replace(found.policy.lines[LINE], class_=KeyClass(now))
    found.policy = replace(found.policy, lines={**found.policy.lines, LINE: rules})
    key = found.state.keys["k-release"]
    key = structs.replace(key, proposed=structs.replace(key.proposed, class_=KeyClass(made)))
    change = approved_by(found, "stella")
    try:
        waived = separation.check(found, LINE, key, "destroy", person("ines"), change)
    except NotPermitted:
        assert said == "refused"
        return
    assert said == ("waiver" if waived else "free")


def test_an_approval_that_was_taken_back_waives_nothing() -> None:
    """Nor one that had not counted when its time was over."""
    found = desk("warn")
    for state in ("revoked", "invalidated", "expired"):
        change = approved_by(found, "stella")
        change.approvals.update({name: structs.replace(one, state=state) for name, one in change.approvals.items()})
        with pytest.raises(NotPermitted):
            separation.check(found, LINE, found.state.keys["k-release"], "destroy", person("ines"), change)


def test_a_line_that_no_policy_knows_is_strict() -> None:
    """Its key may still be retired, by another person than who made it, whatever its class."""
    found = desk("warn")
    found.policy = None
    key = found.state.keys["k-release"]
    key = structs.replace(key, proposed=structs.replace(key.proposed, class_=KeyClass.LOW))

    with pytest.raises(NotPermitted):
        separation.check(found, LINE, key, "destroy", person("ines"), approved_by(found, "stella"))
