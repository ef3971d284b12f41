"""Whose turn it is at a token: fair among tenants, bounded, in order."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealpress.hsm import work as w
from sealpress.hsm.turns import QUANTUM, SlotLost, Turn, Turns

JOB = w.WorkerJob("k", 0, 0, 64, b"")


def turn(tenant: str, jobs: int = 1, expires: float = 100.0) -> Turn:
    """So many operations of one tenant."""
    loop = asyncio.new_event_loop()
    made = Turn(tenant, "k", [JOB] * jobs, ("s",), lambda: True, expires, loop.create_future())
    loop.close()
    return made


def test_a_flood_waits_behind_itself() -> None:
    """Nineteen tenants of two operations each are served while one of two hundred gets no more than its turns."""
    turns = Turns(1_000)
    for _ in range(200):
        assert turns.put(turn("flood"))
    for number in range(19):
        for _ in range(2):
            turns.put(turn(f"t{number}"))
    served = Counter(one.tenant for _ in range(40) for one in turns.take(1))
    assert served["flood"] <= 2 * QUANTUM
    assert sum(served.values()) - served["flood"] >= 36


def test_large_turns_count_for_what_they_are() -> None:
    """One tenant asks for 16 at a time, another for 1: over time both have the same number of operations."""
    turns = Turns(10_000)
    for _ in range(20):
        turns.put(turn("large", 16))
    for _ in range(320):
        turns.put(turn("small"))
    jobs: Counter[str] = Counter()
    while sum(jobs.values()) < 320:
        for one in turns.take(4):
            jobs[one.tenant] += len(one.jobs)
    assert abs(jobs["large"] - jobs["small"]) <= 16 + QUANTUM


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 8)), max_size=60), st.integers(1, 16))
def test_nothing_is_lost_and_tenants_keep_their_order(asked: list[tuple[str, int]], room: int) -> None:
    """Everything that was put comes out once, each tenant's in order, and the count is of what waits."""
    turns = Turns(100_000)
    made = [turn(tenant, jobs) for tenant, jobs in asked]
    assert all(turns.put(one) for one in made)
    assert turns.jobs == sum(len(one.jobs) for one in made)
    taken: list[Turn] = []
    while turns.jobs:
        taken += turns.take(room)
    assert not turns.take(room)
    for tenant in "abc":
        assert [one for one in taken if one.tenant == tenant] == [one for one in made if one.tenant == tenant]


def test_it_is_bounded_and_what_waits_too_long_comes_out() -> None:
    """Beyond its bound nothing is taken in; those whose time is over come out, the others stay."""
    turns = Turns(4)
    early, late = turn("a", 2, expires=1.0), turn("b", 2, expires=9.0)
    assert turns.put(early)
    assert turns.put(late)
    assert not turns.put(turn("c"))
    assert (turns.expired(5.0), turns.jobs) == ([early], 2)
    assert (turns.drain(), turns.jobs) == ([late], 0)


async def test_a_failed_turn_says_whether_the_token_may_have_signed() -> None:
    """SlotLost, once; a second failure changes nothing."""
    one = Turn("a", "k", [JOB], ("s",), lambda: True, 1.0)
    one.fail(unknown=True)
    one.fail(unknown=False)
    with pytest.raises(SlotLost) as lost:
        await one.answer
    assert lost.value.unknown
