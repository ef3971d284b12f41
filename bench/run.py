"""A run of the benchmarks as a value: its rows and what they promise, the points of its curves, and where it was made.

Guarantees: a row says by itself whether it kept its target. Does not: measure, or write anything down.
"""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a row promises at full size: bounds of its ratio or of its value, in the row's unit."""

    ratio_min: float | None = None
    ratio_max: float | None = None
    value_min: float | None = None
    value_max: float | None = None

    def holds(self, value: float, ratio: float) -> bool:
        """Whether a number keeps it."""
        bounds = ((self.ratio_min, ratio, self.ratio_max), (self.value_min, value, self.value_max))
        return all(
            (least is None or number >= least) and (most is None or number <= most) for least, number, most in bounds
        )

    def text(self, unit: str) -> str:
        """For the table."""
        bounds = ((self.ratio_min, self.ratio_max, "x"), (self.value_min, self.value_max, unit))
        said = [
            f"{sign} {bound:,.12g} {of}".strip()
            for least, most, of in bounds
            for sign, bound in (("≥", least), ("≤", most))
            if bound is not None
        ]
        return ", ".join(said)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a number, the baseline's number from the same run, and what they say together."""

    name: str
    value: float
    unit: str
    baseline: str
    baseline_value: float
    ratio: float
    file: str = ""  # the benchmark's
    target: str = ""  # empty: a figure that promises nothing
    missed: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement of a curve: what a load generator saw at `x` clients, items or milliseconds."""

    curve: str
    x: float
    per_s: float
    p50_ms: float
    p99_ms: float


def machine() -> str:
    """Processor, cores, memory, kernel and Python, in one line."""
    models = [line.partition(":")[2] for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = next((line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "0")
    model = models[0].strip() if models else platform.machine()
    cores = len(os.sched_getaffinity(0))
    return (
        f"{model}, {cores} cores, {int(memory) / 2**20:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def commit() -> str:
    """The commit that is measured, `+` behind it if files were changed since."""
    command = ("git", "-C", str(HERE), "describe", "--always", "--abbrev=10", "--exclude=*", "--dirty=+")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def today() -> str:
    """The day, in UTC."""
    return datetime.now(UTC).date().isoformat()


@dataclass
class Run:
    """All that a run has found so far, and where and when."""

    rows: list[Row] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    machine: str = field(default_factory=machine)
    commit: str = field(default_factory=commit)
    day: str = field(default_factory=today)
    broken: list[str] = field(default_factory=list)  # benchmarks that broke off: rows are missing, or were not checked


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
