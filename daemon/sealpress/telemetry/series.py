"""Numbers that one thread counts and Prometheus reads: counters, gauges and histograms by one label, without a lock."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Literal

from prometheus_client.utils import floatToGoString

SECONDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1, 2, 4, 8, 16)
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1_024, 4_096, 16_384, 65_536, 262_144)
_shown: Callable[[float], str] = floatToGoString


class Numbers:
    """A counter or gauge by one label, of one thread: to count is to add to a number, where the library's takes locks.

    `of`: the numbers by label.
    """

    def __init__(self, kind: Literal["counter", "gauge"], name: str, text: str, label: str) -> None:
        self._name = f"{name}_total" if kind == "counter" else name
        self._head, self._label = _head(self._name, kind, text), label
        self.of: defaultdict[str, float] = defaultdict(float)

    def written(self) -> Iterator[str]:
        """As Prometheus reads it."""
        yield self._head
        for label, number in self.of.items():
            yield f'{self._name}{{{self._label}="{_escaped(label)}"}} {_shown(number)}\n'


class Histogram:
    """A histogram by one label, of one thread: to observe is to add to two numbers, where the library's takes locks.

    What is written of a label is kept until something is observed: of two thousand lines few were used since the last
    time, and all their buckets would keep the loop for a third of a second.
    """

    def __init__(self, name: str, text: str, label: str, bounds: Sequence[float]) -> None:
        self._name, self._label, self._bounds = name, label, tuple(bounds)
        self._head = _head(name, "histogram", text)
        self._counts: dict[str, list[int]] = {}  # by label: how many fell between two bounds, and beyond the last
        self._sums: dict[str, float] = {}
        self._texts: dict[str, str] = {}
        self._names = [*map(_shown, self._bounds), "+Inf"]

    def observe(self, label: str, value: float) -> None:
        """Take in one value of a label."""
        counts = self._counts.get(label)
        if counts is None:
            counts = self._counts[label] = [0] * (len(self._bounds) + 1)
            self._sums[label] = 0.0
        counts[bisect_left(self._bounds, value)] += 1
        self._sums[label] += value
        self._texts.pop(label, None)

    def written(self) -> Iterator[str]:
        """As Prometheus reads it."""
        yield self._head
        for label in self._counts:
            text = self._texts.get(label)
            if text is None:
                text = self._texts[label] = self._write(label)
            yield text

    def _write(self, label: str) -> str:
        by, totals = f'{self._label}="{_escaped(label)}"', list(accumulate(self._counts[label]))
        buckets = [
            f'{self._name}_bucket{{le="{name}",{by}}} {total}.0\n'
            for name, total in zip(self._names, totals, strict=True)
        ]
        count, sum_ = f"{self._name}_count{{{by}}} {totals[-1]}.0\n", _shown(self._sums[label])
        return "".join([*buckets, count, f"{self._name}_sum{{{by}}} {sum_}\n"])


def _head(name: str, kind: str, text: str) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
