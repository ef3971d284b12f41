"""Which refusals get a record of their own: the first few a minute and identity; the later ones share one.

Guarantees: the answer to a refusal with a record of its own waits until the record is durable; the record that later
ones share is written when their minute is over, with how many they were, and its id is what they are told; at most
IDENTITIES_MAX identities are counted apart in a minute, the others together; what a rule expected stands in the record
and is never told. Does not: refuse.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sealpress.errors import Refusal, SealpressError
from sealpress.steps import commit
from sealpress.steps._ids import new_event_id, ulid_text
from sealpress.steps._pending import PendingEvent
from sealpress.steps._request import Caller
from sealpress.steps._shared import Shared
from sealpress.tlog.draft import Placed
from sealpress.tlog.entry import FieldEvent, RefusalEvent, Where
from sealpress.tlog.record import NANOSECONDS
from sealpress.tlog.space import REFUSALS_SHARE
from sealpress.values import Identity, RecordType, SignAsk

MINUTE_NS = 60 * NANOSECONDS
IDENTITIES_MAX = 4_096
OTHERS = "(others)"
_OTHERS = Caller(Identity(OTHERS, b"", 0), "", flaw=OTHERS)  # no rule is about them


@dataclass(slots=True)
class _Minute:
    """One identity's refusals of this minute."""

    caller: Caller
    recorded: int = 0
    suppressed: int = 0
    event_id: bytes = b""  # of the shared record
    reason: str = ""  # of the last
    line: str = ""


class Refusals:
    """The refusals of the running minute."""

    def __init__(self, shared: Shared) -> None:
        """Counts from now."""
        self._shared = shared
        self._minutes: dict[str, _Minute] = {}
        self._began_ns = shared.clock.monotonic_ns()
        self._timer: asyncio.TimerHandle | None = None

    async def refused(self, refusal: Refusal, caller: Caller, line: str, ask: SignAsk | None = None) -> Refusal:
        """The same refusal with its event id, when it may be answered."""
        event_id = self._count(refusal, caller, line)
        if event_id:
            await self._write(self._event(refusal.reason, caller, line, event_id, 0, ask))
        return refusal

    def event_of(self, refusal: Refusal, caller: Caller, ask: SignAsk) -> RefusalEvent | None:
        """The record of a request that was dropped in the commit step; it rides in that commit. None: shared."""
        event_id = self._count(refusal, caller, ask.line)
        return self._event(refusal.reason, caller, ask.line, event_id, 0, ask) if event_id else None

    def flush(self) -> None:
        """Write the shared records of the minute that is over (or of a node that stops), and begin a new one."""
        minutes, self._minutes = self._minutes, {}
        self._began_ns = self._shared.clock.monotonic_ns()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for minute in minutes.values():
            if minute.suppressed:
                event = self._event(minute.reason, minute.caller, minute.line, minute.event_id, minute.suppressed, None)
                log = self._shared.governance
                log.record(PendingEvent(RecordType.REFUSAL, event, _ignore_placed, _ignore_error))

    def _count(self, refusal: Refusal, caller: Caller, line: str) -> bytes:
        """Give the refusal its event id; that id if it has a record of its own."""
        shared = self._shared
        self._turn()
        minute = self._minutes.get(caller.identity.id)
        if minute is None:
            counted = caller if len(self._minutes) < IDENTITIES_MAX else _OTHERS
            minute = self._minutes.setdefault(counted.identity.id, _Minute(counted))
        minute.reason, minute.line = refusal.reason, line
        shared.telemetry.refused(refusal.reason)
        if shared.failed is not None or shared.governance.log.space.room().share() >= REFUSALS_SHARE:
            return b""  # no record, so no id
        if minute.recorded < shared.limits.refusals_per_minute_max:
            minute.recorded += 1
            event_id = self._new_id()
            refusal.event_id = ulid_text(event_id)
            return event_id
        if not minute.suppressed:
            minute.event_id = self._new_id()
            self._arm()
        minute.suppressed += 1
        refusal.event_id = ulid_text(minute.event_id)
        return b""

    async def _write(self, event: RefusalEvent) -> None:
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def durable(placed: Placed, where: Where) -> None:
            if not written.done():
                written.set_result(None)

        def failed(error: SealpressError) -> None:
            if not written.done():
                written.set_exception(error)

        self._shared.governance.record(PendingEvent(RecordType.REFUSAL, event, durable, failed))
        await written

    def _turn(self) -> None:
        if self._shared.clock.monotonic_ns() - self._began_ns >= MINUTE_NS:
            self.flush()

    def _arm(self) -> None:
        if self._timer is None:
            left_ns = self._began_ns + MINUTE_NS - self._shared.clock.monotonic_ns()
            self._timer = asyncio.get_running_loop().call_later(max(0, left_ns) / NANOSECONDS, self.flush)

    def _new_id(self) -> bytes:
        return new_event_id(self._shared.clock.now_ns(), self._shared.entropy.bytes(10))

    def _event(
        self, reason: str, caller: Caller, line: str, event_id: bytes, suppressed: int, ask: SignAsk | None
    ) -> RefusalEvent:
        limit = self._shared.limits.name_bytes_max
        snapshot, identity = self._shared.snapshot, caller.identity
        verdict: str = ""
        fields: tuple[FieldEvent, ...] = ()
        if not caller.flaw and line in snapshot.lines:
            match = snapshot.policy.match(identity, line)
            verdict, fields = match.verdict, commit.fields_of(match.fields)
        return RefusalEvent(
            event_id,
            ask.request_id if ask is not None else "",
            identity.id,
            identity.certificate_sha256,
            escape(line)[:limit],
            reason,
            ask.digests[: ask.algorithm.size] if ask is not None else b"",
            ask.count if ask is not None else 0,
            suppressed,
            snapshot.sha256,
            snapshot.governance_seq,
            caller.source,
            identity.issuer,
            identity.subject,
            verdict,
            fields,
            snapshot.profile,
        )


def escape(text: str) -> str:
    """ASCII without control characters."""
    return text.encode("unicode_escape").decode("ascii")


def _ignore_placed(placed: Placed, where: Where) -> None:
    pass


def _ignore_error(error: SealpressError) -> None:
    pass
