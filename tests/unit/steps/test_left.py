"""What is left over of direct requests, until somebody asks again or it lapses."""

from __future__ import annotations

from typing import Any

from sealpress.steps import _left
from sealpress.steps._left import Left, Rest
from sealpress.tlog.entry import RequestRef

EVENT: Any = None


def rest(seq: int, runs: int = 1, time: int = 0) -> Rest:
    """So many runs of a request."""
    return Rest(EVENT, [RequestRef(seq, 3 * at, 1) for at in range(runs)], time)


def test_it_is_bounded_and_the_oldest_is_forgotten() -> None:
    """By runs of leaves, for one request may have many; one that is too large alone is not kept."""
    left = Left()
    half = _left.RUNS_MAX // 2
    for seq in range(3):
        left.put(rest(seq, half))
    assert [left.take(seq) is not None for seq in range(3)] == [False, True, True]
    left.put(rest(4, _left.RUNS_MAX + 1))
    assert len(left) == 0
    left.put(rest(5, _left.RUNS_MAX))
    assert left.take(5) is not None


def test_what_lapsed_or_was_taken_is_gone() -> None:
    """Each is told once, whatever the order of their times."""
    left = Left()
    for seq, time in enumerate((10, 30, 20)):
        left.put(rest(seq, time=time))
    assert left.take(0) is not None
    assert [one.runs[0].seq for one in left.lapsed(30)] == [2]
    assert left.lapsed(30) == []
    assert (left.take(2), len(left)) == (None, 1)
