"""Do n custodians hold n shares?"""

from __future__ import annotations

import pytest

from kit.town import Town
from kit.townsfolk import LINES, person
from sealpress.errors import Malformed
from sealpress.governance import changes as c
from sealpress.governance import requests
from sealpress.governance.desk import Desk

LINE = next(line for line, class_ in LINES.items() if class_ == "firmware")


def test_one_share_is_not_given_twice() -> None:
    """GR-61: with two of the same, the key is lost although m custodians are there."""
    town = Town()
    desk = Desk(town.state, town.policy, town.now, lambda: "id")
    people = tuple(person(name) for name in ("kim", "karl", "tom"))
    request = c.SharesRequest(
        key="k-firmware", line=LINE, set_id="s1", m=2, n=3, custodians=people, commitments=("a", "b", "c")
    )
    twice = c.SharesRequest(
        key="k-firmware", line=LINE, set_id="s1", m=2, n=3, custodians=people, commitments=("a", "b", "a")
    )

    requests.check(desk, "recovery.shares", request)
    with pytest.raises(Malformed, match="shares"):
        requests.check(desk, "recovery.shares", twice)


def test_shares_are_recorded_with_the_last_approval() -> None:
    """No call carries such a change out, so one that waited for its executor waited until it expired."""
    town = Town()
    people = tuple(person(name) for name in ("tom", "tina", "sam"))
    request = c.SharesRequest(
        key="k-firmware", line=LINE, set_id="s1", m=2, n=3, custodians=people, commitments=("a", "b", "c")
    )
    change_id = town.pass_(town.propose("ines", "recovery.shares", request), "kim", "karl")

    assert ("closed", people) == (town.state.changes[change_id].state, town.state.shares["s1"].custodians)
