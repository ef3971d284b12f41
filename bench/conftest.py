"""Fixtures of the benchmarks, the table at the end of a run, and bench/report.json.

SEALPRESS_BENCH=tiny shrinks the work so that the suite can run it; its numbers mean nothing and are not reported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from bench import report
from bench.harness import Collected, Ratios

__all__ = ["Ratios"]

_collected = pytest.StashKey[Collected]()


def pytest_configure(config: pytest.Config) -> None:
    """One collection of rows for the whole run."""
    config.stash[_collected] = Collected()
    # A benchmark may leave rows that no race made; the harness enters them itself.
    config.addinivalue_line("filterwarnings", "ignore:Benchmark fixture was not used at all")


@pytest.fixture(scope="session")
def tiny() -> bool:
    """True when the run only asks whether the benchmarks still work."""
    return _is_tiny()


@pytest.fixture
def ratio(request: pytest.FixtureRequest, benchmark: Any, tiny: bool) -> Iterator[Ratios]:
    """Where a benchmark leaves its rows."""
    entries = request.config.pluginmanager.getplugin("pytest-benchmark").benchmarks
    made = Ratios(benchmark, request.config.stash[_collected], entries, tiny)
    yield made
    made.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table; and the report, unless the run was tiny."""
    collected = config.stash[_collected]
    if not collected.rows:
        return
    terminalreporter.section(f"benchmarks on {report.machine()}")
    for line in report.table(collected.rows):
        terminalreporter.write_line(line)
    if _is_tiny():
        terminalreporter.write_line("tiny mode: the numbers mean nothing")
        return
    for path in report.write(collected.rows, collected.points):
        terminalreporter.write_line(f"written: {path}")


def _is_tiny() -> bool:
    return os.environ.get("SEALPRESS_BENCH") == "tiny"
