"""Fixtures of the benchmarks, the table at the end of a run, and bench/report.json.

SEALPRESS_BENCH=tiny shrinks the work so that the suite can run it; its numbers mean nothing and are not reported.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import report
from bench.harness import Ratios
from bench.run import Run

__all__ = ["Ratios"]

_run = pytest.StashKey[Run]()


def pytest_configure(config: pytest.Config) -> None:
    """One collection of rows for the whole run."""
    config.stash[_run] = Run()
    # A benchmark may leave rows that no race made; the harness enters them itself.
    config.addinivalue_line("filterwarnings", "ignore:Benchmark fixture was not used at all")


@pytest.fixture(scope="session")
def tiny() -> bool:
    """True when the run only asks whether the benchmarks still work."""
    return _is_tiny()


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """As pytest's, but gone with its benchmark: together they leave gigabytes."""
    with tempfile.TemporaryDirectory(prefix="sp-bench-", dir="/tmp") as place:
        yield Path(place)


@pytest.fixture
def ratio(request: pytest.FixtureRequest, benchmark: Any, tiny: bool) -> Iterator[Ratios]:
    """Where a benchmark leaves its rows; the report has them as soon as it is over, unless the run is tiny."""
    entries = request.config.pluginmanager.getplugin("pytest-benchmark").benchmarks
    run = request.config.stash[_run]
    made = Ratios(benchmark, run, entries, request.path.name, tiny=tiny)
    yield made
    made.close()
    if not tiny:
        report.write(run)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """A benchmark fails when all of its rows are recorded, those that missed their target with them."""
    said = yield
    if isinstance(ratio := pyfuncitem.funcargs.get("ratio"), Ratios) and (missed := ratio.missed()):
        pytest.fail(missed, pytrace=False)
    return said


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A benchmark that breaks off, be it before its first row, is named in the report: nothing else would show it."""
    made = yield
    if made.failed and call.excinfo and not isinstance(call.excinfo.value, pytest.fail.Exception):
        run = item.config.stash[_run]
        run.broken.append(f"{item.path.name}::{item.name}")
        if not _is_tiny():
            report.write(run)
    return made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """How long each file took, and the table."""
    run = config.stash[_run]
    if not run.rows and not run.broken:
        return
    terminalreporter.section("seconds")
    for name, seconds in _seconds(terminalreporter).items():
        terminalreporter.write_line(f"{seconds:7.1f}  {name}")
    terminalreporter.section(f"benchmarks of {run.commit} on {run.machine}")
    for line in report.table(run):
        terminalreporter.write_line(line)
    terminalreporter.write_line("tiny mode: the numbers mean nothing" if _is_tiny() else "written: bench/report.json")


def _seconds(terminalreporter: pytest.TerminalReporter) -> dict[str, float]:
    """By file, from the first fixture to the last."""
    taken: dict[str, float] = {}
    for reports in terminalreporter.stats.values():
        for one in reports:
            if isinstance(one, pytest.TestReport):
                name = one.location[0]
                taken[name] = taken.get(name, 0.0) + one.duration
    return taken


def _is_tiny() -> bool:
    return os.environ.get("SEALPRESS_BENCH") == "tiny"
