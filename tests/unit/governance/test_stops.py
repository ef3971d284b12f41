"""Is a stop always recorded, whatever is pending, and does it end what rested on what it stops, and no more?"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from kit.town import Town
from kit.townsfolk import FIRMWARE, LOW, RELEASE, certificate, key_of, key_request, person
from sealpress.core.segment import SEGMENT_BYTES_MIN
from sealpress.errors import NotPermitted, Precondition
from sealpress.governance import facts as f
from sealpress.governance import pending, stops
from sealpress.governance.changes import KeyAct
from sealpress.tlog.entry import GovernanceEvent, Head, encode
from sealpress.verify.change import TEXT_MAX

FRAME_HEADER, ALIGN = 40, 8  # bytes (DESIGN 3.1)
MANY = 64
REASON = "r" * TEXT_MAX


def size(facts: Sequence[f.Fact]) -> int:
    """Of the batch that they are in the journal."""
    bodies = [(f.kind_of(fact), f.body_of(fact)) for fact in facts]
    events = [GovernanceEvent(kind, body, hashlib.sha256(body).digest(), "regulated") for kind, body in bodies]
    return sum(FRAME_HEADER + len(encode(Head(bytes(16), event, 1 << 60, 1, bytes(32)))) + ALIGN for event in events)


def approved_often(town: Town) -> list[str]:
    """Changes that kim approved, and nobody else yet."""
    asked = [town.propose("ines", "key.issue", key_request(f"{n:063}", FIRMWARE, town.now)) for n in range(MANY)]
    return [town.pass_(change_id, "kim") for change_id in asked]


@pytest.mark.parametrize("what", ["identity", "credential"])
def test_a_stop_fits_into_the_smallest_segment_however_much_was_approved(what: str) -> None:
    """The stop itself ends as many approvals as always fit; no other counts, and each ends at the next look."""
    town = Town(strict=False)
    asked = approved_often(town)
    desk, actor = town.desk(), town.actor("iris")
    if what == "identity":
        facts = stops.end_identity(desk, actor, person("kim"), "suspend", REASON)
    else:
        facts = stops.revoke_credential(desk, actor, key_of("kim").fingerprint, REASON)
    town.declare(*facts)

    assert size(facts) < SEGMENT_BYTES_MIN // 4
    town.tick()
    assert {"invalidated"} == {town.state.changes[one].approvals[person("kim")].state for one in asked}
    assert town.folded_again() == town.state


def test_a_key_is_stopped_however_many_changes_would_let_it_return() -> None:
    """So few may be pending that the stop which makes them void always has room; who asks for one more is told."""
    town = Town(strict=False)
    town.stop("iris", "key", "k-release")
    asked = [town.propose("ines", "key.resume", KeyAct(key="k-release", line=RELEASE)) for _ in range(8)]

    with pytest.raises(Precondition) as refusal:
        town.propose("ines", "key.resume", KeyAct(key="k-release", line=RELEASE))
    assert (pending.RETURNS_MAX, "CHANGES_PENDING") == (len(asked), refusal.value.reason)
    town.wait(301)
    town.pass_(asked[0], "rita")
    facts = stops.suspend_key(town.desk(), town.actor("iris"), "k-release", REASON)
    assert 1 + len(asked) - 1 == len(facts)
    assert size(facts) < SEGMENT_BYTES_MIN // 4


def test_what_ends_together_is_never_parted_by_a_stop() -> None:
    """An approval, the approved change and the key that it proposed: of these there is room for fewer."""
    town = Town(strict=False)
    asked = approved_often(town)
    for change_id in asked:
        town.approve(change_id, "karl")
    facts = stops.end_identity(town.desk(), town.actor("iris"), person("kim"), "suspend", REASON)
    town.declare(*facts)

    assert 1 + 3 * (2 * stops.AT_ONCE_MAX // 3) == len(facts)
    assert size(facts) + 2 * size(facts[1:2]) < SEGMENT_BYTES_MIN // 4
    town.tick()
    assert {"void"} == {town.state.changes[one].state for one in asked}


def test_what_was_approved_by_another_role_still_counts() -> None:
    """A role that is revoked takes the approvals that rested on it, and no other."""
    town = Town()
    named = {"identity": person("kim"), "role": "security-officer", "not_after": 0, "change_id": "founding"}
    town.declare(f.BindingMade(binding="more", line=RELEASE, group="key-officers", **named))  # type: ignore[arg-type]
    asked = town.propose("ines", "key.issue", key_request("k1", RELEASE, town.now))
    other = town.propose("ines", "key.issue", key_request("k2", FIRMWARE, town.now))
    for change_id in (asked, other):
        town.approve(change_id, "kim")

    former = [id_ for id_ in town.state.bindings_of[person("kim")] if id_ != "more"]
    for id_ in former:
        town.stop("iris", "binding", id_)
    states = [town.state.changes[one].approvals[person("kim")].state for one in (asked, other)]
    assert ["counted", "invalidated"] == states
    town.approve(asked, "karl")
    assert "approved" == town.state.changes[asked].state


def test_a_role_that_comes_back_brings_no_approval_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """More approvals than end with the stop itself: those beyond it end a moment later, before he has the role anew."""
    monkeypatch.setattr(stops, "AT_ONCE_MAX", 1)
    town = Town(strict=False)
    asked = [town.propose("ines", "key.issue", key_request(f"k{n}", RELEASE, town.now)) for n in range(3)]
    for change_id in asked:
        town.approve(change_id, "kim")
    (binding,) = town.state.bindings_of[person("kim")]
    town.stop("iris", "binding", binding)
    town.wait(1)
    had = town.state.bindings[binding]
    town.declare(
        f.BindingMade(
            binding="anew", identity=had.identity, role=had.role, line=had.line, group=had.group, not_after=0,
            change_id="founding",
        )
    )  # fmt: skip

    assert {"invalidated"} == {town.state.changes[one].approvals[person("kim")].state for one in asked}
    town.approve(asked[2], "karl")
    assert "in_review" == town.state.changes[asked[2]].state


def subjects(town: Town) -> dict[str, str]:
    """Something of each kind that can be stopped."""
    return {
        "key": "k-release",
        "grant": town.request(certificate("ci-app"), LOW, (1,)),
        "identity": person("kim"),
        "offboard": person("kim"),
        "binding": next(id_ for id_ in town.state.bindings_of[person("kim")] if not id_.startswith("anchors/")),
        "credential": key_of("kim").fingerprint,
    }


@pytest.mark.parametrize(("who", "reason"), [("rita", "NOT_PERMITTED"), ("ci-router", "PERSON_REQUIRED")])
@pytest.mark.parametrize("what", ["key", "grant", "identity", "offboard", "binding", "credential"])
def test_who_has_no_role_for_it_stops_nothing(what: str, who: str, reason: str) -> None:
    """Stopping is easy for those whose task it is: for other persons, machines and pipelines it is as hard as all."""
    town = Town()
    subject = subjects(town)[what]
    with pytest.raises(NotPermitted) as caught:
        town.stop(who, what, subject)
    assert caught.value.reason == reason

    town.stop("stella", what, subject)
    with pytest.raises(Precondition):
        town.stop("stella", what, subject)


@pytest.mark.parametrize("what", ["key", "grant", "identity", "offboard", "binding", "credential"])
def test_what_is_not_there_is_not_stopped(what: str) -> None:
    """Whoever mistypes a name hears so: nothing is recorded as stopped that goes on."""
    town = Town()
    before = len(town.history)
    with pytest.raises(Precondition, match="there is no") as caught:
        town.stop("stella", what, "made-up")
    assert caught.value.reason.startswith("NO_SUCH_")
    assert len(town.history) == before


def test_a_pipeline_gives_its_own_grant_back_and_no_other() -> None:
    """It needs no role for that, and is believed about what is its own alone."""
    town = Town()
    grant = town.request(certificate("ci-app"), LOW, (1,))
    with pytest.raises(NotPermitted):
        town.stop("ci-router", "grant", grant)
    town.stop("ci-app", "grant", grant)

    assert town.state.grants[grant].state == "revoked"


def test_everybody_may_end_his_own_key() -> None:
    """Whoever lost it need not look for somebody with a role; another's takes one."""
    town = Town()
    town.stop("rita", "credential", key_of("rita").fingerprint)

    assert town.state.credentials[key_of("rita").fingerprint].revoked


def test_what_the_trust_anchors_give_no_single_person_takes() -> None:
    """An officer's role stands in a document that all officers signed: the next version ends it, or his suspension."""
    town = Town()
    given = [id_ for id_ in town.state.bindings if id_.startswith("anchors/")]
    assert given
    for id_ in given:
        with pytest.raises(Precondition) as caught:
            town.stop("stella", "binding", id_)
        assert caught.value.reason == "NO_SUCH_BINDING"
