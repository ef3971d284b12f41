"""Does a command end with its own exit code, where what it says cannot be written?"""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from sealpress.cli.output import fail, reporting, say
from sealpress.errors import Damaged


class Lost(io.StringIO):
    """A stream of which nobody hears."""

    def __init__(self, code: int) -> None:
        """Each flush ends with this error."""
        super().__init__()
        self._code = code

    def flush(self) -> None:
        """As of a full disk, or of a reader who left."""
        raise OSError(self._code, os.strerror(self._code))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EPIPE])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_damaged_log_is_exit_3_whoever_hears_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int, *, as_json: bool
) -> None:
    """A full disk, or `| head`, turns no code into another, and the reason still stands on stderr."""
    monkeypatch.setattr(sys, "stdout", Lost(code))
    with pytest.raises(typer.Exit) as caught, reporting(as_json=as_json):
        say("some words")
        fail(Damaged("a frame is gone", reason="FRAME"), as_json=as_json)

    assert (3, "sealpress: FRAME: a frame is gone") == (
        caught.value.exit_code,
        capsys.readouterr().err.splitlines()[0],
    )


@pytest.mark.parametrize("arguments", [("policy", "validate", "missing", "--json"), ("sign", "--json", "--tpyo")])
def test_a_lost_stderr_costs_neither_code_nor_document(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Who asked for JSON has one document, and a service manager the code by which it decides."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sealpress", *arguments],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=full, text=True, check=False,
        )  # fmt: skip

    assert (2, {"error"}) == (done.returncode, json.loads(done.stdout).keys())


def test_a_start_whose_words_are_lost_keeps_its_code(tmp_path: Path) -> None:
    """`RestartPreventExitStatus=3 4` holds also when the journal of the machine is away."""
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "sealpress", "serve", "--config", str(tmp_path / "missing")]
        done = subprocess.run(command, stderr=full, check=False)

    assert done.returncode == 4
