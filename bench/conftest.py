"""The harness of all benchmarks: races two sides in turns, collects rows, prints one table, writes the report.

SEALPRESS_BENCH=tiny shrinks the work so that the suite can run it; its numbers mean nothing and are not reported.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

REPORT = Path(__file__).parent / "report.json"
TURNS_MIN = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a number, the baseline's number from the same run, and what they say together."""

    name: str
    value: float
    unit: str
    baseline: str
    baseline_value: float
    ratio: float


class Ratios:
    """Collects the rows of a run."""

    def __init__(self, tiny: bool) -> None:
        """In tiny mode two turns are enough."""
        self.rows: list[Row] = []
        self._turns = 2 if tiny else TURNS_MIN

    def row(self, name: str, value: float, unit: str, baseline: str, baseline_value: float) -> Row:
        """Records two numbers that were measured in one run."""
        made = Row(name, value, unit, baseline, baseline_value, value / baseline_value if baseline_value else 0.0)
        self.rows.append(made)
        return made

    def race(
        self,
        name: str,
        unit: str,
        *,
        amount: float,
        product: Callable[[], object],
        baseline: Callable[[], object],
        baseline_name: str,
        turns: int | None = None,
        before: Callable[[], object] | None = None,
    ) -> Row:
        """Runs both in turns and records `amount` per second of the median turn. `before` precedes each, unmeasured."""
        ours: list[float] = []
        theirs: list[float] = []
        for turn in range(1 + (turns or self._turns)):
            for side, times in ((product, ours), (baseline, theirs)):
                if before is not None:
                    before()
                started = time.perf_counter()
                side()
                # The first turn warms caches and page tables on both sides; it does not count.
                if turn > 0:
                    times.append(time.perf_counter() - started)
        return self.row(name, amount / statistics.median(ours), unit, baseline_name, amount / statistics.median(theirs))


_collected = pytest.StashKey[Ratios]()


def pytest_configure(config: pytest.Config) -> None:
    """One collection of rows for the whole run."""
    config.stash[_collected] = Ratios(os.environ.get("SEALPRESS_BENCH") == "tiny")


@pytest.fixture(scope="session")
def tiny() -> bool:
    """True when the run only asks whether the benchmarks still work."""
    return os.environ.get("SEALPRESS_BENCH") == "tiny"


@pytest.fixture(scope="session")
def ratio(request: pytest.FixtureRequest) -> Ratios:
    """Where benchmarks leave their rows."""
    return request.config.stash[_collected]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table; and the report, unless the run was tiny."""
    rows = config.stash[_collected].rows
    if not rows:
        return
    terminalreporter.section(f"benchmarks on {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    width = max(len(row.name) for row in rows)
    for row in rows:
        numbers = f"{row.value:>12,.2f} {row.unit:<8} {row.ratio:>8.2f} x"
        terminalreporter.write_line(f"{row.name:<{width}} {numbers}  {row.baseline} ({row.baseline_value:,.2f})")
    if os.environ.get("SEALPRESS_BENCH") == "tiny":
        terminalreporter.write_line("tiny mode: the numbers mean nothing")
        return
    REPORT.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    terminalreporter.write_line(f"written to {REPORT}")
