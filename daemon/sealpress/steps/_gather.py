"""When the next batch of a log is cut: a batch costs as much for one request as for all who are here.

What is known: how many requests are here without an answer, how many were with the last batches (whoever was answered
since may be on his way back: the jobs of a build farm, the items of a stream), and when the token that the next batch
waits for will be free.

    enough wait             cut: more would not make it cheaper, and would keep the loop for long; a request with
                            thousands of digests is enough by itself, for they are what its commit costs
    the token works         not before its end, less the time a commit takes: signed no earlier if cut now; from then on
                            fewer are enough for a slow one, as two halves of a crowd would wait for one another
    the crowd is here       cut, if half of it waits: the other half is in the token, and comes back meanwhile
    it is on its way        until it is here, or nobody came or went for QUIET_NS, at most GATHER_NS_MAX

Whoever waits behind more than GATHER_NS_MAX of his own line's work is not of the crowd: nobody shall wait for him.

A batch that is smaller than the crowd lowers what is expected only little: on a busy machine most of the crowd is on
its way at any time, and a crowd that is forgotten at once would come one by one for ever.

Guarantees: an idle node cuts at once, and so does a node whose crowd went away: it is expected no more after FORGET_NS
without anybody, or after one batch that it did not come for. Does not: wait, cut, or read a clock.
"""

from __future__ import annotations

ENOUGH = 32  # requests
ENOUGH_SLOW = 24  # ... for a token whose operation takes longer than SLOW_NS, with the way there and back
SLOW_NS = 3_000_000
QUIET_NS = 2_000_000
FORGET_NS = 20_000_000  # a busy machine may keep a process from running for some of them
GATHER_NS_MAX = 16_000_000  # about what two busy cores need for ENOUGH calls
# A commit begins so many times its usual length before the token's end: its leaves have their way to the token still
# before them, and a token of 5 ms had nothing to do for as long as that took.
COMMITS_AHEAD = 3.0


class Gather:
    """Of one log. Times are of the monotonic clock, in nanoseconds."""

    __slots__ = ("_begun_ns", "_commit_ns", "_expected", "_moved_ns", "here", "waiting")

    def __init__(self) -> None:
        """Nobody is here, and nobody is expected."""
        self.here = 0  # requests without an answer: in the queue, or in a batch before it
        self.waiting = False  # there is something to cut, and more is waited for
        self._expected = 0  # the crowd: as many as were here with the last batches
        self._moved_ns = 0  # when somebody last came or went
        self._begun_ns = 0  # when the next batch began to wait; 0: it did not
        self._commit_ns = 0.0  # how long a commit takes, smoothed

    def came(self, now_ns: int) -> None:
        """One more is here."""
        if now_ns - self._moved_ns > FORGET_NS:
            self._expected = 0
        self._moved_ns = now_ns
        self.here += 1

    def ended(self) -> None:
        """One of those who were here has his answer."""
        self.here -= 1

    def went(self, now_ns: int) -> None:
        """Somebody leaves with his answer; he may come again."""
        self._moved_ns = now_ns

    def wait_ns(self, now_ns: int, queued: int, token_ns: int, each_ns: float = 0) -> int:
        """How long the next batch may wait for more than the `queued` requests (`Queue.work`); 0: cut it now.

        `token_ns`: when the token that they wait for will be free; 0: it has nothing to do. `each_ns`: what one of its
        operations takes.
        """
        if queued >= ENOUGH:
            return 0
        spare_ns = token_ns - int(COMMITS_AHEAD * self._commit_ns) - now_ns
        if spare_ns > 0:
            return spare_ns
        if each_ns >= SLOW_NS and queued >= ENOUGH_SLOW:
            return 0
        if self.here >= self._expected and 2 * queued >= self.here:
            return 0
        self._begun_ns = self._begun_ns or now_ns
        return max(0, min(self._moved_ns + QUIET_NS, self._begun_ns + GATHER_NS_MAX) - now_ns)

    def cut(self) -> None:
        """A batch is cut now; who comes alone is the crowd."""
        self._expected = max(self.here, self._expected - 1 - self._expected // 8) if self.here > 1 else self.here
        self._begun_ns = 0

    def committed(self, took_ns: int) -> None:
        """A commit took so long."""
        self._commit_ns += (took_ns - self._commit_ns) / 4
