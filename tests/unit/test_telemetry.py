"""What the daemon writes to its log: events, not the news of every second."""

from __future__ import annotations

import io

from kit.clock import VirtualClock
from sealpress.telemetry import Telemetry


def test_what_does_not_change_is_said_once() -> None:
    """The signer tells of its slots as often as anything about them changes; a line is about keys that are ready."""
    stream = io.StringIO()
    telemetry = Telemetry(VirtualClock(), stream)
    for up, ready in [(True, True), (True, True), (True, False), (True, False), (False, False), (True, True)]:
        telemetry.signer(up, {"a/b/c/d/e": ready})
    assert stream.getvalue().count("\n") == 4
