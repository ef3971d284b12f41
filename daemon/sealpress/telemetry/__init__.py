"""What the daemon tells about itself: one function per event, each a metric, a JSON log line on stderr, or both.

Requests are counted, not logged: a line is written for what an operator may have to act on.

Guarantees: a log line is one JSON object of ASCII characters, so no caller's string can break it or colour a terminal;
metric labels take configured names and fixed reasons only, never a caller's string. Does not: raise, block for longer
than a write to stderr, or know a secret.
"""

from __future__ import annotations

from prometheus_client import generate_latest

from sealpress.telemetry.edge import Edge
from sealpress.telemetry.logs import Logs
from sealpress.telemetry.requests import Requests
from sealpress.telemetry.rules import Rules
from sealpress.telemetry.slots import Slots
from sealpress.telemetry.tokens import Tokens


class Telemetry(Requests, Logs, Slots, Tokens, Edge, Rules):
    """Metrics and log lines of one process."""

    def exposition(self) -> bytes:
        """The metrics as Prometheus reads them."""
        ours = (
            self._requests,
            self._leaves,
            self._size,
            self._ready,
            self._seconds,
            self._token,
            self._sync,
            self._batch,
        )
        return bytes(generate_latest(self.registry)) + "".join(text for one in ours for text in one.written()).encode()

    def serving(self, addresses: dict[str, str]) -> None:
        """Listening."""
        self._log("info", "serving", **addresses)

    def stopping(self, reason: str) -> None:
        """Draining."""
        self._log("info", "stopping", reason=reason)

    def stopped(self, code: int) -> None:
        """The last line."""
        self._log("info", "stopped", code=code)
