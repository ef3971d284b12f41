"""What a run of the benchmarks leaves behind: a table, report.json, and on request the README's table and the plot.

    python -m bench.report      after `make bench`: writes both

Guarantees: report.json is a list of rows {name, value, unit, baseline, baseline_value, ratio}; the README is changed
between its markers only. Does not: measure.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.harness import Point, Row

HERE = Path(__file__).parent
REPORT, CURVES, README, PLOT = (HERE / name for name in ("report.json", "curves.json", "README.md", "plot.svg"))
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


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
    """The commit that was measured, `+` behind it if files were changed since."""
    command = ("git", "-C", str(HERE), "describe", "--always", "--abbrev=10", "--exclude=*", "--dirty=+")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def table(rows: Sequence[Row]) -> Iterable[str]:
    """Aligned lines for a terminal."""
    width = max(len(row.name) for row in rows)
    for row in rows:
        numbers = f"{row.value:>14,.2f} {row.unit:<8} {row.ratio:>8.2f} x"
        yield f"{row.name:<{width}} {numbers}  {row.baseline} ({row.baseline_value:,.2f})"


def write(rows: Sequence[Row], points: Sequence[Point]) -> list[Path]:
    """report.json and, if there are any, the curves' points beside it; what was written."""
    REPORT.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    if not points:
        return [REPORT]
    CURVES.write_text(json.dumps([asdict(point) for point in points], indent=2) + "\n")
    return [REPORT, CURVES]


def write_readme(rows: Sequence[Row]) -> None:
    """The table of the README; ValueError if its markers are gone."""
    head, _, rest = README.read_text().partition(BEGIN)
    _, marker, tail = rest.partition(END)
    if not marker:
        raise ValueError(f"{README} has no markers {BEGIN} and {END}")
    lines = [
        f"Commit `{commit()}` on {machine()}.",
        "",
        "| benchmark | value | baseline | ratio |",
        "|---|--:|--:|--:|",
        *(
            f"| {row.name} | {_number(row.value)} {row.unit} | {_number(row.baseline_value)} ({row.baseline}) "
            f"| {row.ratio:.2f} |"
            for row in rows
        ),
    ]
    README.write_text("\n".join([head + BEGIN, *lines, END]) + tail)


def main() -> int:
    """README and plot from the files of the last run; 1 if there was none."""
    if not REPORT.exists():
        print("no report: run make bench", file=sys.stderr)
        return 1
    write_readme([Row(**row) for row in json.loads(REPORT.read_text())])
    print(f"written: {README}")
    if CURVES.exists():
        from bench.plot import draw  # matplotlib takes a second to load

        draw([Point(**point) for point in json.loads(CURVES.read_text())], PLOT)
        print(f"written: {PLOT}")
    return 0


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


if __name__ == "__main__":
    sys.exit(main())
