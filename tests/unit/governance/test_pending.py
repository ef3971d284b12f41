"""Can anybody fill the room for what is pending, so that nobody else gets a change in?"""

from __future__ import annotations

import hashlib

import pytest

from kit.town import Town, read_again
from kit.townsfolk import FIRMWARE, RELEASE, TEST, certificate, key_request, person, policy_text, resident, uri
from sealpress.core.segment import SEGMENT_BYTES_MIN
from sealpress.errors import NotPermitted, Precondition
from sealpress.governance import facts as f
from sealpress.governance import pending, proposals, stops
from sealpress.governance.changes import BindRequest, PolicyRequest
from sealpress.governance.facts import body_of, kind_of
from sealpress.governance.roles import Role
from sealpress.tlog.entry import GovernanceEvent, Head, encode
from sealpress.values import Identity
from sealpress.verify.change import TEXT_MAX

HUNDRED = 100
FRAME_HEADER, ALIGN = 40, 8  # bytes (DESIGN 3.1)
ROUTER, HELPER, FAB = (certificate(name) for name in ("ci-router", "helper", "fab"))


@pytest.fixture
def town(monkeypatch: pytest.MonkeyPatch) -> Town:
    """In which a hundred changes may be pending, and a hundred kilobytes of them."""
    monkeypatch.setattr(pending, "PENDING_MAX", HUNDRED)
    monkeypatch.setattr(pending, "PENDING_BYTES_MAX", 1_000 * HUNDRED)
    return Town(strict=False)


def filled(town: Town, who: Identity, line: str, digests: int = 1) -> int:
    """How many releases somebody gets in before he is told that too many are pending."""
    for number in range(HUNDRED + 1):
        try:
            town.request(who, line, range(number * digests, (number + 1) * digests))
        except Precondition as refusal:
            assert refusal.reason == "CHANGES_PENDING"
            return number
    raise AssertionError("nothing bounds it")


def test_one_pipeline_has_a_share(town: Town) -> None:
    """A tenth of the room; on its other line, too, it has no more; others go on."""
    assert filled(town, ROUTER, RELEASE) == HUNDRED // 10
    assert filled(town, ROUTER, FIRMWARE) == 0
    town.request(FAB, RELEASE, [1])


def test_a_person_of_many_names_has_one_share(town: Town) -> None:
    """Whoever may propose and connects in many ways does not fill the room with each of them."""
    names = tuple(uri(f"zoe-{number}") for number in range(12))
    town.declare(
        *resident("zoe", *names),
        f.BindingMade(
            binding="z", identity=person("zoe"), role="policy-author", line="*", group="", not_after=0, change_id="c"
        ),
    )
    asked = 0
    with pytest.raises(Precondition, match="too many changes"):
        for number in range(HUNDRED):
            town.propose(f"zoe-{number % 12}", "policy.change", PolicyRequest(policy=f"schema = 1 # {number}"))
            asked += 1

    assert asked == HUNDRED // 10


