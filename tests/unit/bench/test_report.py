"""What does a run of the benchmarks leave behind, and what becomes of a row that misses its target?"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import conftest, report
from bench.harness import Ratios
from bench.run import Point, Row, Run, Target

KEPT = Row("kept", 1_234_567.0, "item/s", "half of it", 600_000.0, 2.06, "bench_a.py", "≥ 0.9 x", missed=False)
MISSED = Row("missed", 0.5, "ms", "a bound", 1.0, 0.5, "bench_b.py", "≥ 0.9 x", missed=True)
POINT = Point("batch: SignBatch", 1, 900.0, 3.0, 9.0)
RUN = Run([KEPT, MISSED], [POINT], "a machine", "0123abcdef", "2026-01-02", ["bench_c.py::test_broken"])
unused = pytest.mark.filterwarnings("ignore:Benchmark fixture was not used at all")


def test_the_report_has_six_fields_a_row(tmp_path: Path) -> None:
    """report.json is what its readers expect, and run.json beside it gives the whole run back."""
    report.write(RUN, tmp_path)

    rows = json.loads((tmp_path / "report.json").read_text())
    assert [set(row) for row in rows] == [{"name", "value", "unit", "baseline", "baseline_value", "ratio"}] * 2
    assert report.read(tmp_path) == RUN


def test_the_readme_changes_between_its_markers_only(tmp_path: Path) -> None:
    """Written twice, the text around is as it was, and the table says machine, day, commit and what was missed."""
    around = f"before\n{report.BEGIN}\n{{}}\n{report.END}\nafter\n"
    (tmp_path / "README.md").write_text(around.format("old"))
    report.write(RUN, tmp_path)

    assert report.main(tmp_path) == report.main(tmp_path) == 0

    text = (tmp_path / "README.md").read_text()
    assert text.startswith(f"before\n{report.BEGIN}\n")
    assert text.endswith(f"\n{report.END}\nafter\n")
    assert "Commit `0123abcdef`, 2026-01-02, a machine." in text
    assert "| missed | 0.5 ms | 1 (a bound) | 0.50 | **missed:** ≥ 0.9 x |" in text
    assert "| kept | 1,234,567 item/s | 600,000 (half of it) | 2.06 | ≥ 0.9 x |" in text
    assert "\nBroke off, so that its rows are missing or unchecked: `bench_c.py::test_broken`.\n" in text
    assert "](plot.svg)" in text
    assert (tmp_path / "plot.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("error", "broken"), [(AssertionError(), ["bench_c.py::test_it"]), (pytest.fail.Exception("slow: missed"), [])]
)
def test_a_benchmark_that_breaks_off_stands_in_the_report(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, broken: list[str]
) -> None:
    """Its rows are not there, so nothing else would say that a promise was not looked at; what was missed has a row."""
    run = Run()
    written: list[Run] = []
    monkeypatch.setattr(report, "write", written.append)
    item = SimpleNamespace(name="test_it", path=Path("bench_c.py"), config=SimpleNamespace(stash={conftest._run: run}))
    call = SimpleNamespace(excinfo=SimpleNamespace(value=error))
    hook = conftest.pytest_runtest_makereport(item, call)  # type: ignore[arg-type]
    next(hook)
    with pytest.raises(StopIteration):
        hook.send(SimpleNamespace(failed=True))  # type: ignore[arg-type]

    assert broken == run.broken
    assert len(broken) == len(written)


def test_without_a_run_there_is_nothing_to_report(tmp_path: Path) -> None:
    """The command says what to do instead of writing an empty table."""
    assert report.main(tmp_path) == 1


@unused
def test_a_missed_target_is_told_when_all_rows_stand(benchmark: Any) -> None:
    """A row that misses its target is recorded and printed like the next one, and named when the benchmark is over."""
    run = Run()
    ratios = Ratios(benchmark, run, [], "bench_a.py", tiny=False)
    ratios.row("slow", 1.0, "call/s", "empty handler", 2.0, target=Target(ratio_min=0.85))
    ratios.row("quick", 2.0, "call/s", "empty handler", 2.0, target=Target(ratio_min=0.85, value_max=3))
    ratios.close()

    assert [row.missed for row in run.rows] == [True, False]
    assert [row.target for row in run.rows] == ["≥ 0.85 x", "≥ 0.85 x, ≤ 3 call/s"]
    assert list(report.table(run))[-1] == "2 rows, 2 with a target, 1 missed: slow"
    assert ratios.missed() == "slow: 1 call/s, 0.500 x, not ≥ 0.85 x"


@unused
@pytest.mark.parametrize("promise", [Target(ratio_max=1), Target(ratio_min=0)])
def test_nothing_is_kept_beside_a_baseline_of_nothing(benchmark: Any, promise: Target) -> None:
    """What was not measured has no ratio, and a row without one has not kept a promise of it."""
    ratios = Ratios(benchmark, Run(), [], "bench_a.py", tiny=False)
    row = ratios.row("CPU of a call", 3.0, "us", "1 client", 0.0, target=promise)
    ratios.close()

    assert row.missed
    assert row.ratio == 0.0


@unused
def test_no_target_counts_in_tiny_mode(benchmark: Any) -> None:
    """The smallest form asks whether a benchmark runs, not how fast."""
    ratios = Ratios(benchmark, Run(), [], "bench_a.py", tiny=True)

    assert not ratios.row("slow", 1.0, "call/s", "empty handler", 2.0, target=Target(ratio_min=0.85)).missed
    assert not ratios.missed()
    ratios.close()
