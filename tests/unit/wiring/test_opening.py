"""A start that reads many segments says how far it is."""

from __future__ import annotations

import io
import json

from kit.clock import VirtualClock
from sealpress.telemetry import Telemetry


def test_progress_is_told_once_a_second_and_not_for_one_segment() -> None:
    """One line at the beginning, then at most one a second; a log of one segment opens in silence."""
    clock, stream = VirtualClock(), io.StringIO()
    telemetry = Telemetry(clock, stream)
    telemetry.log_opening("small", 0, 1)
    for done in range(40):
        telemetry.log_opening("ci", done, 40)
        clock.advance(0.25)
    told = [json.loads(line) for line in stream.getvalue().splitlines()]

    assert {"log_opening"} == {line["event"] for line in told}
    assert [0, 4, 8] == [line["segments_done"] for line in told][:3]
    assert {("ci", 40)} == {(line["log"], line["segments"]) for line in told}
