"""Is a request held to what its rule lets an identity have signed in a minute, and told what helps?"""

from __future__ import annotations

import pytest

from kit.town import Town
from kit.townsfolk import LOW, certificate, policy_text
from sealpress.errors import Busy, Malformed
from sealpress.governance import facts as f


def town_of(rate: int) -> Town:
    """The rule of the low line lets so many be signed in a minute."""
    town = Town()
    town.declare(f.PolicyInForce(body=policy_text(low_rate=rate)))
    return town


def test_a_request_that_no_minute_has_room_for_is_refused_for_good() -> None:
    """More digests than a whole minute may have do not come back for ever: the limit is named, and what to do."""
    town, ci = town_of(3), certificate("ci-app")

    with pytest.raises(Malformed) as caught:
        town.sign(ci, LOW, range(4))
    assert (caught.value.reason, caught.value.retry_after_ms) == ("TOO_LARGE", 0)
    assert "minute" in caught.value.message
    assert "several requests" in caught.value.hint
    assert 3 == len(town.sign(ci, LOW, range(3)))


def test_a_request_that_the_next_minute_has_room_for_comes_back() -> None:
    """As many as the minute may have, after others: later there is room for them."""
    town, ci = town_of(3), certificate("ci-app")
    town.sign(ci, LOW, (1,))

    with pytest.raises(Busy) as caught:
        town.sign(ci, LOW, (1, 2, 3))
    assert (caught.value.reason, caught.value.retry_after_ms > 0) == ("RATE_EXCEEDED", True)
    town.wait(60)
    assert 3 == len(town.sign(ci, LOW, (1, 2, 3)))