def test_a_line_has_a_share(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tenths: whoever has many names on one line leaves room for the others."""
    monkeypatch.setattr(pending, "OF_ONE", 10)

    assert filled(town, ROUTER, RELEASE) == 3 * HUNDRED // 10
    assert filled(town, FAB, RELEASE) == 0
    town.request(ROUTER, FIRMWARE, [1])


def test_pipelines_leave_room_for_persons(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person has to change in an emergency is not kept out by machines."""
    monkeypatch.setattr(pending, "OF_ONE", 10)
    monkeypatch.setattr(pending, "OF_A_LINE", 10)

    assert filled(town, ROUTER, RELEASE) == HUNDRED - HUNDRED // 10
    town.propose("paul", "policy.change", PolicyRequest(policy=policy_text(head="other words")))


def test_large_releases_are_fewer(town: Town) -> None:
    """The bytes are shared as the number is: ten kilobytes of one pipeline are a few releases of many digests."""
    assert 0 < filled(town, ROUTER, RELEASE, digests=20) < 10


def test_there_is_room_again(town: Town) -> None:
    """What is withdrawn or over counts no more."""
    change_id = town.request(ROUTER, RELEASE, [1])
    filled(town, ROUTER, RELEASE)
    town.act(lambda desk: proposals.withdraw(desk, desk.actor(ROUTER.id), change_id, "not this one"))

    assert filled(town, ROUTER, RELEASE) == 1


@pytest.mark.parametrize("what", ["identity", "offboard"])
def test_what_a_stopped_person_asked_for_is_void(town: Town, what: str) -> None:
    """Whoever stole his credential may have asked: nobody is left to reject it, and it makes room for others."""
    asked = town.propose("paul", "policy.change", PolicyRequest(policy=policy_text(head="other words")))
    kept = town.request(ROUTER, RELEASE, [1])

    town.stop("iris", what, person("paul"))

    assert town.state.changes[asked].state == "void" and list(town.state.open_changes) == [kept]
    assert town.folded_again() == town.state


def test_what_a_stopped_pipeline_asked_for_is_void(town: Town) -> None:
    """Under whichever of its names; others' releases on the same line go on."""
    releases = [town.request(ROUTER, line, [number]) for number, line in enumerate((RELEASE, FIRMWARE))]
    kept = town.request(FAB, RELEASE, [7])

    town.stop("iris", "identity", "workload:ci-router")

    assert [town.state.changes[one].state for one in releases] == ["void", "void"]
    assert list(town.state.open_changes) == [kept]


def test_a_stop_is_small_however_much_was_asked_for(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends as much as a full log takes; the rest ends when the daemon looks next, before it can be carried out."""
    monkeypatch.setattr(stops, "AT_ONCE_MAX", 3)
    assert filled(town, ROUTER, RELEASE) == 10
    before = town.state.seq

    town.stop("iris", "identity", "workload:ci-router")

    assert town.state.seq == before + 1 + 3 and len(town.state.open_changes) == 7
    town.tick()
    assert not town.state.open_changes and town.folded_again() == town.state


def test_a_stop_fits_into_the_smallest_segment(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is a quarter of a segment at most: no number of pending keys, two facts each, keeps a stop out."""
    monkeypatch.setattr(pending, "OF_ONE", 10)
    for number in range(HUNDRED // 2):
        town.propose("ines", "key.issue", key_request(f"{number:063}", TEST, town.state.time))
    reason = "r" * TEXT_MAX
    facts = stops.end_identity(town.desk(), town.desk().actor(uri("iris")), person("ines"), "suspend", reason)
    bodies = [(kind_of(fact), body_of(fact)) for fact in facts]
    events = [GovernanceEvent(kind, body, hashlib.sha256(body).digest(), "regulated") for kind, body in bodies]
    heads = [len(encode(Head(bytes(16), event, 1 << 60, 1, bytes(32)))) for event in events]

    assert len(facts) == 1 + 2 * stops.AT_ONCE_MAX
    assert sum(FRAME_HEADER + head + ALIGN for head in heads) < SEGMENT_BYTES_MIN // 4


def test_a_stopped_approver_s_own_changes_and_his_approvals_end_together(town: Town) -> None:
    """One stop ends both, each once."""
    role = BindRequest(identity=person("lena"), role=Role.RELEASER, line=RELEASE)
    asked, other = (town.propose(who, "access.bind", role) for who in ("ada", "abe"))
    town.approve(other, "ada")

    town.stop("iris", "identity", person("ada"))

    assert town.state.changes[asked].state == "void"
    assert town.state.changes[other].approvals[person("ada")].state == "invalidated"
    assert town.folded_again() == town.state


def test_a_stopped_operator_s_key_is_rejected(town: Town) -> None:
    """What a stop leaves of a key that was only proposed is its name, for another who asks for it."""
    asked = town.propose("ines", "key.issue", key_request("spare", TEST, town.state.time))

    town.stop("iris", "identity", person("ines"))

    assert town.state.changes[asked].state == "void" and town.state.keys["spare"].state == "rejected"
    town.propose("ivan", "key.issue", key_request("spare", TEST, town.state.time))


@pytest.mark.parametrize("what", ["identity", "offboard"])
def test_an_agent_stops_with_the_person_for_whom_it_acts(town: Town, what: str) -> None:
    """GR-33: it has no right of its own; what it asked for ends, too, and it asks again when he may."""
    asked = town.request(HELPER, RELEASE, [1])
    town.stop("iris", what, person("rex"))
    town.tick()

    assert town.state.changes[asked].state == "void"
    assert town.snapshot is not None and not town.snapshot.knows(HELPER, RELEASE, town.state.time)
    with pytest.raises(NotPermitted):
        town.request(HELPER, RELEASE, [2])
    with pytest.raises(NotPermitted):
        town.desk().actor(HELPER.id)
    assert town.folded_again() == town.state


def test_a_policy_that_came_to_nothing_is_kept_by_the_log_alone() -> None:
    """A megabyte each, proposed and withdrawn again: its author alone filled the memory, and every snapshot file."""
    town = Town()
    text = policy_text(low_uses=400, head="x" * 10_000)
    dropped = [town.propose("paul", "policy.change", PolicyRequest(policy=text)) for _ in range(3)]
    town.withdraw(dropped[0], "paul")
    town.reject(dropped[1], "pia")
    town.pass_(town.propose("paul", "policy.change", PolicyRequest(policy=policy_text(low_uses=300))), "stella", "pia")
    town.wait(900)  # and with that one in force the third is void

    assert [True] * 3 == [town.state.changes[one].shed for one in dropped]
    assert text not in str(town.state)
    assert town.folded_again() == town.state == read_again(town.state)
