"""Is the report of what was done to a token handed out, whatever becomes of its file?"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
import typer

from sealpress.cli.custodian import _hand_out
from sealpress.cli.output import reporting

REPORT = {"report": {"key": "k"}}


class Output(io.StringIO):
    """Standard output that can be read when it is closed."""

    written = ""

    def close(self) -> None:
        """Keeps what it has."""
        self.written = self.getvalue()
        super().close()


def test_a_report_that_cannot_be_written_is_the_one_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing else tells of the key: it stands alone on standard output, the file and the reason on the other."""
    monkeypatch.setattr(sys, "stdout", written := Output())
    with pytest.raises(typer.Exit) as caught, reporting(as_json=True):
        _hand_out(REPORT, Path("/dev/full"), as_json=True)

    assert (4, REPORT) == (caught.value.exit_code, json.loads(written.written))
    assert "/dev/full: No space left" in capsys.readouterr().err


def test_a_written_report_is_told_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who asked for JSON reads where it is, and no sentence."""
    _hand_out(REPORT, tmp_path / "report.json", as_json=True)

    assert json.loads(capsys.readouterr().out) == {"written": str(tmp_path / "report.json")}
    assert json.loads((tmp_path / "report.json").read_bytes()) == REPORT
