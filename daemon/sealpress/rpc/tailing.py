"""What comes next in a log, for all who follow it: each part is read and told once, and who is up to date waits.

Guarantees: a part is bounded by events and bytes; records are read in threads, never on the loop. Does not: ask who
may.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from sealpress.rpc.explaining import log_event
from sealpress.rpc.scanning import threaded
from sealpress.steps._ticket import LogState
from sealpress.tlog.entry import Where
from sealpress.tlog.record import Record
from sealpress.v1 import audit_pb2 as pb

TAIL_PART = 256  # records read at a time, and less once they have as many bytes
TAIL_PART_BYTES = 1 << 20
HEARTBEAT_S = 10.0


@dataclass(frozen=True, slots=True)
class Part:
    """Events of a log from a place on: those that were there when its next seq was `seen`, or the first of them."""

    place: tuple[int, Where | None]
    seen: int
    reading: asyncio.Future[tuple[Sequence[pb.TailResponse], Where | None, bool]]


class Parts:
    """What comes next in each log, read and told once for all who have come equally far."""

    def __init__(self) -> None:
        self._last: dict[str, Part] = {}  # by log

    async def next(self, log: LogState, seq: int, at: Where | None) -> tuple[Part, bool]:
        """The part from there on, read, and whether there may be more already."""
        while True:
            seen = log.log.next_seq  # taken before reading: what comes later is waited for
            part = self._last.get(log.id)
            if part is None or part.place != (seq, at):
                part = self._last[log.id] = Part((seq, at), seen, threaded(_answers, log, seq, at))
            try:
                answers, _, more = await asyncio.shield(part.reading)
            except BaseException:
                self._forget(log, part)
                raise
            if answers or part.seen >= seen:
                return part, more or part.seen < seen
            self._forget(log, part)  # nothing was there, but is now

    def _forget(self, log: LogState, part: Part) -> None:
        if self._last.get(log.id) is part:
            del self._last[log.id]


def _answers(log: LogState, seq: int, at: Where | None) -> tuple[Sequence[pb.TailResponse], Where | None, bool]:
    """The next records as they are told, where it goes on, and whether there may be more already."""
    records, more = _part(log, seq, at)
    told = [pb.TailResponse(event=log_event(log, record), next_seq=record.seq + 1) for record in records]
    return told, records[-1].next if records else at, more


def _part(log: LogState, seq: int, at: Where | None) -> tuple[list[Record], bool]:
    """The next records, and whether there may be more already."""
    found: list[Record] = []
    size = 0
    for record in log.log.records(seq, at):
        found.append(record)
        size += len(record.head_bytes) + len(record.names) + len(record.digests)
        if len(found) == TAIL_PART or size >= TAIL_PART_BYTES:
            return found, True
    return found, False


async def grown(log: LogState, seen: int) -> bool:
    """Until the log is longer than `seen`; False after a while without."""
    try:
        async with asyncio.timeout(HEARTBEAT_S), log.grown:
            await log.grown.wait_for(lambda: log.log.next_seq > seen)
    except TimeoutError:
        return False
    return True
