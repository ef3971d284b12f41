"""Every subset of this machine's processor features, so that a test runs with every kernel that could be picked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sealpress.core import digests


def cpu_masks() -> list[int]:
    """All subsets of the features found here, the empty one first."""
    bits = [1 << place for place in range(32) if digests.cpu_features() >> place & 1]
    return [sum(bit for place, bit in enumerate(bits) if choice >> place & 1) for choice in range(1 << len(bits))]


def mask_name(mask: int) -> str:
    """`sse42+shani`, or `none`."""
    names = [digests.cpu_feature_name(1 << place) for place in range(32) if mask >> place & 1]
    return "+".join(name or "?" for name in names) or "none"


@contextmanager
def only(mask: int) -> Iterator[None]:
    """Kernels use nothing but `mask` inside the block; afterwards as before."""
    before = digests.set_cpu_mask(mask)
    try:
        yield
    finally:
        digests.set_cpu_mask(before)
