"""Does one person stop and a quorum start again, and is who was offboarded out?"""

from __future__ import annotations

import pytest

from kit.laboratory import (
    Lab,
    digest_of,
    enrolment,
)
from sealpress.errors import NotPermitted, Precondition
from sealpress.governance import changes as c
from sealpress.wiring.lab_charter import APP


def test_one_person_stops_and_a_quorum_starts_again(lab: Lab) -> None:
    """L6 over the wire: suspended by one, refused at once; a quorum resumes it, but not within 300 seconds (L2)."""
    with lab.client("builder") as client:
        client.sign(digest_of("before"), line=APP)
        lab.people.of("rena").suspend_key("app-1", "is it clean?")
        with pytest.raises(Precondition) as stopped:
            client.sign(digest_of("after"), line=APP)
    assert stopped.value.reason == "KEY_NOT_ACTIVE"
    with pytest.raises(Precondition) as twice:
        lab.people.of("rena").suspend_key("app-1", "again")
    assert twice.value.reason == "ILLEGAL_MOVE"
    with pytest.raises(NotPermitted):
        lab.people.propose("rena", "key.resume", c.KeyAct(key="app-1", line=APP))
    with pytest.raises(Precondition) as early:
        lab.people.decide("key.resume", c.KeyAct(key="app-1", line=APP), by="olga", approved_by=("rita", "rob"))
    assert early.value.reason == "STOP_TOO_YOUNG"


def test_an_offboarded_person_is_out(lab: Lab) -> None:
    """His next call is refused, and his roles are gone for good."""
    lab.people.decide("access.enrol", enrolment("mallory"))
    lab.people.of("olga").offboard("person:mallory", "left")

    found = next(one for one in lab.people.of("olga").governance().identities if one.identity == "person:mallory")
    assert found.state == "offboarded"
    with pytest.raises(Precondition):
        lab.people.of("olga").suspend_identity("person:mallory", "again")
