"""Is one who verifies many files told of each in time, and of all in the end?"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kit.fabricate import TIME, World
from sealpress.cli import verify
from sealpress.cli.app import build

GOOD = {"path": "a", "format": "ecdsa-der"}
BAD = {"path": "b", "error": {"reason": "NO_ANSWER", "message": "there is none", "hint": ""}}


def test_a_file_is_told_before_the_next_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """100,000 files take half a minute: one sees how they go, and no result waits in memory for the last."""
    told: list[str] = []
    monkeypatch.setattr(verify, "say", told.append)

    def judged() -> Iterator[dict[str, Any]]:
        for number, result in enumerate((GOOD, BAD, GOOD)):
            assert len(told) == number
            yield result

    assert verify._tell(judged()) == 1
    assert [line.partition(" ")[0] for line in told] == ["ok", "FAILED", "ok", "2"]
    assert told[-1] == "2 verified, 1 failed"


GOOD_TREE = {"in/lib/a": "a", "in/b": "b"}


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    """A policy, beside a folder `in` of files that are signed, and a folder `out` of one that is not."""
    world = World.make()
    (tmp_path / "trust.policy").write_text(world.policy)
    for name, content in (GOOD_TREE | {"out/c": "c"}).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        if name in GOOD_TREE:
            proof = world.prove(hashlib.sha256(content.encode()).digest())
            path.with_name(f"{path.name}.tlog-proof").write_bytes(proof.write())
    return tmp_path


def test_a_person_is_told_what_to_do(signed: Path) -> None:
    """Not only what does not hold: a proof of another line or file looks like a file that was changed."""
    (signed / "in" / "b").write_text("other")
    told = judged("--trust", signed / "trust.policy", signed / "in", signed / "out", code=1)
    changed, unsigned = [line for line in told.splitlines() if line.startswith("FAILED")]

    assert changed.endswith("(the file changed, or the proof belongs to another file, line or log)")
    assert unsigned.endswith("c.tlog-proof: No such file or directory (sign it, or give the --output of that)")


@pytest.mark.parametrize("name", ["link", "link.sig"])
def test_a_folder_does_not_verify_with_what_is_behind_a_link(signed: Path, name: str) -> None:
    """A link to a folder elsewhere is not followed, so what one reaches by it is not verified: said, and exit 1."""
    (signed / "in" / name).symlink_to("../out")
    told = judged("--trust", signed / "trust.policy", signed / "in", code=1)

    (failed,) = [line for line in told.splitlines() if line.startswith("FAILED")]
    assert failed.startswith(f"FAILED  {signed}/in/{name}: ") and "give it as a PATH" in failed


def test_a_link_to_what_is_verified_anyhow_is_good(signed: Path) -> None:
    """`lib64` beside `lib`, or a folder that is given, too: each file is looked at once, by its own name."""
    (signed / "in" / "lib64").symlink_to("lib")
    (signed / "in" / "lib" / "up").symlink_to(signed / "in")
    assert judged("--trust", signed / "trust.policy", signed / "in", code=0).splitlines()[-1] == "2 verified, 0 failed"

    (signed / "in" / "out").symlink_to("../out")
    (signed / "out" / "c").unlink()
    assert judged("--trust", signed / "trust.policy", signed / "in", signed / "out", code=0)


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    """A policy that trusts some line."""
    path = tmp_path / "trust.policy"
    path.write_text(World.make().policy)
    return path


def judged(*arguments: str | Path, code: int = 1) -> str:
    """What `sealpress verify` prints."""
    done = CliRunner().invoke(build("verify"), ["verify", *map(str, arguments)])
    assert (done.exit_code, type(done.exception)) == (code, SystemExit if code else type(None))
    return done.stdout


def test_a_name_says_nothing_but_itself(trust: Path, tmp_path: Path) -> None:
    """Who names the files of a folder does not write the verdicts: each file has one line, however it is called."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a\nok      release.bin: a line leaf 3\x1b[2K").touch()
    told = judged("--trust", trust, folder)

    assert [line.partition(" ")[0] for line in told.splitlines()] == ["FAILED", "0"]
    assert "\x1b" not in told


def test_a_name_that_is_no_text_costs_no_verdict(trust: Path, tmp_path: Path) -> None:
    """The document has every file, also one without an answer whose name is other bytes than UTF-8."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in (b"good", b"odd\xff"):
        (folder / os.fsdecode(name)).touch()
    found = json.loads(judged("--trust", trust, "--json", folder))["files"]

    assert [(one["path"][-4:], one["error"]["reason"]) for one in found] == [
        ("good", "NO_ANSWER"), (r"\xff", "NO_ANSWER")
    ]  # fmt: skip
    assert found[1]["error"]["message"].startswith(rf"{folder}/odd\xff.tlog-proof: ")


def test_an_answer_that_never_comes_is_not_waited_for(trust: Path, tmp_path: Path) -> None:
    """A fifo in the place of a proof, as an archive can bring one, holds up nothing: the file has no answer."""
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "file.tlog-proof")

    assert "NO_ANSWER" in judged("--trust", trust, tmp_path / "file")


def test_a_time_of_no_calendar_costs_no_verdict(tmp_path: Path) -> None:
    """A line's key states any time of 64 bits: the file has its verdict, and so have those after it."""
    world = World.make()
    (tmp_path / "trust.policy").write_text(world.policy)
    for name, time in (("a", (1 << 64) - 1), ("b", 1 << 40), ("c", TIME)):
        (tmp_path / name).write_text(name)
        proof = world.prove(hashlib.sha256(name.encode()).digest(), time=time)
        (tmp_path / f"{name}.tlog-proof").write_bytes(proof.write())
    told = judged("--trust", tmp_path / "trust.policy", *(tmp_path / name for name in "abc"), code=0)

    assert [line.rpartition(", ")[2] for line in told.splitlines()] == [
        "second 18446744073709551615 since 1970", "second 1099511627776 since 1970", "2025-11-23T12:13:20Z", "0 failed"
    ]  # fmt: skip
