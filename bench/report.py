"""What a run of the benchmarks leaves behind: a table, report.json, and on request the README's table and the plot.

    python -m bench.report      after `make bench`: writes both from run.json

Guarantees: report.json is a list of rows {name, value, unit, baseline, baseline_value, ratio}; run.json beside it has
their targets, the plot's points, and which machine, day and commit it was; both are there after each benchmark, so a
run that is stopped leaves what it has. The README is changed between its markers only. Does not: measure.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from bench.run import Point, Row, Run

HERE = Path(__file__).parent
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
REPORTED = ("name", "value", "unit", "baseline", "baseline_value", "ratio")


def table(run: Run) -> Iterable[str]:
    """Aligned lines for a terminal; rows that missed and benchmarks that broke off are named again below."""
    rows = run.rows
    names, targets = (max((len(getattr(row, part)) for row in rows), default=0) for part in ("name", "target"))
    for row in rows:
        numbers = f"{_number(row.value):>11} {row.unit:<8} {row.ratio:>8.2f} x"
        target = f"{'MISSED' if row.missed else '':<6} {row.target:<{targets}}"
        yield f"{row.name:<{names}} {numbers}  {target}  {row.baseline} ({_number(row.baseline_value)})"
    missed = [row.name for row in rows if row.missed]
    yield from run.broken and [_broken(run)]
    promised = sum(1 for row in rows if row.target)
    yield f"{len(rows)} rows, {promised} with a target, {len(missed)} missed{': ' if missed else ''}{'; '.join(missed)}"


def write(run: Run, directory: Path = HERE) -> list[Path]:
    """report.json and run.json; both paths."""
    report, whole = directory / "report.json", directory / "run.json"
    report.write_text(
        json.dumps([{name: getattr(row, name) for name in REPORTED} for row in run.rows], indent=2) + "\n"
    )
    whole.write_text(json.dumps(asdict(run), indent=2) + "\n")
    return [report, whole]


def read(directory: Path = HERE) -> Run | None:
    """The run that run.json tells of, if there is one."""
    path = directory / "run.json"
    if not path.exists():
        return None
    found = json.loads(path.read_text())
    rows, points = ([make(**one) for one in found.pop(name)] for name, make in (("rows", Row), ("points", Point)))
    return Run(rows, points, **found)


def write_readme(run: Run, directory: Path = HERE) -> Path:
    """The table of the README; ValueError if its markers are gone."""
    path = directory / "README.md"
    head, _, rest = path.read_text().partition(BEGIN)
    _, marker, tail = rest.partition(END)
    if not marker:
        raise ValueError(f"{path} has no markers {BEGIN} and {END}")
    lines = [
        f"Commit `{run.commit}`, {run.day}, {run.machine}.",
        "",
        *(("![throughput and p99 by clients, batch size and token latency](plot.svg)", "") if run.points else ()),
        "| benchmark | value | baseline | ratio | target |",
        "|---|--:|--:|--:|---|",
    ]
    for file, rows in groupby(run.rows, lambda row: row.file):
        lines.append(f"| **`{file}`** | | | | |")
        lines += (
            f"| {row.name} | {_number(row.value)} {row.unit} | {_number(row.baseline_value)} ({row.baseline}) "
            f"| {row.ratio:.2f} | {'**missed:** ' if row.missed else ''}{row.target} |"
            for row in rows
        )
    if run.broken:
        lines += ["", _broken(run)]
    path.write_text("\n".join([head + BEGIN, *lines, END]) + tail)
    return path


def main(directory: Path = HERE) -> int:
    """README and plot from the last run; 1 if there was none."""
    run = read(directory)
    if run is None:
        print("no run.json: run make bench", file=sys.stderr)
        return 1
    print(f"written: {write_readme(run, directory)}")
    if run.points:
        from bench.plot import draw  # matplotlib takes a second to load

        draw(run.points, directory / "plot.svg")
        print(f"written: {directory / 'plot.svg'}")
    return 0


def _broken(run: Run) -> str:
    return f"Broke off, so that its rows are missing or unchecked: {', '.join(f'`{name}`' for name in run.broken)}."


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
