"""How fast a line's key works: lets a commit wait for company, and turns away in time whom the key cannot serve.

While a token works, what is committed now is signed no earlier than what is committed just before it ends; and whoever
would wait for longer than he may hears so at once, with the time after which those before him are done.

Guarantees: `wait_ns` is 0 until a batch was large enough to show the key's own speed; a late or wrong `due_ns` delays
nothing beyond the operation under way. Does not: wait, sign, or refuse.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sealpress.ports import Clock

SAMPLE_MIN = 16  # leaves of a batch that shows how fast a key signs one after the other
ROUND_MIN, ROUND_MAX = 4, 32  # leaves of one call for several direct tickets ...
ROUND_NS = 25_000_000  # ... and what the token takes for them, about
LEAD = 0.5  # of an operation: so long before its end the next one is sent ...
LEAD_NS_MAX = 4_000_000  # ... but no longer than the way to the token takes: what comes later is signed with it
MILLISECONDS = 1_000_000


class Pace:
    """Of one key. Times are of the monotonic clock, in nanoseconds."""

    __slots__ = ("_each_ns", "_ended_ns", "_sure", "_under_way", "due_ns", "pending")

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.pending = 0  # leaves admitted and not answered
        self.due_ns = 0  # when the token will be done with what it has in hand; 0: it has nothing
        self._each_ns = 0.0  # one operation, smoothed
        self._sure = False
        self._under_way = 0
        self._ended_ns = 0

    @contextmanager
    def working(self, clock: Clock, count: int = 1) -> Iterator[None]:
        """Around `count` operations that the token does one after the other, and after those under way."""
        begun_ns = clock.monotonic_ns()
        self._under_way += 1
        self.due_ns = max(begun_ns, self.due_ns) + int(self._each_ns * count)
        try:
            yield
            self._learn(clock.monotonic_ns() - max(begun_ns, self._ended_ns), count)
        finally:
            self._under_way -= 1
            self._ended_ns = clock.monotonic_ns()
            self.due_ns = self._ended_ns + int(self._each_ns * count) if self._under_way else 0

    @property
    def each_ns(self) -> float:
        """What one operation takes, about; 0: nothing is known yet."""
        return self._each_ns

    def spare_ns(self, now_ns: int) -> int | None:
        """How long the next operation may still wait without the token waiting for it; None: until this one is back."""
        if not self._under_way:
            return 0
        lead_ns = min(int(self._each_ns * LEAD), LEAD_NS_MAX)
        return max(0, self.due_ns - lead_ns - now_ns) if self._each_ns else None

    def wait_ns(self) -> int:
        """How long those before a new request take."""
        return int(self.pending * self._each_ns) if self._sure else 0

    def round_leaves(self) -> int:
        """How many leaves one call should carry: answers that come back together keep the loop from everybody else."""
        if not self._each_ns:
            return ROUND_MAX
        return min(ROUND_MAX, max(ROUND_MIN, int(ROUND_NS / self._each_ns)))

    def _learn(self, took_ns: int, count: int) -> None:
        sure = count >= SAMPLE_MIN
        if self._sure and not sure:
            return  # mostly the way there and back
        each_ns = took_ns / max(1, count)
        known = self._each_ns and self._sure == sure
        self._each_ns = self._each_ns + (each_ns - self._each_ns) / 4 if known else each_ns
        self._sure = sure
