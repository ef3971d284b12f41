"""May who carried out one stage of a key carry out another?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from kit.town import Town
from kit.townsfolk import LINES, person
from sealpress.errors import NotPermitted
from sealpress.governance import separation
from sealpress.governance.desk import Desk
from sealpress.governance.state import Approval, Change

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


def test_a_warning_needs_a_waiver() -> None:
    """With a security officer among the approvers it is allowed and recorded; without one it is not."""
    found = desk("warn")
    key = found.state.keys["k-release"]

    (waiver,) = separation.check(found, LINE, key, "destroy", person("ines"), approved_by(found, "stella"))
    assert (waiver.name, waiver.subject) == ("sod.waiver", "k-release")  # type: ignore[union-attr]
    for change in (None, approved_by(found, "rita")):
        with pytest.raises(NotPermitted):
            separation.check(found, LINE, key, "destroy", person("ines"), change)
