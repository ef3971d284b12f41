"""Is a request held to what its rule lets an identity have signed in a minute, and told what helps?"""

from __future__ import annotations

import pytest

from kit.town import Town
from kit.townsfolk import LOW, certificate, policy_text
from sealpress.errors import Busy, Malformed
from sealpress.governance import facts as f
from sealpress.governance import usage


def town_of(rate: int) -> Town:
    """The rule of the low line lets so many be signed in a minute."""
    town = Town()
    town.declare(f.PolicyInForce(body=policy_text(low_rate=rate)))
    return town


@pytest.mark.parametrize("rate", [1, 3])
def test_a_request_that_no_minute_has_room_for_is_refused_for_good(rate: int) -> None:
    """More digests than a whole minute may have do not come back for ever: the limit is named, and what to do."""
    town, ci = town_of(rate), certificate("ci-app")

    with pytest.raises(Malformed) as caught:
        town.sign(ci, LOW, range(rate + 1))
    assert (caught.value.reason, caught.value.retry_after_ms) == ("TOO_LARGE", 0)
    assert "minute" in caught.value.message
    assert "several requests" in caught.value.hint
    assert rate == len(town.sign(ci, LOW, range(rate)))


def test_a_request_that_the_next_minute_has_room_for_comes_back() -> None:
    """As many as the minute may have, after others: later there is room for them."""
    town, ci = town_of(3), certificate("ci-app")
    town.sign(ci, LOW, (1,))

    with pytest.raises(Busy) as caught:
        town.sign(ci, LOW, (1, 2, 3))
    assert (caught.value.reason, caught.value.retry_after_ms > 0) == ("RATE_EXCEEDED", True)
    town.wait(60)
    assert 3 == len(town.sign(ci, LOW, (1, 2, 3)))


def test_each_use_counts_for_a_minute_and_no_longer() -> None:
    """Those of one second, and those before and after: each is forgotten 60 s after it was, and none stays for ever."""
    ledger, decision = usage.Ledger(), usage.Decision("ci", rate=9)
    for second, count in ((100, 1), (100, 2), (130, 4)):
        ledger.take(LOW, decision, count, second)

    assert [7, 7, 4, 4, 0] == [ledger.rate(LOW, "ci", second) for second in (130, 159, 160, 189, 190)]


def test_a_clock_that_goes_back_forgets_no_use() -> None:
    """What is counted at an earlier second counts as long as what came before it, and then not any more."""
    ledger, decision = usage.Ledger(), usage.Decision("ci", rate=9)
    for second, count in ((100, 1), (90, 2)):
        ledger.take(LOW, decision, count, second)

    assert [3, 3, 0] == [ledger.rate(LOW, "ci", second) for second in (90, 159, 160)]


def test_a_decision_spends_what_it_rests_on_and_nothing_else() -> None:
    """A grant, a key, the minute of a rule: what there is of them is counted, and what comes back is free again."""
    ledger = usage.Ledger()
    ledger.take(LOW, usage.Decision("ci"), 2, 100)
    assert (ledger.grants, ledger.keys, ledger.rate(LOW, "ci", 100)) == ({}, {}, 0)
    ledger.take(LOW, usage.Decision("ci", grant="g", key="k"), 2, 100)
    ledger.give_back("g", "", 1)
    ledger.give_back("other", "k", 2)
    assert (ledger.grants, ledger.keys, ledger.rate(LOW, "ci", 100)) == ({"g": 1}, {"k": 0}, 0)
