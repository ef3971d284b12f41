"""When a batch is cut: by who is here, who is expected, and what the token does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kit.clock import VirtualClock
from sealpress.errors import Busy
from sealpress.steps._gather import ENOUGH, FORGET_NS, GATHER_NS_MAX, QUIET_NS, SLOW_NS, Gather
from sealpress.steps._pace import SAMPLE_MIN, Pace
from sealpress.steps._ticket import Ticket

SECOND = 1_000_000_000


class Crowd:
    """Callers of a log whose clock moves only when a test says so."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.clock.advance(100)
        self.gather = Gather()

    def pass_(self, ns: int) -> None:
        """Time passes."""
        self.clock.advance(ns / SECOND)

    def come(self, count: int) -> None:
        """So many requests arrive."""
        for _ in range(count):
            self.gather.came(self.clock.monotonic_ns())

    def go(self, count: int) -> None:
        """So many have their answers, and leave."""
        for _ in range(count):
            self.gather.ended()
            self.gather.went(self.clock.monotonic_ns())

    def wait_ns(self, queued: int, token_ns: int = 0) -> int:
        """What the policy says now."""
        return self.gather.wait_ns(self.clock.monotonic_ns(), queued, token_ns)

    def round(self, count: int) -> None:
        """They come, are cut as one batch, answered, and leave."""
        self.come(count)
        self.gather.cut()
        self.go(count)


class _Ticket(Ticket):
    """A request of one digest."""

    def __init__(self, line: Any) -> None:
        self.line, self.ask = line, SimpleNamespace(count=1)
        self.pace, self.gather, self.waiters = None, None, []


@pytest.fixture
def crowd() -> Crowd:
    """Nobody yet."""
    return Crowd()


def test_an_idle_node_cuts_at_once(crowd: Crowd) -> None:
    """One call after the other waits for nobody."""
    for _ in range(10):
        crowd.come(1)
        assert crowd.wait_ns(1) == 0
        crowd.gather.cut()
        crowd.go(1)
        crowd.pass_(1_000_000)


def test_a_crowd_that_was_just_answered_is_waited_for(crowd: Crowd) -> None:
    """Thirty answered together are one batch when they come back, not one each."""
    crowd.round(30)
    for here in range(1, 30):
        crowd.pass_(200_000)
        crowd.come(1)
        assert 0 < crowd.wait_ns(here) <= QUIET_NS
    crowd.come(1)
    assert crowd.wait_ns(30) == 0


def test_whoever_is_answered_is_waited_for_before_his_answer_is_sent(crowd: Crowd) -> None:
    """The items of a stream: the first is back while the answers of the others are still written, one by one."""
    crowd.come(30)
    crowd.gather.cut()
    for _ in range(30):
        crowd.gather.ended()
    crowd.gather.went(crowd.clock.monotonic_ns())
    crowd.come(1)
    assert crowd.wait_ns(1) > 0


def test_those_in_the_token_are_here(crowd: Crowd) -> None:
    """When half of the crowd waits for the token, the other half is complete without it."""
    crowd.come(60)
    crowd.gather.cut()
    crowd.go(30)
    crowd.come(29)
    assert crowd.wait_ns(29) > 0
    crowd.come(1)
    assert crowd.wait_ns(30) == 0


def test_few_do_not_run_ahead_of_many_in_the_token(crowd: Crowd) -> None:
    """All are here, but most in the token: the next batch waits until it is not much smaller than the one before it."""
    crowd.come(30)
    crowd.gather.cut()
    crowd.come(5)
    assert crowd.wait_ns(5) > 0


def test_a_batch_without_the_whole_crowd_does_not_end_it(crowd: Crowd) -> None:
    """Those who were kept on their way are waited for with the next batch."""
    crowd.round(30)
    crowd.round(10)
    crowd.come(29)
    assert crowd.wait_ns(29) > 0
    crowd.come(1)
    assert crowd.wait_ns(30) == 0


def test_a_crowd_is_forgotten_after_a_quiet_time(crowd: Crowd) -> None:
    """The first call after a burst is cut at once if nobody came or went for a while."""
    crowd.round(60)
    crowd.pass_(FORGET_NS + 1_000)
    crowd.come(1)
    assert crowd.wait_ns(1) == 0


def test_a_crowd_is_forgotten_after_one_batch_that_it_did_not_come_for(crowd: Crowd) -> None:
    """Whoever comes right after a burst waits once for the others, two milliseconds, and never again."""
    crowd.round(60)
    crowd.come(1)
    assert crowd.wait_ns(1) == QUIET_NS
    crowd.pass_(QUIET_NS)
    assert crowd.wait_ns(1) == 0
    crowd.gather.cut()
    crowd.go(1)
    crowd.come(1)
    assert crowd.wait_ns(1) == 0


