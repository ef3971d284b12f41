"""Are answers written so that nobody stumbles over another's, and each where there is room for it?"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sealpress.cli import answers, files
from sealpress.errors import ConfigError


def test_two_writers_with_one_number_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of two containers may have the same number: neither writes into the other's half of an answer."""
    path, replace = tmp_path / "a.tlog-proof", os.replace

    def meanwhile(source: str, target: Path) -> None:
        monkeypatch.setattr(os, "replace", replace)
        answers.write_whole(path, b"other")
        replace(source, target)
        assert path.read_bytes() == b"mine"

    monkeypatch.setattr(os, "replace", meanwhile)
    answers.write_whole(path, b"mine")

    assert list(tmp_path.iterdir()) == [path]


def test_an_answer_that_cannot_be_written_costs_no_other(tmp_path: Path) -> None:
    """What is in the way of one is named; all the others are there, for they are signed and come only once."""
    paths = [tmp_path / f"{name}.tlog-proof" for name in "abc"]
    paths[1].mkdir()
    with pytest.raises(ConfigError, match=r"b\.tlog-proof"):
        answers.write_all(paths, [b"1", b"2", b"3"])

    assert [path.is_file() for path in paths] == [True, False, True]
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("said", [-1, 0])
def test_a_file_system_that_knows_no_longest_name_takes_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: int
) -> None:
    """Some in user space say 0, others nothing: no reason to refuse."""
    monkeypatch.setattr(os, "pathconf", lambda *_: said)

    answers.check_room([tmp_path / "a.tlog-proof"])


def test_a_half_written_answer_is_nobody_s_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who signs the same folder at that moment finds its files, and not what we are writing."""
    (tmp_path / "a").write_bytes(b"")
    seen: list[list[Path]] = []
    monkeypatch.setattr(os, "replace", lambda *_: seen.append(files.meant([tmp_path])))
    answers.write_whole(tmp_path / "a.tlog-proof", b"proof")

    assert seen == [[tmp_path / "a"]]


def test_whatever_can_be_called_so_can_be_signed(tmp_path: Path) -> None:
    """The name of an answer may be as long as the file system takes."""
    path = tmp_path / ("x" * 244 + ".tlog-proof")
    answers.write_whole(path, b"proof")

    assert path.read_bytes() == b"proof"


def test_a_file_by_two_names_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer has one place, so it is signed once, in the order in which it was named first; a link is another."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Path("b").symlink_to("a")
    given = [Path("in/../a"), Path("b"), tmp_path / "a", Path("a"), tmp_path / "in" / ".." / "b"]

    assert answers.once(given) == [Path("in/../a"), Path("b")]


def test_two_in_one_place_are_refused_whatever_they_are_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list and an argument may name a file each in their own way: the second answer would replace the first."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigError) as caught:
        answers.check_apart([Path("a"), tmp_path / "a"], None)
    assert caught.value.reason == "ANSWERS_MEET"
