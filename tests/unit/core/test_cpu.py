"""Are processor features found, named and masked as they should be?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kit.cpu import cpu_masks, only
from sealpress.core import digests

LINUX_FLAGS = {"sse42": {"sse4_2"}, "avx2": {"avx2"}, "shani": {"sha_ni", "sse4_1", "ssse3"}}
LINUX_FLAGS["avx512"] = {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
LINUX_FLAGS |= {name: {name} for name in ("crc32", "sha2", "sha512")}  # ARMv8


def test_features_are_those_of_the_kernel() -> None:
    """What we find is what Linux lists in /proc/cpuinfo, and nothing of another kind of processor."""
    text = Path("/proc/cpuinfo").read_text()
    flags = next(
        (set(line.split(":")[1].split()) for line in text.splitlines() if re.match("flags|Features", line)), None
    )
    if flags is None:
        pytest.skip("/proc/cpuinfo lists no flags here")
    bits = {digests.cpu_feature_name(1 << place): 1 << place for place in range(32)}

    for name, needed in LINUX_FLAGS.items():
        assert bool(digests.cpu_features() & bits[name]) == (needed <= flags), name


def test_every_feature_bit_has_a_name() -> None:
    """Every bit that can be set has a name; others have none."""
    for place in range(32):
        if digests.cpu_features() >> place & 1:
            assert digests.cpu_feature_name(1 << place)

    assert digests.cpu_feature_name(0) is None
    assert digests.cpu_feature_name(1 << 31) is None
    assert digests.cpu_feature_name(3) is None


def test_mask_is_given_back() -> None:
    """Setting the mask returns the one before, and features do not change with it."""
    features = digests.cpu_features()
    before = digests.cpu_mask()
    with only(0):
        assert digests.cpu_mask() == 0
        assert digests.cpu_features() == features
        assert digests.set_cpu_mask(5) == 0

    assert digests.cpu_mask() == before


def test_subsets_are_complete() -> None:
    """The list that other tests walk has every subset exactly once."""
    count = digests.cpu_features().bit_count()

    assert len(set(cpu_masks())) == len(cpu_masks()) == 1 << count