def test_who_stays_away_is_forgotten_though_others_come_and_go(crowd: Crowd) -> None:
    """Of sixty callers two go on: after FORGET_NS without the others both are cut as soon as they are here."""
    crowd.round(60)
    for _ in range(1 + FORGET_NS // QUIET_NS):
        crowd.come(2)
        assert crowd.wait_ns(2) > 0
        crowd.gather.cut()
        crowd.go(2)
        crowd.pass_(QUIET_NS)
    crowd.come(1)
    assert crowd.wait_ns(1) > 0
    crowd.come(1)
    assert crowd.wait_ns(2) == 0


def test_a_slow_token_waits_for_fewer_after_each_smaller_batch(crowd: Crowd) -> None:
    """Time in which it has no work costs more than a smaller batch: a few who are late come with the next one."""
    crowd.round(30)
    crowd.round(10)
    crowd.come(23)
    now_ns = crowd.clock.monotonic_ns()
    assert crowd.gather.wait_ns(now_ns, 23, 0, SLOW_NS) > 0
    crowd.come(3)
    assert crowd.gather.wait_ns(now_ns, 23, 0, SLOW_NS) == 0


def test_nobody_waits_for_longer_than_the_bound(crowd: Crowd) -> None:
    """A trickle that never ends does not hold a batch."""
    crowd.round(60)
    waited = 0
    crowd.come(1)
    while crowd.wait_ns(1) > 0:
        crowd.pass_(QUIET_NS // 2)
        crowd.gather.went(crowd.clock.monotonic_ns())
        waited += QUIET_NS // 2
    assert waited == GATHER_NS_MAX


def test_enough_requests_are_cut_whoever_else_is_expected(crowd: Crowd) -> None:
    """A batch is large enough at some size, also while the token works."""
    crowd.round(500)
    crowd.come(ENOUGH)
    assert crowd.wait_ns(ENOUGH - 1) > 0
    assert crowd.wait_ns(ENOUGH) == 0
    assert crowd.wait_ns(ENOUGH, crowd.clock.monotonic_ns() + SECOND) == 0


def test_as_many_are_enough_for_a_slow_token(crowd: Crowd) -> None:
    """A token that takes long gets batches as large as others, once its end is near, and more of them meanwhile."""
    crowd.round(500)
    crowd.come(ENOUGH)
    now_ns = crowd.clock.monotonic_ns()
    assert crowd.gather.wait_ns(now_ns, ENOUGH - 1, 0, SLOW_NS) > 0
    assert crowd.gather.wait_ns(now_ns, ENOUGH, 0, SLOW_NS) == 0
    assert crowd.gather.wait_ns(now_ns, ENOUGH - 1, now_ns + SECOND, SLOW_NS) == SECOND


def test_four_items_of_streams_are_enough_where_one_call_is(crowd: Crowd) -> None:
    """With a quick token a batch of items is as large again, and again; with a slow one as large as of calls."""
    now_ns, many = crowd.clock.monotonic_ns(), 4 * ENOUGH
    crowd.come(3 * many)  # most of them in the token's hands
    assert crowd.gather.wait_ns(now_ns, many - 1, 0, items=many - 1) > 0
    assert crowd.gather.wait_ns(now_ns, many, 0, items=many) == 0
    assert crowd.gather.wait_ns(now_ns, many - 3, 0, items=many - 4) == 0  # a call among them
    assert crowd.gather.wait_ns(now_ns, ENOUGH, 0, SLOW_NS, items=ENOUGH) == 0


def test_a_batch_waits_for_the_token_as_long_as_that_costs_nothing(crowd: Crowd) -> None:
    """While the token works a batch is cut three commits before its end, whoever is here."""
    for _ in range(50):
        crowd.gather.committed(2_000_000)
    crowd.come(5)
    free_ns = crowd.clock.monotonic_ns() + 20_000_000
    assert crowd.wait_ns(5, free_ns) == pytest.approx(14_000_000, abs=10)
    crowd.pass_(14_000_100)
    assert crowd.wait_ns(5, free_ns) == 0


def test_nobody_waits_for_those_behind_a_flood(crowd: Crowd) -> None:
    """Whoever has a long backlog of his own line before him is not expected back: others are cut as without him."""
    pace, each_ns = Pace(), 5_000_000
    with pace.working(crowd.clock, SAMPLE_MIN):
        crowd.pass_(SAMPLE_MIN * each_ns)
    line = SimpleNamespace(pace=pace, log=SimpleNamespace(gather=crowd.gather))
    flood = [_Ticket(line) for _ in range(100)]
    for ticket in flood:
        ticket.enter(crowd.clock.monotonic_ns())
    assert (pace.pending, crowd.gather.here) == (100, 1 + GATHER_NS_MAX // each_ns)
    for ticket in flood:
        ticket.fail(Busy("no"))
    assert (pace.pending, crowd.gather.here) == (0, 0)


@pytest.mark.parametrize(("each_ms", "lead_ms"), [(5, 2.5), (8, 4), (20, 4), (100, 4)])
def test_the_next_operation_is_sent_shortly_before_the_end_of_this_one(
    crowd: Crowd, each_ms: int, lead_ms: float
) -> None:
    """Half an operation ahead, or the way to the token: what becomes durable until then is signed with it."""
    pace = Pace()
    with pace.working(crowd.clock):
        assert pace.spare_ns(crowd.clock.monotonic_ns()) is None  # nothing is known yet
        crowd.pass_(each_ms * 1_000_000)
    assert pace.spare_ns(crowd.clock.monotonic_ns()) == 0  # it has nothing to do
    with pace.working(crowd.clock):
        assert pace.spare_ns(crowd.clock.monotonic_ns()) == pytest.approx((each_ms - lead_ms) * 1_000_000, abs=10)
