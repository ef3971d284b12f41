"""Leaves of a direct line that failed cleanly: signed if somebody asks again in time, else they lapse (DESIGN L2).

Guarantees: bounded, the oldest is forgotten first; what is taken or has lapsed is not here any more. Does not: know
what a former process tried: such leaves may be signed, and never come here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sealpress.tlog.entry import RequestEvent, RequestRef

RUNS_MAX = 16_384  # of neighbouring leaves, of one line; what was forgotten keeps its grant uses


@dataclass(frozen=True, slots=True)
class Rest:
    """Of one request: the leaves without a signature."""

    event: RequestEvent
    runs: Sequence[RequestRef]
    time: int  # Unix seconds in the leaves


class Left:
    """Of one line; by the requests' seqs."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._rests: dict[int, Rest] = {}
        self._runs = 0

    def __len__(self) -> int:
        """How many requests have such leaves."""
        return len(self._rests)

    def put(self, rest: Rest) -> None:
        """Nobody works at these leaves any more."""
        self._rests[rest.runs[0].seq] = rest
        self._runs += len(rest.runs)
        while self._runs > RUNS_MAX:
            self.take(next(iter(self._rests)))

    def take(self, seq: int) -> Rest | None:
        """Somebody asks again; None: they lapsed, or were never here."""
        rest = self._rests.pop(seq, None)
        if rest is not None:
            self._runs -= len(rest.runs)
        return rest

    def lapsed(self, oldest: int) -> list[Rest]:
        """Those from before that time; they are here no more."""
        gone = [seq for seq, rest in self._rests.items() if rest.time < oldest]
        return [rest for seq in gone if (rest := self.take(seq)) is not None]
