"""Events of requests: counted, not logged, unless an operator may have to act on them."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Protocol, TextIO

from prometheus_client import Counter

from sealpress.ports import Clock
from sealpress.telemetry.reporter import NANOSECONDS, Reporter
from sealpress.telemetry.series import SECONDS, Histogram, Numbers


class _Begun(Protocol):
    """Something that was begun at a monotonic time."""

    started_ns: int


class Requests(Reporter):
    """What becomes of calls and requests."""

    def __init__(self, clock: Clock, stream: TextIO | None = None) -> None:
        """As of Reporter."""
        super().__init__(clock, stream)
        r = self.registry
        self._requests = Numbers("counter", "sealpress_requests", "Requests that were signed", "line")
        self._refusals = Counter("sealpress_refusals", "Requests without right; recorded", ["reason"], registry=r)
        self._errors = Counter("sealpress_errors", "Calls answered with an error", ["reason"], registry=r)
        self._lapsed = Counter("sealpress_lapsed", "Requests never signed in time", ["line"], registry=r)
        self._seal_failures = Counter(
            "sealpress_seal_failures", "Calls to the signer that failed", ["line", "reason"], registry=r
        )
        self._seconds = Histogram(
            "sealpress_request_seconds", "From admission to the answer, the slowest of each head", "line", SECONDS
        )
        self._token = Histogram("sealpress_token_seconds", "Token operation", "line", SECONDS)
        self._internal = Counter("sealpress_internal_errors", "Our bugs that a caller met", ["method"], registry=r)

    def refused(self, reason: str) -> None:
        """Somebody may not; the record is in the log."""
        self._refusals.labels(reason).inc()

    def errored(self, reason: str) -> None:
        """A call was answered with an error; a malformed one leaves no other trace than this."""
        self._errors.labels(reason).inc()

    def settled(self, line: str, tickets: Sequence[_Begun], latency_us: int) -> None:
        """A head or a direct request is signed, and these have their answers."""
        if not tickets:
            return
        self._requests.of[line] += len(tickets)
        waited_ns = self._clock.monotonic_ns() - min([ticket.started_ns for ticket in tickets])
        self._seconds.observe(line, waited_ns / NANOSECONDS)
        self._token.observe(line, latency_us / 1_000_000)

    def lapsed(self, line: str, requests: int) -> None:
        """Leaves grew too old to be signed."""
        self._lapsed.labels(line).inc(requests)
        self._log("warning", "lapsed", line=line, requests=requests)

    def seal_failed(self, line: str, reason: str, message: str) -> None:
        """The signer did not sign a head or a part; it is tried again while the leaves are young."""
        self._seal_failures.labels(line, reason).inc()
        self._log("warning", "seal_failed", line=line, reason=reason, message=message)

    def internal(self, method: str, error: BaseException) -> None:
        """A bug of ours; the caller was told INTERNAL and nothing else."""
        self._internal.labels(method).inc()
        text = "".join(traceback.format_exception(error))
        self._log("error", "internal", method=method, error=repr(error), trace=text)
