"""Does time do what it must, once, and in pieces that make sense?"""

from __future__ import annotations

import pytest

from kit.town import Town
from kit.townsfolk import DAY_S, FIRMWARE, LOW, RELEASE, certificate, key_of, key_request, person, policy_text, resident
from sealpress.errors import Precondition
from sealpress.governance import clockwork
from sealpress.governance import facts as f
from sealpress.governance.changes import ExtendRequest, PolicyRequest
from sealpress.governance.state import encode


def kinds(facts: list[f.Fact]) -> list[str]:
    """Kind and verb of each."""
    return [f"{f.kind_of(fact)} {getattr(fact, 'verb', '')}".strip() for fact in facts]


def test_nothing_is_due_twice() -> None:
    """After a tick the same moment brings nothing more."""
    town = Town()
    town.propose("ines", "key.issue", key_request("k1", RELEASE, town.now))
    town.wait(70 * DAY_S)

    assert [] == clockwork.due(town.desk(), town.ledger.keys)
    before = encode(town.state)
    town.tick()
    assert before == encode(town.state)


def test_what_belongs_together_is_never_parted(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small a look is, a change that expires takes the key that it proposed along."""
    monkeypatch.setattr(clockwork, "FACTS_MAX", 1)
    town = Town()
    for number in range(3):
        town.propose("ines", "key.issue", key_request(f"k{number}", RELEASE, town.now))
    town.wait(15 * DAY_S, tick=False)

    assert ["change.moved expire", "key.moved reject"] == kinds(clockwork.due(town.desk(), {}))
    town.tick()
    assert {"rejected"} == {town.state.keys[f"k{number}"].state for number in range(3)}


def test_no_number_of_jobs_keeps_a_policy_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What rests on rules that it changes ends look by look, then it is in force: a batch of the log has an end."""
    town, jobs, looks = Town(), 40, 10
    for number in range(jobs):
        town.sign(certificate("ci-app", number), LOW, (number,))
    text = policy_text(low_uses=400)
    change_id = town.propose("paul", "policy.change", PolicyRequest(policy=text))
    town.pass_(change_id, "stella", "pia")
    town.wait(900, tick=False)
    monkeypatch.setattr(clockwork, "FACTS_MAX", looks)

    assert ["grant.moved expire"] * looks == kinds(clockwork.due(town.desk(), {}))
    town.tick()
    assert text == town.state.policy
    assert not town.state.open_grants


def test_no_policy_is_closed_as_done_that_never_decides() -> None:
    """While one is about to enter into force no other is approved: it would be dropped for that one, unseen."""
    town = Town()
    first, second = (
        town.propose("paul", "policy.change", PolicyRequest(policy=policy_text(low_uses=uses))) for uses in (400, 300)
    )
    town.pass_(first, "stella", "pia")
    town.approve(second, "stella")

    with pytest.raises(Precondition, match="about to enter into force"):
        town.approve(second, "pia")
    with pytest.raises(Precondition, match="about to enter into force"):
        town.propose("paul", "policy.change", PolicyRequest(policy=policy_text(low_uses=200)))
    town.wait(900)
    assert ("closed", "void") == (town.state.changes[first].state, town.state.changes[second].state)


@pytest.mark.parametrize(
    ("what", "subject"), [("identity", "person:pia"), ("offboard", "person:pia"), ("credential", "")]
)
def test_who_was_stopped_while_his_policy_waited_does_not_decide(what: str, subject: str) -> None:
    """Fifteen minutes are there to stop it: an approver whose key was stolen is, and the policy is not in force."""
    town = Town()
    change_id = town.propose("paul", "policy.change", PolicyRequest(policy=policy_text(low_uses=400)))
    town.pass_(change_id, "stella", "pia")
    town.stop("iris", what, subject or key_of("pia").fingerprint)
    town.wait(900)

    assert town.state.policy == policy_text()
    assert [change_id] == [fact.subject for fact in town.history if getattr(fact, "name", "") == "alert.policy.dropped"]
    assert not town.state.scheduled and town.folded_again() == town.state


def test_an_approval_that_is_over_ends_what_rested_on_it() -> None:
    """It expires as a record; an approved change is void, its key is free for another proposal."""
    town = Town()
    change_id = town.propose("ines", "key.issue", key_request("k1", FIRMWARE, town.now))
    town.pass_(change_id, "kim", "karl")
    town.wait(3 * DAY_S)

    assert "void" == town.state.changes[change_id].state
    assert "expired" == town.state.changes[change_id].approvals[person("kim")].state
    assert "rejected" == town.state.keys["k1"].state
    town.propose("ines", "key.issue", key_request("k1", FIRMWARE, town.now))


def test_an_extended_key_is_told_of_again() -> None:
    """Whoever was warned of the first end is warned of the second, too, at each of its days (GR-111)."""
    town = Town()
    town.wait(78 * DAY_S)
    later = town.state.keys["k-low"].not_after + 90 * DAY_S
    request = ExtendRequest(key="k-low", line=LOW, rotate_by=later - DAY_S, not_after=later)
    town.pass_(town.propose("ines", "key.extend", request), "olga", "otto")
    before = len(town.history)
    for _ in range(91):
        town.wait(DAY_S)

    told = [fact.name for fact in town.history[before:] if isinstance(fact, f.AlertRaised) and fact.subject == "k-low"]
    assert told == [*(f"alert.key.ends.{days}d" for days in (90, 60, 30, 7)), "alert.key.rotate"]


def test_a_key_ends_at_its_hour_before_anybody_looks() -> None:
    """The decision knows the hour; the record follows with the next look."""
    town = Town()
    town.wait(80 * DAY_S - 1)
    assert 1 == len(town.sign(certificate("ci-app"), LOW, (1,)))
    town.wait(1, tick=False)

    with pytest.raises(Exception, match="time is over"):
        town.sign(certificate("ci-app"), LOW, (2,))
    assert "active" == town.state.keys["k-low"].state
    with pytest.raises(Precondition, match="end has come"):
        later = town.now + DAY_S
        town.propose("ines", "key.extend", ExtendRequest(key="k-low", line=LOW, rotate_by=later, not_after=later))
    town.tick()
    assert "deactivated" == town.state.keys["k-low"].state


def test_no_number_of_roles_that_part_keeps_a_policy_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """They rest look by look, and then it decides: in one batch with it they might be longer than a short segment."""
    town, people, looks = Town(strict=False), 12, 5
    for number in range(people):
        town.declare(*resident(f"n{number}"))
        for role in ("requester", "release-approver"):
            town.declare(
                f.BindingMade(
                    binding=f"{role}{number}", identity=person(f"n{number}"), role=role, line=LOW, group="",
                    not_after=0, change_id="c",
                )
            )  # fmt: skip
    text = policy_text(low_class="release", requesters_max=64)
    town.pass_(town.propose("paul", "policy.change", PolicyRequest(policy=text)), "olga", "otto")
    town.wait(900, tick=False)
    monkeypatch.setattr(clockwork, "FACTS_MAX", looks)

    assert ["binding.moved suspend"] * (looks + 1) == kinds(clockwork.due(town.desk(), {}))  # no pair is torn apart
    town.tick()
    assert text == town.state.policy
    assert 2 * people == sum(one.state == "suspended" for one in town.state.bindings.values())
