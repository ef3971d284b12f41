"""What the daemon writes to its log: events, not the news of every second."""

from __future__ import annotations

import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from kit.clock import VirtualClock
from sealpress.telemetry import Telemetry
from sealpress.telemetry.series import COUNTS, SECONDS


def test_what_does_not_change_is_said_once() -> None:
    """The signer tells of its slots as often as anything about them changes; a line is about keys that are ready."""
    stream = io.StringIO()
    telemetry = Telemetry(VirtualClock(), stream)
    for up, ready in [(True, True), (True, True), (True, False), (True, False), (False, False), (True, True)]:
        telemetry.signer(up, {"a/b/c/d/e": ready})
    assert stream.getvalue().count("\n") == 4


LINES = ("a/b/c/d/e", 'q"uote\\d\nline')
WAITED_S = (0.0, 0.0005, 0.0007, 3.25, 1e6)


def asked(telemetry: Telemetry, clock: VirtualClock, line: str, waited_s: float) -> None:
    """A request of the line was signed after so long."""
    ticket: Any = SimpleNamespace(started_ns=clock.monotonic_ns() - round(waited_s * 1e9))
    telemetry.settled(line, [ticket], round(waited_s * 1e6))


def test_every_metric_is_in_the_operators_documents() -> None:
    """What /metrics shows is said with its own name in daemon/README.md or HSM.md, and no other name is said."""
    families = text_string_to_metric_families(Telemetry(VirtualClock(), io.StringIO()).exposition().decode())
    shown = {one.name + "_total" * (one.type == "counter") for one in families if not one.name.endswith("_created")}
    documents = Path(__file__).parents[2] / "daemon"
    texts = [(documents / name).read_text() for name in ("README.md", "HSM.md", "DAMAGED-LOG.md")]
    said = {name for text in texts for name in re.findall(r"`(sealpress_[a-z_]+)", text)}

    assert len(shown) > 30
    assert said == shown


def test_metrics_are_written_as_the_library_writes_them() -> None:
    """What we write ourselves reads the same: names, labels, buckets, sums, odd characters; and Prometheus takes it."""
    clock = VirtualClock()
    telemetry, registry = Telemetry(clock, io.StringIO()), CollectorRegistry()
    requests = Counter("sealpress_requests", "Requests that were signed", ["line"], registry=registry)
    ready = Gauge("sealpress_key_ready", "1 while the key can sign", ["line"], registry=registry)
    token = Histogram("sealpress_token_seconds", "Token operation", ["line"], buckets=SECONDS, registry=registry)
    batch = Histogram("sealpress_batch_requests", "Requests in a commit", ["log"], buckets=COUNTS, registry=registry)
    telemetry.signer(True, dict.fromkeys(LINES, True))
    for line in LINES:
        ready.labels(line).set(True)
        for waited_s in WAITED_S:
            asked(telemetry, clock, line, waited_s)
            requests.labels(line).inc()
            token.labels(line).observe(waited_s)
    for count in (1, 300_000):
        telemetry.committed("ci", count, count, 1, count)
        batch.labels("ci").observe(count)

    told = telemetry.exposition().decode()
    wanted = [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]
    assert set(wanted) <= set(told.splitlines())
    families = {family.name: family for family in text_string_to_metric_families(told)}
    assert {sample.labels["line"] for sample in families["sealpress_requests"].samples} == set(LINES)


def test_lines_that_nobody_used_are_not_written_anew() -> None:
    """Metrics are asked for every few seconds on the loop: thousands of lines must not cost it all their buckets."""
    clock = VirtualClock()
    telemetry = Telemetry(clock, io.StringIO())
    for number in range(100):
        asked(telemetry, clock, f"a/b/c/d/{number}", 0.001)
    before = telemetry.exposition().decode()
    kept = dict(telemetry._seconds._texts)
    asked(telemetry, clock, "a/b/c/d/7", 0.001)
    after = telemetry.exposition().decode()

    anew = [line for line, text in telemetry._seconds._texts.items() if text is not kept[line]]
    assert anew == ["a/b/c/d/7"]
    assert all('line="a/b/c/d/7"' in line for line in set(after.splitlines()) - set(before.splitlines()))
