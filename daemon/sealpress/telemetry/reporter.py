"""What every family of events stands on: a clock, a registry of metrics, and a stream that takes JSON lines.

Guarantees: a line is one JSON object of ASCII characters, however it came to its strings, and each of them has an end;
a stream that cannot be written stops nobody. Does not: know an event.
"""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

from prometheus_client import CollectorRegistry

from sealpress.ports import Clock

NANOSECONDS = 1_000_000_000
TEXT_MAX = 2_048
TRACE_MAX = 32_768  # its end, which names the error


class Reporter:
    """One for a process: the families of events are its subclasses, Telemetry is all of them."""

    def __init__(self, clock: Clock, stream: TextIO | None = None) -> None:
        """Log lines go to `stream`, by default stderr."""
        self._clock = clock
        self._stream = stream if stream is not None else sys.stderr
        self.registry = CollectorRegistry()

    def _log(self, level: str, event: str, **fields: Any) -> None:
        seconds, rest = divmod(self._clock.now_ns(), NANOSECONDS)
        line: dict[str, Any] = {"ts": f"{seconds}.{rest // 1_000:06}", "level": level, "event": event}
        for name, value in fields.items():
            if isinstance(value, str):
                value = value[-TRACE_MAX:] if name == "trace" else value[:TEXT_MAX]
            line[name] = value
        try:
            self._stream.write(json.dumps(line, ensure_ascii=True) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return  # nobody reads our stderr: signing goes on
