"""Are names taken as they are, and is of many files only so much remembered as is told?"""

from __future__ import annotations

import hashlib
import subprocess
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealpress.cli import files, sign
from sealpress.errors import ConfigError

ODD = [
    "two words",
    "new\nline",
    "return\r",
    "back\\slash",
    "tab\x0bulator",
    "page\x0c",
    "next\x85",
    "line\u2028",
    "\udcff",
]


def test_a_list_of_sha256sum_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Whatever a file may be called: only what ends a line for sha256sum ends one for us."""
    for name in ODD:
        (tmp_path / name).write_text(repr(name))
    listed = subprocess.run(["sha256sum", "--", *ODD], cwd=tmp_path, check=True, capture_output=True).stdout
    (tmp_path / "SUMS").write_bytes(listed)
    found = files.parse_digests_file(tmp_path / "SUMS")

    assert [(str(one.path), one.digest) for one in found] == [
        (name, hashlib.sha256(repr(name).encode()).digest()) for name in ODD
    ]


def test_a_link_that_leads_nowhere_is_no_file(tmp_path: Path) -> None:
    """Missing target, or a circle, as an archive can bring one: the files beside it are found all the same."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "nowhere").symlink_to("missing")
    (tmp_path / "circle").symlink_to("circle")

    assert files.meant([tmp_path]) == [tmp_path / "file", tmp_path / "link"]


def test_a_link_that_cannot_be_followed_is_looked_at_again(tmp_path: Path) -> None:
    """Who signs or verifies a folder hears of what is closed to him there: hashing says why, by the link's name."""
    (tmp_path / "link").symlink_to("x" * 300)

    assert files.meant([tmp_path]) == [tmp_path / "link"]


@pytest.mark.parametrize("name", [".", "/", "..", "in/..", "a\0b"])
def test_a_list_names_files(tmp_path: Path, name: str) -> None:
    """What can have no answer beside it is a wrong line, said before anything is signed, and not a crash after it."""
    (tmp_path / "SUMS").write_text(f"{'0' * 64}  good\n{'0' * 64}  {name}\n")

    with pytest.raises(ConfigError, match=r"SUMS, line 2: "):
        files.parse_digests_file(tmp_path / "SUMS")


@pytest.mark.parametrize("letter", ["x", "ü", "語", "\udcff"])
def test_a_long_path_is_named_by_its_end(letter: str) -> None:
    """The log takes so many bytes of a name, whatever letters they are: a deep folder can be signed."""
    name = sign._name(Path(f"{letter * 2_000}/end"))

    assert sign.NAME_BYTES_MAX - 4 < len(name.encode()) <= sign.NAME_BYTES_MAX
    assert name.endswith("/end")


def test_a_bar_needs_no_file(tmp_path: Path) -> None:
    """A file that vanishes before it is hashed is told by hashing, on a terminal as elsewhere."""
    with sign._progress([tmp_path / "gone"], quiet=False) as done:
        assert done is not None
        done(0)


class Result(dict[str, str]):
    """What is told of a file."""


@pytest.mark.parametrize("dry_run", [False, True])
def test_of_many_files_that_are_signed_few_are_remembered(dry_run: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """What people are told is the first ones and how many; a million of the others need no memory until the end."""
    alive = weakref.WeakValueDictionary[int, Result]()
    most = 0

    def results() -> Iterator[dict[str, str]]:
        nonlocal most
        for number in range(1_000):
            result = Result(written=f"f{number}.tlog-proof", digest="sha256:00", path=f"f{number}")
            alive[number] = result
            most = max(most, len(alive))
            yield result
            del result

    sign._tell("a/b/c/d/e", results(), dry_run=dry_run)
    said = capsys.readouterr().out.splitlines()
    assert most <= 2
    assert said[-1].startswith("1000 ")
    assert said[19].endswith("f19" if dry_run else "f19.tlog-proof")
    assert len(said) == (1_001 if dry_run else 22)
