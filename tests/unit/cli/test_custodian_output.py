"""Where the custodian's report goes: what was done to a token is told once."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealpress.cli.custodian import _hand_out


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process may become longer than 100 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_half_a_report_takes_no_place(tmp_path: Path, small_files: None, capfd: pytest.CaptureFixture[str]) -> None:
    """What ends in the middle leaves the file that stood there, and nothing beside it."""
    output = tmp_path / "report.json"
    output.write_text("before")
    with pytest.raises(OSError, match="File too large"):
        _hand_out({"report": "x" * 200}, output)
    assert ("before", [output]) == (output.read_text(), list(tmp_path.iterdir()))


def test_a_report_goes_where_a_link_leads(tmp_path: Path) -> None:
    """The link stays one."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "report.json")
    _hand_out({"report": "x"}, link)
    assert (True, '{\n  "report": "x"\n}\n') == (link.is_symlink(), (tmp_path / "report.json").read_text())
