"""What stands in a log's queue, as the decision when to cut sees it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sealpress.steps._gather import ENOUGH
from sealpress.steps._state import Line, Ticket
from sealpress.steps.batch import Queue


class _Ticket(Ticket):
    """A ticket with nothing but its place and size; somebody waits for it unless said otherwise."""

    __slots__ = ("_wanted",)

    def __init__(self, count: int, wanted: bool = True) -> None:
        self.line: Any = SimpleNamespace(name="a/b/c/d/e", tenant="a")
        self.ask: Any = SimpleNamespace(count=count)
        self.cost = 512 + 32 * count
        self._wanted = wanted

    def wanted(self, now_ns: int) -> bool:
        return self._wanted


def _free(_line: Line) -> bool:
    return False


def test_a_request_of_many_digests_is_enough_for_a_commit() -> None:
    """Ten thousand digests wait for nobody, one does; the sum follows every way into and out of the queue."""
    queue = Queue(pending_max=100, items_max=20_000, bytes_max=1 << 20)
    for count in (1, 10_000, 10_000, 10_000):
        queue.put(_Ticket(count))
        assert (queue.work >= ENOUGH) == (len(queue) > 1)
    queue.put(_Ticket(1, wanted=False))
    full = queue.work
    taken, _ = queue.cut(0, _free)
    assert 0 < queue.work < full
    queue.put_back(taken)
    assert queue.work == full
    while taken:
        taken, _ = queue.cut(0, _free)
    assert (len(queue), queue.work) == (0, 0)
    queue.put(_Ticket(10_000))
    queue.drain()
    assert (len(queue), queue.work) == (0, 0)
