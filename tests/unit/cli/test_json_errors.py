"""Does whoever asked for JSON get it also where no command came to say anything?"""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from sealpress.cli.app import build
from sealpress.cli.output import reporting


def error_of(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    """Exit code and the one document."""
    done = CliRunner().invoke(build(str(arguments[0])), [str(argument) for argument in arguments])
    return done.exit_code, json.loads(done.stdout)["error"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("sign", "--json", "--tpyo"), "--tpyo"),
        (("sign", "--json", ""), "an empty path"),
        (("status", "--json", "--client"), "--client"),
        (("key", "show", "--json"), "'key'"),
        (("key", "tpyo", "--json"), "tpyo"),
        (("log", "show", "--json", "--from", "-1", "."), "--from"),
        (("sing", "--json"), "sing"),
    ],
)
def test_wrong_usage_is_told_as_json(arguments: tuple[str, ...], named: str) -> None:
    """An option that is none, a value that is missing: exit 2 and the document that every failure has."""
    code, error = error_of(*arguments)

    assert (2, "USAGE", True) == (code, error["reason"], bool(error["hint"]))
    assert named in error["message"]


class Output(io.StringIO):
    """Standard output that can be read when it is closed."""

    def close(self) -> None:
        """Keeps what it has."""


def test_what_the_system_refuses_is_told_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output is not what failed: it carries the reason."""
    monkeypatch.setattr(sys, "stdout", written := Output())
    with pytest.raises(typer.Exit) as caught, reporting(as_json=True):
        raise OSError(errno.EIO, os.strerror(errno.EIO), "/a/disk")

    error = json.loads(written.getvalue())["error"]
    assert (4, "SYSTEM") == (caught.value.exit_code, error["reason"])
    assert "/a/disk" in error["message"]
