"""Is a file that a command was to write named, where it cannot be written, in one way by all of them?"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sealpress.cli import answers
from sealpress.cli.app import build
from sealpress.errors import CannotStart, ConfigError

DRAFT = """
deployment = "d"
profile = "lab"
log = "a.example/main"
root_threshold = 1
[[officers]]
person = "person:a"
keys = ["key.pub"]
"""
KEY = (
    "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIAABAgMEBQYHCAkK"
    "CwwNDg8QERITFBUWFxgZGhscHR4fAAAADXNzaDpzZWFscHJlc3M="
)


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    """Of anchors."""
    (tmp_path / "key.pub").write_text(KEY)
    (tmp_path / "draft.toml").write_text(DRAFT)
    return tmp_path / "draft.toml"


def _made(draft: Path, output: str) -> tuple[int, str]:
    done = CliRunner().invoke(build("anchors"), ["anchors", "make", str(draft), "--output", output])
    return done.exit_code, done.stderr


def test_a_place_that_cannot_be_is_wrong_usage(draft: Path) -> None:
    """A folder that is not there, or a folder itself: exit 2, as `sign --output` has it."""
    for place in (draft.parent / "missing" / "x", draft.parent):
        code, words = _made(draft, str(place))

        assert (2, True) == (code, words.startswith(f"sealpress: CONFIG: {place}: ")), words


def test_a_full_disk_is_told_of_the_file(draft: Path) -> None:
    """Not of the output: standard output has room."""
    assert (4, True) == (
        (told := _made(draft, "/dev/full"))[0],
        told[1].startswith("sealpress: SYSTEM: /dev/full: No space left on device"),
    ), told[1]


def test_half_a_document_takes_no_place(draft: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stood there still does, and nothing stands beside it."""
    (output := draft.parent / "anchors.json").write_text("before")
    before = sorted(draft.parent.iterdir())

    def full(descriptor: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        code, _ = _made(draft, str(output))

    assert (4, "before", before) == (code, output.read_text(), sorted(draft.parent.iterdir()))


def test_a_full_disk_is_no_wrong_usage_of_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads the exit code knows whether to call otherwise, or to try again."""

    def full(descriptor: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(CannotStart, match=r"a\.tlog-proof: No space left") as caught:
        answers.write_whole(tmp_path / "a.tlog-proof", b"proof")
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="Is a directory"):
        answers.write_whole(tmp_path, b"proof")

    assert caught.value.reason == "SYSTEM"


def test_a_document_goes_where_a_link_leads(tmp_path: Path) -> None:
    """The link stays one, and a pipe is written into."""
    (link := tmp_path / "link").symlink_to(tmp_path / "target")
    answers.write_named(link, b"x")
    answers.write_named(Path("/dev/null"), b"x")

    assert (True, b"x", False) == (link.is_symlink(), (tmp_path / "target").read_bytes(), Path("/dev/null").is_file())
