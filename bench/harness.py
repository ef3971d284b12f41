"""The harness of all benchmarks: two sides race in turns under pytest-benchmark, and rows are collected for one table.

Guarantees: product and baseline take turns in one run, so that a machine that gets slower slows both; the first turn of
each warms caches and does not count; a number is the median of the others. A row that misses its target is a row like
the others, and fails its benchmark when the last of them stands. Does not: compare with another run.
"""

from __future__ import annotations

import ctypes
import math
import statistics
import subprocess
import time
from collections.abc import Callable
from copy import copy
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_benchmark.stats import Metadata

from bench.run import Point, Row, Run, Target

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

TURNS_MIN = 5
TINY_TURNS = 2

HERE = Path(__file__).parent

R = TypeVar("R")


def compiled(source: str, place: Path) -> ctypes.CDLL:
    """A baseline of this directory that is written in C, its object file in `place`."""
    target = place / Path(source).with_suffix(".so").name
    flags = ["-std=gnu11", "-O3", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-pthread"]
    include = f"-I{HERE.parent / 'csrc'}"
    subprocess.run(["cc", *flags, include, "-o", str(target), str(HERE / source), "-ldl"], check=True)
    return ctypes.CDLL(str(target))


class Ratios:
    """Where one benchmark leaves its rows; pytest-benchmark keeps the times of the product's turns."""

    def __init__(
        self, benchmark: BenchmarkFixture, run: Run, entries: list[Metadata], file: str, *, tiny: bool
    ) -> None:
        """`entries` are pytest-benchmark's; in tiny mode two turns are enough, and no target counts."""
        self._benchmark = benchmark
        self._unused = copy(benchmark)
        self._run = run
        self._file = file
        self._entries = entries
        self._turns = TINY_TURNS if tiny else TURNS_MIN
        self._races = 0
        self._apart: list[Row] = []  # rows that were not raced
        self._tiny = tiny
        self._missed: list[Row] = []
        self._started = time.perf_counter()

    def row(
        self, name: str, value: float, unit: str, baseline: str, baseline_value: float, *, target: Target | None = None
    ) -> Row:
        """Records two numbers that were measured in one run, in another way than by a race."""
        row = self._row(name, value, unit, baseline, baseline_value, target)
        self._apart.append(row)
        return row

    def point(self, curve: str, x: float, per_s: float, p50_ms: float, p99_ms: float) -> Point:
        """Records a point of one of the plot's curves."""
        point = Point(curve, x, per_s, p50_ms, p99_ms)
        self._run.points.append(point)
        return point

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
        target: Target | None = None,
    ) -> Row:
        """Runs both in turns and records `amount` per second of the median turn. `before` precedes each, unmeasured."""
        theirs: list[float] = []

        def their_turn() -> None:
            if before is not None:
                before()
            started = time.perf_counter()
            baseline()
            theirs.append(time.perf_counter() - started)
            if before is not None:
                before()

        side = self._side(name)
        side.pedantic(product, setup=their_turn, rounds=turns or self._turns, warmup_rounds=1)
        if side.disabled:  # --benchmark-disable: both ran once, and nothing was measured
            return Row(name, 0.0, unit, baseline_name, 0.0, 0.0)
        ours_s, theirs_s = statistics.median(side.stats.stats.data), statistics.median(theirs[1:])
        row = self._row(name, amount / ours_s, unit, baseline_name, amount / theirs_s, target)
        side.extra_info |= asdict(row)
        self._enter(self._like(f"{side.name}: {baseline_name}", name), theirs[1:])
        return row

    def missed(self) -> str:
        """Each row of this benchmark that missed its target, on a line of its own."""
        lines = (
            f"{row.name}: {row.value:,.4g} {row.unit}, {row.ratio:.3f} x, not {row.target}" for row in self._missed
        )
        return "\n".join(lines)

    def close(self) -> None:
        """What was measured apart goes into pytest-benchmark's report: with the race, or with the test's whole time."""
        if not self._apart or self._benchmark.disabled:
            return
        if not self._races:
            self._benchmark.skipped = True  # it timed nothing itself, and would warn of that
            self._enter(self._benchmark, [time.perf_counter() - self._started])
        self._benchmark.extra_info["rows"] = [asdict(row) for row in self._apart]

    def _row(
        self, name: str, value: float, unit: str, baseline: str, baseline_value: float, target: Target | None
    ) -> Row:
        ratio = value / baseline_value if baseline_value else math.nan  # which keeps no bound
        promise = target or Target()
        missed = not self._tiny and not promise.holds(value, ratio)
        shown = 0.0 if math.isnan(ratio) else ratio  # JSON has no such number
        row = Row(name, value, unit, baseline, baseline_value, shown, self._file, promise.text(unit), missed)
        self._run.rows.append(row)
        if missed:
            self._missed.append(row)
        return row

    def _side(self, name: str) -> Any:
        """pytest-benchmark's fixture, which runs once; for another race of the same test one like it."""
        self._races += 1
        if self._races > 1:
            return self._like(f"{self._benchmark.name} ({self._races})", name)
        self._benchmark.group = name
        return self._benchmark

    def _like(self, name: str, group: str) -> Any:
        made: Any = copy(self._unused)
        made.name, made.group, made.extra_info = name, group, {}
        made.fullname = made.fullname.replace(self._benchmark.name, name)
        return made

    def _enter(self, side: Any, seconds: list[float]) -> None:
        entry = Metadata(side, iterations=1, options={})
        for one in seconds:
            entry.update(one)
        self._entries.append(entry)
