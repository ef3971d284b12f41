"""When a caller hears of an outcome: at once, or when it is durable (`release`)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sealpress.errors import OutcomeUnknown
from sealpress.steps import settle
from sealpress.steps._state import PendingEvent, Phase
from sealpress.tlog.entry import Where


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
