"""When the next batch of a log is cut: a batch costs as much for one request as for all who are here.

What is known: how many requests are here without an answer, who was answered and may be on his way back (the jobs of a
build farm, the items of a stream), and when the token that the next batch waits for will be free.

    enough wait             cut: more would not make it cheaper, and would keep the loop for long; a request with
                            thousands of digests is enough by itself, for they are what its commit costs; an item of
                            a stream counts as ITEM, for its caller has others to send meanwhile
    the token works         not before its end, less the time a commit takes: signed no earlier if cut now
    nobody is on his way    cut, if half of those here wait: the other half is in the token, and comes back meanwhile
    somebody is             until he is here, or nobody came or went for QUIET_NS, at most GATHER_NS_MAX

Whoever waits behind more than GATHER_NS_MAX of his own line's work is not of the crowd: nobody shall wait for him.

A slow token has nothing to do while somebody is waited for, so it waits for fewer: for as many to be here as were with
the last batches, and a batch that is smaller lowers that only little. On a busy machine most of a crowd is on its way
at any time, and one that is forgotten at once would come one by one for ever.

Guarantees: an idle node cuts at once, and so does a node whose crowd went away: who has not come for FORGET_NS is
expected no more, and nobody is after a batch of one. Does not: wait, cut, or read a clock.
"""

from __future__ import annotations

from collections import deque

ENOUGH = 32  # requests
ITEM = 0.25  # of a call, where the token is quick: 128 items a batch are up to a third quicker than 32, of calls slower
AWAY_MAX = 2 * ENOUGH  # are waited for: more would not make a difference
SLOW_NS = 3_000_000  # of a slow token's operation, with the way there and back
QUIET_NS = 2_000_000
FORGET_NS = 20_000_000  # a busy machine may keep a process from running for some of them
GATHER_NS_MAX = 16_000_000  # about what two busy cores need for ENOUGH calls
# A commit begins so many times its usual length before the token's end: its leaves have their way to the token still
# before them, and a token of 5 ms had nothing to do for as long as that took.
COMMITS_AHEAD = 3.0


class Gather:
    """Of one log. Times are of the monotonic clock, in nanoseconds."""

    __slots__ = ("_away", "_begun_ns", "_commit_ns", "_expected", "_moved_ns", "here", "waiting")

    def __init__(self) -> None:
        """Nobody is here, and nobody is expected."""
        self.here = 0  # requests without an answer: in the queue, or in a batch before it
        self.waiting = False  # there is something to cut, and more is waited for
        self._away = deque[int](maxlen=AWAY_MAX)  # when those were answered who have not come back, the latest last
        self._expected = 0  # by a slow token: as many as were here with the last batches
        self._moved_ns = 0  # when somebody last came or went
        self._begun_ns = 0  # when the next batch began to wait; 0: it did not
        self._commit_ns = 0.0  # how long a commit takes, smoothed

    def came(self, now_ns: int) -> None:
        """One more is here."""
        if now_ns - self._moved_ns > FORGET_NS:
            self._expected = 0
        self._moved_ns = now_ns
        self.here += 1
        if self._away:  # whoever it is, it is the last who was answered: so those who stay away grow old
            self._away.pop()

    def ended(self) -> None:
        """One of those who were here has his answer, and may be on his way back as soon as it is sent."""
        self.here -= 1
        self._away.append(self._moved_ns)  # about now: no clock is read for each of a batch

    def went(self, now_ns: int) -> None:
        """Somebody leaves with his answer."""
        self._moved_ns = now_ns

    def wait_ns(self, now_ns: int, queued: int, token_ns: int, each_ns: float = 0, items: int = 0) -> int:
        """How long the next batch may wait for more than the `queued` requests (`Queue.work`); 0: cut it now.

        `token_ns`: when the token that they wait for will be free; 0: it has nothing to do. `each_ns`: what one of its
        operations takes. `items`: so many of the queued are items of streams.
        """
        slow = each_ns >= SLOW_NS
        if (queued if slow else queued - (1 - ITEM) * items) >= ENOUGH:
            return 0
        spare_ns = token_ns - int(COMMITS_AHEAD * self._commit_ns) - now_ns
        if spare_ns > 0:
            return spare_ns
        complete = self.here >= self._expected if slow else not self._on_their_way(now_ns)
        if complete and 2 * queued >= self.here:
            return 0
        self._begun_ns = self._begun_ns or now_ns
        return max(0, min(self._moved_ns + QUIET_NS, self._begun_ns + GATHER_NS_MAX) - now_ns)

    def cut(self) -> None:
        """A batch is cut now; who comes alone is the crowd."""
        self._begun_ns = 0
        if self.here > 1:
            self._expected = max(self.here, self._expected - 1 - self._expected // 8)
        else:
            self._expected = self.here
            self._away.clear()

    def committed(self, took_ns: int) -> None:
        """A commit took so long."""
        self._commit_ns += (took_ns - self._commit_ns) / 4

    def _on_their_way(self, now_ns: int) -> bool:
        away = self._away
        while away and now_ns - away[0] > FORGET_NS:
            away.popleft()
        return bool(away)
