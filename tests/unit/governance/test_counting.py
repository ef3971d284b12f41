"""Which approvals count at this moment, and which of a policy that waited count at its hour?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from kit.town import Town
from kit.townsfolk import RELEASE, key_of, key_request, person
from sealpress.governance import counting
from sealpress.governance.desk import Desk
from sealpress.governance.state import Change

KIM = person("kim")


def approved(**other: Any) -> tuple[Desk, Change]:
    """A change that kim approved, with other fields of the approval."""
    town = Town(strict=False)
    change = town.state.changes[
        town.pass_(town.propose("ines", "key.issue", key_request("k9", RELEASE, town.now)), "kim")
    ]
    change.approvals[KIM] = structs.replace(change.approvals[KIM], **other)
    return town.desk(), change


def persons(desk: Desk, change: Change) -> list[str]:
    """Whose approvals count."""
    return [given.person for given in counting.counted(desk, change)]


@pytest.mark.parametrize("state", ["counted", "revoked", "expired", "invalidated", "consumed"])
def test_only_what_was_counted_and_has_not_ended_counts(state: str) -> None:
    """What was taken back, ended, or used already is no approval of anything more."""
    assert persons(*approved(state=state)) == ([KIM] if state == "counted" else [])


def test_an_approval_counts_until_its_end() -> None:
    """At that second it is over, with or without a record of it."""
    desk, change = approved()
    ends = change.approvals[KIM].expires

    assert persons(replace(desk, now=ends - 1), change) == [KIM]
    assert persons(replace(desk, now=ends), change) == []


@pytest.mark.parametrize(("left_s", "counts"), [(0, False), (1, True), (None, True)])
def test_an_approval_counts_while_its_key_is_good(left_s: int | None, counts: bool) -> None:
    """A key may end after it approved; one that is not there any more, or was revoked, has approved nothing."""
    desk, change = approved()
    name = key_of("kim").fingerprint
    known = desk.state.credentials[name]
    desk.state.credentials[name] = structs.replace(known, expires=0 if left_s is None else desk.now + left_s)
    assert persons(desk, change) == ([KIM] if counts else [])

    desk.state.credentials[name] = structs.replace(known, revoked=True)
    assert persons(desk, change) == []
    del desk.state.credentials[name]
    assert persons(desk, change) == []


@pytest.mark.parametrize(
    ("state", "path", "enough"),
    [
        ("consumed", "policy", True),
        ("consumed", "root", False),
        ("counted", "policy", False),
        ("revoked", "policy", False),
    ],
)
def test_a_policy_that_waited_needs_at_its_hour_what_the_anchors_say_by_then(
    state: str, path: str, enough: bool
) -> None:
    """Of those who approved it in time those count who still may; a root threshold that rose meanwhile counts, too."""
    desk, change = approved(state=state)
    required = structs.replace(change.record.required, path=path, quorum=1, min_groups=1, must_include=())
    waited = structs.replace(change, record=structs.replace(change.record, required=required))
    assert desk.anchors.root_threshold > 1

    assert (counting.missing_at_its_hour(desk, waited) == "") is enough
