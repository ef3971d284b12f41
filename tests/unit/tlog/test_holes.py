"""Is a segment that is gone told as gone, by whoever meets its place?"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kit.scribe import Scribe
from sealpress.cli.app import build
from sealpress.errors import CannotStart, Damaged


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed log of four segments and more."""
    scribe = Scribe(tmp_path_factory.mktemp("whole") / "log", 5)
    scribe.open()
    while scribe.log.reader.end.segment < 3:
        scribe.history(60)
    scribe.log.close()
    return scribe.settings.directory


@pytest.fixture
def log(whole: Path, tmp_path: Path) -> Path:
    """A copy, to be spoilt."""
    return shutil.copytree(whole, tmp_path / "log")


def segment(log: Path, number: int) -> Path:
    """The file."""
    return log / "journal" / f"{number:020}.seg"


def told(*arguments: str | Path) -> tuple[int, list[dict[str, object]], str]:
    """Exit code, documents and stderr of a command."""
    done = CliRunner().invoke(build("log"), ["log", *map(str, arguments), "--json"])
    return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_the_judge_names_the_segment_that_is_gone(log: Path) -> None:
    """Not the header of the next one, which is sound."""
    segment(log, 1).unlink()
    code, (report,), _ = told("verify", log)

    assert (3, [1, 0], "HEADER", "the segment is missing") == (
        code,
        *(report["bad"][name] for name in ("where", "reason", "message")),  # type: ignore[index]
    )


def test_a_start_names_the_segment_that_is_gone(log: Path) -> None:
    """As missing, for no byte of it is damaged."""
    segment(log, 1).unlink()
    with pytest.raises(Damaged, match="segment 1 is missing; nothing was changed") as caught:
        Scribe(log, 5).open()

    assert "LOG_DAMAGED" == caught.value.reason


def test_a_log_without_its_beginning_is_damaged(log: Path) -> None:
    """Later segments stand there: it is no other directory, and a script hears of it by the exit code."""
    segment(log, 0).unlink()
    code, (document,), _ = told("verify", log)
    error = document["error"]

    assert isinstance(error, dict)
    assert (3, "LOG_DAMAGED") == (code, error["reason"])
    assert "segment 0 is missing" in error["message"]
    assert "archived.json" in error["hint"]


@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_no_record_is_passed_over_in_silence(log: Path, how: str) -> None:
    """Who reads a log to its end was shown all of it, or hears where it breaks."""
    if how == "gone":
        segment(log, 1).unlink()
    else:
        with segment(log, 1).open("r+b") as file:
            file.seek(9_000)
            file.write(b"damaged")
    code, (*records, last), _ = told("show", log, "--limit", "10000")
    error = last["error"]

    assert isinstance(error, dict)
    assert (3, "LOG_DAMAGED") == (code, error["reason"])
    assert "segment 1, byte 0" in error["message"]
    assert 50 < len(records)


def test_behind_its_last_frame_a_log_just_ends(log: Path) -> None:
    """What a power cut left there was never committed."""
    before = told("show", log, "--limit", "10000")
    (last,) = [path for path in (log / "journal").glob("*.seg") if int(path.stem) == 3]
    with last.open("r+b") as file:
        end = len(file.read().rstrip(b"\0"))
        file.seek(end + 8 - end % 8 + 64)
        file.write(b"torn")

    assert (0, before) == (before[0], told("show", log, "--limit", "10000"))


@pytest.mark.parametrize(
    ("name", "code"),
    [("checkpoint", 3), ("journal/archived.json", 3), ("journal/00000000000000000001.seg", 3), ("lock", 0)],
)
def test_nobody_waits_in_a_log_that_somebody_handed_over(log: Path, name: str, code: int) -> None:
    """An archive that an auditor unpacked may hold a fifo where a file was: one finding, soon."""
    (log / name).unlink(missing_ok=True)
    os.mkfifo(log / name)
    command = [sys.executable, "-m", "sealpress", "log", "verify", str(log)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    assert (code, bool(code)) == (done.returncode, len(done.stderr.splitlines())), done.stderr


def test_a_file_where_a_directory_belongs_is_told_in_one_sentence(tmp_path: Path) -> None:
    """The system's own words, once."""
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "journal").write_text("x")
    with pytest.raises(CannotStart, match=r"the log cannot be opened: Not a directory$"):
        Scribe(tmp_path / "log", 5).open()
