"""What to ask for, and what came of it: both cross a pipe to the load generator's processes as JSON.

Guarantees: strict decoding and hard limits, whoever wrote the plan. Does not: connect.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bench.load.histogram import Histogram

PROCESSES_MAX = 16
Seconds = Annotated[float, Meta(ge=0, le=3_600)]


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One load; of the whole or, once it was `shared` out, of one process."""

    client: str  # client.toml
    line: str
    address: str = ""  # host:port instead of client.toml's
    kind: Literal["unary", "stream", "batch"] = "unary"
    items: Annotated[int, Meta(ge=1, le=100_000)] = 1  # digests of one call: batch
    rate: Annotated[float, Meta(ge=0, le=1e6)] = 0.0  # calls (items of a stream) per second; 0: closed loop
    in_flight: Annotated[int, Meta(ge=1, le=65_536)] = 64  # of a closed loop; of an open one the bound
    connections: Annotated[int, Meta(ge=1, le=4_096)] = 1
    processes: Annotated[int, Meta(ge=1, le=PROCESSES_MAX)] = 1
    seconds: Seconds = 10.0
    warmup_s: Seconds = 1.0  # before it: the load is there and is not counted
    timeout_s: Annotated[float, Meta(gt=0, le=600)] = 30.0  # a call's deadline
    seed: int = 1
    remote: bool = False  # whether another machine may be asked
    empty: bool = False  # whether an answer without proof and signature is one: of an empty handler

    def shared(self, number: int) -> Plan:
        """The part of process `number`; connections and calls are dealt out as evenly as they go."""
        return msgspec.structs.replace(
            self,
            rate=self.rate / self.processes,
            in_flight=max(1, _part(self.in_flight, number, self.processes)),
            connections=max(1, _part(self.connections, number, self.processes)),
            processes=1,
            seed=self.seed * PROCESSES_MAX + number,
        )


class Part(msgspec.Struct, kw_only=True):
    """What one process saw."""

    per_second: list[int]  # answers by second
    refused: dict[str, int]  # by reason; RESOURCE_EXHAUSTED, UNAVAILABLE: those that may come back
    failed: dict[str, int]  # by reason: all others
    delays: int = 0  # refusals that say when to come back
    waited_ms: int = 0  # the sum of these delays
    cpu_s: float = 0.0
    answers: list[tuple[int, int]] = []  # histograms as pairs
    refusals: list[tuple[int, int]] = []
    late: list[tuple[int, int]] = []


class Result:
    """What all processes saw together."""

    def __init__(self, plan: Plan, parts: list[Part]) -> None:
        """Merged."""
        self.plan = plan
        self.answers, self.refusals, self.late = Histogram(), Histogram(), Histogram()
        self.per_second = [sum(counts) for counts in zip(*(part.per_second for part in parts), strict=True)]
        self.refused: dict[str, int] = {}
        self.failed: dict[str, int] = {}
        for part in parts:
            self.answers.merge(Histogram(part.answers))
            self.refusals.merge(Histogram(part.refusals))
            self.late.merge(Histogram(part.late))
            for mine, theirs in ((self.refused, part.refused), (self.failed, part.failed)):
                for reason, count in theirs.items():
                    mine[reason] = mine.get(reason, 0) + count
        self.delays = sum(part.delays for part in parts)
        self.delay_ms = sum(part.waited_ms for part in parts) / max(1, self.delays)
        self.cpu_s = sum(part.cpu_s for part in parts)

    @property
    def per_s(self) -> float:
        """Answers a second: the goodput. Of a batch one answer is `plan.items` signatures."""
        return self.answers.total / self.plan.seconds

    def summary(self) -> dict[str, object]:
        """For people and for --json."""
        return {
            "answers": self.answers.total,
            "answers_per_s": round(self.per_s, 1),
            "items_per_s": round(self.per_s * self.plan.items, 1),
            "refused": self.refused,
            "refusals_with_delay": self.delays,
            "delay_ms": round(self.delay_ms, 1),
            "failed": self.failed,
            "latency_ms": _quantiles(self.answers),
            "refusal_ms": _quantiles(self.refusals),
            "sent_late_ms": _quantiles(self.late),
            "client_cpu_s": round(self.cpu_s, 2),
            "per_second": self.per_second,
        }


def is_local(address: str) -> bool:
    """Whether host:port is this machine's loopback."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _part(total: int, number: int, of: int) -> int:
    return total * (number + 1) // of - total * number // of


def _quantiles(histogram: Histogram) -> dict[str, float]:
    shares = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0))
    return {name: round(histogram.quantile(share), 3) for name, share in shares}
