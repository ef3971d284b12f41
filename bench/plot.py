"""Draws what the load generator saw: how much, and how long the slowest of a hundred waited.

One column per question (clients, batch size, token latency), throughput above p99; a line per way to ask. SVG with text
as text, readable on white and on black. Does not: smooth, or draw what was not measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from bench.run import Point

COLUMNS = (
    ("clients", "under way; of Sign, one per client"),
    ("batch", "digests per batch"),
    ("token", "token latency, ms"),
)
INK, FAINT = "#57606a", "#d0d7de"
COLOURS = ("#0969da", "#cf5b00", "#1a7f37", "#8250df")
MARKERS = "osD^"


def draw(points: Sequence[Point], path: Path) -> None:
    """An SVG of the points; `curve` is "<column>: <name of the line>". Columns without points are left out."""
    columns = [column for column in COLUMNS if any(point.curve.startswith(column[0] + ":") for point in points)]
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "sealpress", "font.family": "sans-serif"})
    figure = Figure(figsize=(4.2 * len(columns), 6.2), layout="constrained")
    axes = figure.subplots(2, len(columns), sharex="col", squeeze=False)
    for at, (column, label) in enumerate(columns):
        mine = [point for point in points if point.curve.startswith(column + ":")]
        unit = "signatures/s" if column == "batch" else "answers/s"
        _draw(axes[0][at], mine, [point.per_s for point in mine], unit)
        _draw(axes[1][at], mine, [point.p99_ms for point in mine], "p99, ms")
        axes[1][at].set_xlabel(label, color=INK)
        axes[0][at].legend(frameon=False, labelcolor=INK, fontsize=9, loc="best")
    figure.savefig(path, metadata={"Date": None}, transparent=True)
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


def _draw(axis: Any, points: Sequence[Point], values: Sequence[float], label: str) -> None:
    curves = list(dict.fromkeys(point.curve for point in points))
    for position, curve in enumerate(curves):
        pairs = sorted((point.x, value) for point, value in zip(points, values, strict=True) if point.curve == curve)
        axis.plot(
            *zip(*pairs, strict=True),
            color=COLOURS[position % len(COLOURS)],
            marker=MARKERS[position % len(MARKERS)],
            markersize=5,
            linewidth=2,
            label=curve.partition(": ")[2],
        )
    xs = sorted({point.x for point in points})
    if min(xs) > 0:
        axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(xs))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    if max(values) > 20 * min(values):
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
        axis.yaxis.set_minor_locator(NullLocator())
    else:
        axis.set_ylim(0, 1.15 * max(values))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axis.set_title(label, loc="left", color=INK, fontsize=10)
    axis.grid(axis="y", color=FAINT, linewidth=0.8, alpha=0.6)
    axis.tick_params(colors=INK, length=0, labelsize=9)
    axis.set_axisbelow(True)
    for name, spine in axis.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(FAINT)


def _short(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
