"""Where the custodian's report goes: what was done to a token is told once."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sealpress.cli import custodian


def test_half_a_report_takes_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends in the middle leaves the file that stood there, and nothing beside it."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    output = tmp_path / "report.json"
    output.write_text("before")
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(custodian.os, "fsync", full)
        custodian._write(output, b"x" * 200)

    assert ("before", [output]) == (output.read_text(), list(tmp_path.iterdir()))


def test_a_report_goes_where_a_link_leads(tmp_path: Path) -> None:
    """The link stays one."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "report.json")
    custodian._hand_out({"report": "x"}, link, as_json=False)

    assert (True, '{\n  "report": "x"\n}\n') == (link.is_symlink(), (tmp_path / "report.json").read_text())
