"""Can anybody fill the room for what is pending, so that nobody else gets a change in?"""

from __future__ import annotations

import pytest

from kit.town import Town
from kit.townsfolk import FIRMWARE, RELEASE, certificate, policy_text
from sealpress.errors import Precondition
from sealpress.governance import proposals
from sealpress.governance.changes import PolicyRequest
from sealpress.values import Identity

HUNDRED = 100
ROUTER, HELPER, FAB = (certificate(name) for name in ("ci-router", "helper", "fab"))


@pytest.fixture
def town(monkeypatch: pytest.MonkeyPatch) -> Town:
    """In which a hundred changes may be pending, and a hundred kilobytes of them."""
    monkeypatch.setattr(proposals, "PENDING_MAX", HUNDRED)
    monkeypatch.setattr(proposals, "PENDING_BYTES_MAX", 1_000 * HUNDRED)
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


def test_a_line_has_a_share(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tenths: whoever has many names on one line leaves room for the others."""
    monkeypatch.setattr(proposals, "OF_ONE", 10)

    assert filled(town, ROUTER, RELEASE) == 3 * HUNDRED // 10
    assert filled(town, FAB, RELEASE) == 0
    town.request(ROUTER, FIRMWARE, [1])


def test_pipelines_leave_room_for_persons(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person has to change in an emergency is not kept out by machines."""
    monkeypatch.setattr(proposals, "OF_ONE", 10)
    monkeypatch.setattr(proposals, "OF_A_LINE", 10)

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
