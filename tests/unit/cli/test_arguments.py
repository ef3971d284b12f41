"""Does a wrong argument or file end a command with one line, a reason and a documented exit code?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sealpress.cli.app import build

LONG = "x" * 300  # no file system has such a name


def ran(*arguments: str | Path) -> Any:
    """A command, as it ends when it is called."""
    return CliRunner().invoke(build(str(arguments[0])), [str(argument) for argument in arguments])


def refused(result: Any, reason: str, code: int) -> bool:
    """Whether it said why in one line, and nothing else went wrong."""
    words = result.stderr.splitlines()
    return result.exit_code == code and len(words) == 1 and words[0].startswith(f"sealpress: {reason}: ")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("sign", "--dry-run", ".", "--client"), 2),
        (("serve", "--config"), 4),
        (("signer", "--config"), 4),
        (("hsm", "check", "--config"), 2),
        (("anchors", "make"), 2),
    ],
)
def test_a_configuration_that_is_no_text_is_named(tmp_path: Path, command: tuple[str, ...], code: int) -> None:
    """Bytes that are no UTF-8 are a wrong file: at start exit 4, so that no supervisor tries again for ever."""
    path = tmp_path / "wrong.toml"
    path.write_bytes(b"\xff\xfe")

    assert refused(ran(*command, path), "CONFIG", code)


@pytest.mark.parametrize("command", [("sign", "--dry-run"), ("verify", "--trust", "policy")])
def test_a_path_that_cannot_be_looked_at_is_named(tmp_path: Path, command: tuple[str, ...]) -> None:
    """A name that no file can have, or a folder that is closed to us, is an argument like one that is missing."""
    assert refused(ran(*command, tmp_path / LONG), "FILE_UNREADABLE", 2)
    assert refused(ran(*command, tmp_path / "nothing"), "CONFIG", 2)
