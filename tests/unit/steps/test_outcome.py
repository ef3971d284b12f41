"""When a caller hears of an outcome: at once, or when it is durable (`release`)."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from sealpress.clock import SystemClock
from sealpress.errors import Busy, OutcomeUnknown, Refusal, Unavailable
from sealpress.hsm.outcomes import DirectResult, Sealed, SealedLine
from sealpress.steps import _turn, seal, settle
from sealpress.steps._left import Left
from sealpress.steps._pending import PendingEvent
from sealpress.steps._request import Phase
from sealpress.steps.seal import DirectPart
from sealpress.tlog.entry import OutcomeStatus, Where


class _Ticket:
    """Somebody who waits."""

    def __init__(self) -> None:
        self.phase = Phase.DURABLE
        self.heard: Exception | None = None

    def fail(self, error: Exception) -> None:
        """Hear it."""
        self.phase, self.heard = Phase.DONE, error


@pytest.mark.parametrize("patient", [True, False])
def test_with_release_outcome_nobody_hears_before_the_record_is_durable(patient: bool) -> None:
    """`leaf` answers first and records later; `outcome` records first."""
    written: list[tuple[PendingEvent, int]] = []
    forgotten: list[Any] = []
    known = SimpleNamespace(outcome=lambda *_: None)
    log: Any = SimpleNamespace(known=known, record=lambda pending, delay_ms: written.append((pending, delay_ms)))
    shared: Any = SimpleNamespace(outcome_delay_ms=50, forget=forgotten.append)
    ticket: Any = _Ticket()
    answer, event = OutcomeUnknown("any answer"), SimpleNamespace()
    settle._record(shared, log, event, patient, [ticket], [answer])  # type: ignore[arg-type]
    (pending, delay_ms) = written[0]

    assert ticket.heard is (None if patient else answer)
    assert delay_ms == (0 if patient else 50)
    assert not forgotten  # a retry joins it until the record stands
    placed: Any = None
    pending.on_durable(placed, Where(0, 0))
    assert ticket.heard is answer
    assert forgotten == [ticket]


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize(
    ("reason", "status", "told"),
    [
        ("OUTCOME_UNKNOWN", OutcomeStatus.UNKNOWN, "OUTCOME_UNKNOWN"),
        ("ALREADY_SIGNED", OutcomeStatus.UNKNOWN, "OUTCOME_UNKNOWN"),
        ("IN_FLIGHT", OutcomeStatus.UNKNOWN, "OUTCOME_UNKNOWN"),
        ("INTERNAL", OutcomeStatus.UNKNOWN, "OUTCOME_UNKNOWN"),
        ("SLOT_DOWN", OutcomeStatus.PARTIAL, "PARTIAL"),
    ],
)
async def test_a_signature_that_nobody_has_is_recorded_as_unknown(
    reason: str, status: OutcomeStatus, told: str, ours: bool
) -> None:
    """Also where the signer gave it out already, is at it, or failed: only what was not signed may be tried again."""
    written: list[Any] = []
    log: Any = SimpleNamespace(
        log=SimpleNamespace(settings=SimpleNamespace(segment_bytes=1 << 20)), head=SimpleNamespace(size=4),
        changed=asyncio.Event(), record=lambda pending, _: written.append(pending.event),
    )  # fmt: skip
    shared: Any = SimpleNamespace(
        snapshot=SimpleNamespace(lines={}, governance_seq=0), release_outcome=False, outcome_delay_ms=0,
        telemetry=SimpleNamespace(settled=lambda *_: None),
    )  # fmt: skip
    line: Any = SimpleNamespace(name="a/b/c/d/e", key_id=bytes(32), log=log, left=Left())
    ticket: Any = _Ticket()
    spec = SimpleNamespace(time=0)
    ticket.act, ticket.signatures = SimpleNamespace(seq=7, first_leaf=2, count=2, event=None, spec=spec), {}
    ticket.ours = ours
    results = (DirectResult(b"s", 0, 1, "s1#1"), DirectResult(b"", 0, 0, "", reason))
    settle.settle_direct(shared, line, ticket, [DirectPart((0, 1), results, 4)])
    assert [event.status for event in written] == [status]
    assert ticket.heard.reason == told
    assert len(line.left) == (told == "PARTIAL" and ours)  # may lapse and give its use back: never what may be signed


@pytest.mark.parametrize(("reason", "kind"), [("SLOT_FULL", Busy), ("SLOT_DOWN", Unavailable)])
def test_those_who_waited_long_hear_whether_the_slot_is_down_or_full(reason: str, kind: type[Refusal]) -> None:
    """Either way with a delay, after which the same request_id is served."""
    told: list[Refusal] = []
    line: Any = SimpleNamespace(key="k", name="a/b/c/d/e", turn_away=lambda _now, _before, error: told.append(error))
    with pytest.raises(Refusal) as caught:
        seal._signed_head(line, 1, b"", Sealed(1, 0, b"", {"k": SealedLine(b"", 0, 0, "s", reason)}), b"")
    shared: Any = SimpleNamespace(
        clock=SystemClock(), slot_deadline_ms=1, witnesses=None, telemetry=SimpleNamespace(seal_failed=lambda *_: None)
    )
    _turn.failed(shared, line, caught.value)
    for one in (caught.value, *told):
        assert (kind, reason, True) == (type(one), one.reason, one.retry_after_ms > 0)
    assert len(told) == 1
