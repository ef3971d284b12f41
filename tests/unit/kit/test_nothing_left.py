"""Is anything of a test's node left when it could not be made: processes, files, or another environment?"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from kit import laboratory, node

FORMER = "SEALPRESS_TEST_FORMER"


class _Broken(Exception):
    """What goes wrong."""


def _break(*_: object) -> None:
    raise _Broken


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the kit's directories are made."""
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **_: str(_made(tmp_path / "place")))
    return tmp_path / "place"


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


class _People(SimpleNamespace):
    """Persons of a laboratory, who count how often their connections are closed."""

    def __init__(self, events: list[str]) -> None:
        super().__init__(settle=_break, close=lambda: events.append("people"))


@pytest.mark.parametrize(
    ("how", "ended"), [({"prepare": _break}, []), ({"settled": True}, ["people", "node"])], ids=["files", "people"]
)
def test_a_laboratory_that_could_not_be_made_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, place: Path, how: dict[str, object], ended: list[str]
) -> None:
    """Its processes have ended, its directory is gone, and this process has its own environment again."""
    events: list[str] = []
    running = SimpleNamespace(stop=lambda: events.append("node"))
    monkeypatch.setattr(laboratory.subprocess, "run", lambda *_, **__: None)
    monkeypatch.setattr(laboratory.laboratory, "environment", lambda _: {FORMER: "no"})
    monkeypatch.setattr(laboratory.laboratory, "Laboratory", lambda *_: running)
    monkeypatch.setattr(laboratory, "People", lambda _: _People(events))
    monkeypatch.setattr(laboratory.Lab, "_anchors", lambda _: None)

    with pytest.raises(_Broken):
        laboratory.Lab(**how)  # type: ignore[arg-type]

    assert events == ended
    assert FORMER not in os.environ
    assert not place.exists()


def test_a_node_that_could_not_be_made_leaves_nothing(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """Where no token can be made, no directory stays of each test that wanted one."""
    monkeypatch.setattr(node, "_template", _break)

    with pytest.raises(_Broken):
        node.Node()
    assert not place.exists()


def test_what_the_processes_said_is_shown_when_one_does_not_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their words go with the directory, and the error says that they stand above."""
    template = _made(tmp_path / "template")

    def start(self: node.Node, command: str) -> None:
        (self.place / "words").write_text(f"{command}: the reason\n")
        raise _Broken

    monkeypatch.setattr(node, "_template", lambda: template)
    monkeypatch.setattr(node, "softhsm_conf", lambda _: None)
    monkeypatch.setattr(node.Node, "configure", lambda *_: None)
    monkeypatch.setattr(node.Node, "start", start)

    with pytest.raises(_Broken):
        node.Node()
    assert not place.exists()
    assert "signer: the reason" in capsys.readouterr().out
