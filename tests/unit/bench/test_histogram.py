"""Do latencies keep their size in few buckets, merged or not?"""

from __future__ import annotations

import random

import pytest

from bench.load.histogram import Histogram


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 0.99, 1.0])
def test_a_quantile_is_never_less_and_at_most_two_per_cent_more(share: float) -> None:
    """Against the sorted values themselves, over six orders of magnitude."""
    draw = random.Random(4)
    values = sorted(int(10 ** draw.uniform(0, 6)) for _ in range(5_000))
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    exact_ms = values[max(0, round(share * len(values)) - 1)] / 1_000

    assert exact_ms <= histogram.quantile(share) <= 1.016 * exact_ms + 0.001


def test_parts_make_a_whole() -> None:
    """What crosses a pipe as pairs and is merged counts as if one had seen all."""
    draw = random.Random(5)
    whole, parts = Histogram(), [Histogram(), Histogram()]
    for _ in range(1_000):
        value = draw.randrange(10**7)
        whole.add(value)
        draw.choice(parts).add(value)
    merged = Histogram()
    for part in parts:
        merged.merge(Histogram(part.pairs()))

    assert merged.total == 1_000
    assert merged.counts == whole.counts


@pytest.mark.parametrize("value", [-5, 0, 1, 127, 128, (1 << 36) - 1, 1 << 60])
def test_any_value_has_a_bucket(value: int) -> None:
    """Too small counts as nothing, too large as the largest."""
    histogram = Histogram()
    histogram.add(value)

    assert histogram.total == 1
    assert histogram.quantile(1.0) >= min(max(value, 0), (1 << 36) - 1) / 1_000
