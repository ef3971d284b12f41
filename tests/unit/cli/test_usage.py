"""Is a word that would be ignored, or mean something else than it seems to, wrong usage instead?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sealpress.cli.app import build


def refused(*arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, reason and message."""
    done = CliRunner().invoke(build(str(arguments[0])), [str(argument) for argument in (*arguments, "--json")])
    error = json.loads(done.stdout)["error"]
    return done.exit_code, error["reason"], error["message"]


@pytest.mark.parametrize(
    "arguments",
    [("--watch", "CHANGE"), ("--watch", "--submit", "a.sig"), ("CHANGE", "--submit", "a.sig"),
     ("--statement-only", "a"), ("--artifact", "a"), ("CHANGE", "--key", "k")],
)  # fmt: skip
def test_what_approve_would_ignore_is_refused(arguments: tuple[str, ...]) -> None:
    """Who watches one is not told of this one alone; who has JSON was shown nothing to say yes to; nobody is asked."""
    assert refused("approve", *arguments)[:2] == (2, "USAGE")


@pytest.mark.parametrize(
    "arguments",
    [
        ("sign", "a", "--output"),
        ("verify", "a", "--trust", "t", "--output"),
        ("log", "archive", "a", "--keep", "1", "--to"),
        ("log", "restore", "a", "--to"),
        ("log", "backup", "a"),
        ("dev", "--dir"),
    ],
)
def test_an_empty_directory_is_not_the_one_where_we_are(arguments: tuple[str, ...]) -> None:
    """`--output "$OUT"` in a script that forgot to set it writes nothing anywhere."""
    code, reason, message = refused(*arguments, "")

    assert (2, "USAGE") == (code, reason)
    assert "an empty path" in message
