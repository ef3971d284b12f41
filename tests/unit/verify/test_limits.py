"""Is a limits file read whole and in one sense, or refused?"""

from __future__ import annotations

from pathlib import Path

import pytest

from sealpress.errors import ConfigError
from sealpress.verify.limits import LIMITS_BYTES_MAX, Limits, Void, load_limits


def limits(directory: Path, text: str) -> Path:
    """A file."""
    path = directory / "limits.toml"
    path.write_text(text)
    return path


def test_what_it_says(tmp_path: Path) -> None:
    """An end with its offset or in seconds, a floor, and ranges with both ends."""
    text = "not_after = 2027-01-01T01:00:00+01:00\nmin_security_version = 7\n[[void]]\nfirst = 3\nlast = 3\n"
    found = load_limits(limits(tmp_path, text))

    assert (found.not_after_s, found.min_security_version) == (1_798_761_600, 7)
    assert [(void.first, void.last) for void in found.void] == [(3, 3)]
    assert load_limits(limits(tmp_path, "not_after = 5")).not_after_s == 5
    assert load_limits(limits(tmp_path, "")) == Limits(schema=1, not_after=None, min_security_version=0, void=())
    assert load_limits(limits(tmp_path, "[[void]]\nfirst = 0\nlast = 0")).void == (Void(0, 0),)


@pytest.mark.parametrize(
    "text",
    [
        "min_security_version = 7" + "\n" * LIMITS_BYTES_MAX,
        "not_after = 2027-01-01T00:00:00",
        "[[void]]\nfirst = 2\nlast = 1",
        "[[void]]\nfirst = 2",
        "[[void]]\nfirst = -1\nlast = 1",
        "min_security_version = -1",
        "floor = 7",
        "schema = 2",
    ],
    ids=["too long", "of no time zone", "backwards", "half", "below zero", "no floor", "unknown", "later"],
)
def test_what_could_mean_less_than_it_says(tmp_path: Path, text: str) -> None:
    """A file that is longer than we read, an hour of each reader's own, a range that holds nothing: refused."""
    with pytest.raises(ConfigError):
        load_limits(limits(tmp_path, text))
