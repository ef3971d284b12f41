"""`sealpress log verify` says what it read, how quick, and where the first wrong position is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kit.scribe import NAME, HeadSigner, Scribe
from sealpress.cli.app import build
from sealpress.core.segment import segment_name


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A closed log with a few of everything."""
    scribe = Scribe(tmp_path / "log", 5)
    scribe.open()
    scribe.history(30)
    scribe.log.close()
    return scribe.settings.directory


def test_a_good_log_ends_with_0_and_both_rates(log: Path) -> None:
    """The rate of the pass and that of the bare kernel stand in the text and in the document."""
    done = CliRunner().invoke(build("log"), ["log", "verify", str(log)])
    assert done.exit_code == 0, done.output
    assert "the log holds" in done.output
    assert done.output.count("M/s") == 2
    told = json.loads(CliRunner().invoke(build("log"), ["log", "verify", str(log), "--json"]).stdout)

    assert told["ok"]
    assert not told["live"]
    assert 0 < told["kernel_ns"] < told["cpu_ns"]
    assert told["compressions"] > told["tree_size"] > 0


def test_the_first_wrong_position_ends_with_3(log: Path) -> None:
    """Segment, offset, seq and reason, as a document and in one line."""
    path = log / "journal" / segment_name(0)
    data = bytearray(path.read_bytes())
    data[9_000] ^= 1
    path.write_bytes(data)
    done = CliRunner().invoke(build("log"), ["log", "verify", str(log), "--json"])
    told = json.loads(done.stdout.splitlines()[0])

    assert done.exit_code == 3
    assert not told["ok"]
    assert {"where", "seq", "reason", "message"} == set(told["bad"])
    assert told["bad"]["where"][0] == 0
    assert 8_192 <= told["bad"]["where"][1] <= 9_000
    assert told["bad"]["reason"] == "FRAME"
    text = CliRunner().invoke(build("log"), ["log", "verify", str(log)])
    assert text.exit_code == 3
    assert f"segment 0, offset {told['bad']['where'][1]}, seq " in text.output


def test_damage_before_the_first_frame_ends_with_3(log: Path) -> None:
    """Nothing was hashed then, and the rate of nothing is no reason to fail."""
    path = log / "journal" / segment_name(0)
    data = bytearray(path.read_bytes())
    data[4_096 + 100] ^= 1
    path.write_bytes(data)
    done = CliRunner().invoke(build("log"), ["log", "verify", str(log)])

    assert done.exit_code == 3
    assert "HEADER: segment 0, offset 4096" in done.output


def test_a_first_record_that_cannot_be_read_is_damage(log: Path) -> None:
    """Exit 3 also where not even the log's name can be told; a directory without a log ends with 1."""
    path = log / "journal" / segment_name(0)
    data = bytearray(path.read_bytes())
    data[8_250] ^= 1
    path.write_bytes(data)
    done = CliRunner().invoke(build("log"), ["log", "verify", str(log), "--json"])
    assert done.exit_code == 3
    assert json.loads(done.stdout)["error"]["reason"] == "LOG_DAMAGED"
    assert CliRunner().invoke(build("log"), ["log", "verify", str(log.parent), "--json"]).exit_code == 1


def test_a_wrong_file_beside_a_good_log_is_no_damage(log: Path, tmp_path: Path) -> None:
    """Where --older is no checkpoint, or a file is no directory of a log: exit 2 and 1, and nobody is alarmed."""
    other = tmp_path / "other"
    other.write_text("shopping")
    kept = CliRunner().invoke(build("log"), ["log", "verify", str(log), "--older", str(other)])
    told = CliRunner().invoke(build("log"), ["log", "verify", str(other)])

    assert (kept.exit_code, kept.stderr.split(":")[1]) == (2, " CONFIG")
    assert (told.exit_code, told.stderr.split(":")[1]) == (1, " LOG_MISSING")


def test_files_that_are_no_segments_are_passed_over(log: Path) -> None:
    """Somebody put a damaged segment aside in its own directory: the judge and `show` read what the daemon reads."""
    (log / "journal" / "00000000000000000000.old.seg").write_bytes(b"x" * 20_000)
    done = CliRunner().invoke(build("log"), ["log", "verify", str(log)])
    assert done.exit_code == 0, done.output
    shown = CliRunner().invoke(build("log"), ["log", "show", str(log)])
    assert "log.created" in shown.output


def test_a_torn_tail_is_no_cause_for_alarm(log: Path) -> None:
    """What a power cut leaves ends with 3 as well, and the hint says that the next start repairs it."""
    with (log / "journal" / segment_name(0)).open("r+b") as file:
        end = len(file.read().rstrip(b"\0"))
        file.seek(end + 64)
        file.write(b"torn")
    done = CliRunner().invoke(build("log"), ["log", "verify", str(log)])

    assert done.exit_code == 3
    assert "TORN_TAIL" in done.output
    assert "next start repairs it" in done.output


def trusted(path: Path, vkeys: list[str]) -> Path:
    """A tlog-policy of a log's key and a line's."""
    path.write_text(f"log {vkeys[0]}\nwitness line {vkeys[1]}\nquorum line\n")
    return path


def test_a_log_is_judged_by_the_keys_of_a_policy_or_not_at_all(log: Path, tmp_path: Path) -> None:
    """With --trust its heads bear signatures that verify; a log of which no policy speaks, whoever made it, is none."""
    ours = trusted(tmp_path / "ours.policy", HeadSigner(f"{NAME}/1", NAME).vkeys)
    forged = trusted(tmp_path / "forged.policy", HeadSigner(f"{NAME}/1", NAME, seed=9).vkeys)
    other = trusted(tmp_path / "other.policy", HeadSigner("sign.example/other/1", "sign.example/other").vkeys)

    def told(*policies: Path) -> tuple[int, str, int]:
        trust = [word for path in policies for word in ("--trust", str(path))]
        done = CliRunner().invoke(build("log"), ["log", "verify", str(log), "--json", *trust])
        found = json.loads(done.stdout)
        reason = (found.get("error") or found.get("bad") or {"reason": ""})["reason"]
        return done.exit_code, reason, found.get("signatures", 0)

    assert told(ours)[:2] == told(other, ours)[:2] == (0, "")
    assert told(ours)[2] > told()[2] == 0
    assert told(forged) == (3, "HEAD", 0)
    assert told(other) == (1, "ORIGIN", 0)
