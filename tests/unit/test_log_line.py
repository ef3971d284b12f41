"""Has a log line an end, whatever an error says?"""

from __future__ import annotations

import io
import json

from kit.clock import VirtualClock
from sealpress.telemetry import Telemetry
from sealpress.telemetry.reporter import TRACE_MAX


def test_a_trace_is_cut_at_its_beginning() -> None:
    """An error may carry a whole message of a caller: its end, and so its name, is told, in a bounded line."""
    said = io.StringIO()
    try:
        raise ValueError("x" * (1 << 20) + "the end")
    except ValueError as error:
        Telemetry(VirtualClock(), said).internal("Sign", error)
    line = json.loads(said.getvalue())
    assert len(line["trace"]) == TRACE_MAX
    assert line["trace"].endswith("the end\n")
    assert len(said.getvalue()) < 2 * TRACE_MAX
