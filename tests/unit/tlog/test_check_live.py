"""The judge beside a writer: it takes no lock, judges what was committed when it came by, and never cries wolf."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from kit.scribe import NAME, Scribe
from sealpress.core.segment import segment_name
from sealpress.tlog import check
from sealpress.tlog.report import Report

COMMIT_BYTES = 128
SEGMENTS = 5


@pytest.mark.parametrize("write", ["map", "pwrite"])
def test_a_log_that_grows_meanwhile_holds(tmp_path: Path, write: str) -> None:
    """Over many segments that fill, end and follow one another while they are read, every report is good."""
    scribe = Scribe(tmp_path / "log", write=write)
    scribe.open()

    reports: list[Report] = []

    def write_segments() -> None:
        looked = False
        while scribe.log.reader.end.segment < SEGMENTS or not looked:
            looked = bool(reports)  # a slow first look must not find all of it: more follows
            scribe.request(1, 30, names=True)
            scribe.request(200)

    writer = threading.Thread(target=write_segments)
    writer.start()
    while writer.is_alive():
        reports.append(check.check_log(scribe.settings.directory, NAME, 1))
    writer.join()
    reports.append(check.check_log(scribe.settings.directory, NAME, 1))
    sizes = [report.tree_size for report in reports]
    scribe.log.close()

    assert [report.bad for report in reports] == [None] * len(reports)
    assert all(report.ok and report.live for report in reports)
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1] == scribe.log.size
    assert reports[-1].segments == SEGMENTS + 1
    assert not check.check_log(scribe.settings.directory, NAME, 1).live


def test_half_a_batch_is_an_error_only_where_nobody_writes(tmp_path: Path) -> None:
    """Frames without their COMMIT: beside a daemon a batch on its way, without one a torn tail."""
    scribe = Scribe(tmp_path / "log")
    scribe.open()
    scribe.request(3)
    end = scribe.log.reader.end
    scribe.request(5)
    path = scribe.settings.directory / "journal" / segment_name(end.segment)
    data = path.read_bytes()
    written = len(data.rstrip(b"\0"))
    with path.open("r+b") as file:  # only the last COMMIT is not there yet
        file.seek(written - 120)
        file.write(bytes(120))
    live = check.check_log(scribe.settings.directory, NAME, 1)
    scribe.log.close()
    alone = check.check_log(scribe.settings.directory, NAME, 1)

    assert (True, True) == (live.live, live.ok)
    assert live.tail is not None
    assert live.tail.where == (end.segment, end.offset + COMMIT_BYTES)
    assert (False, False) == (alone.live, alone.ok)


def test_damage_is_found_beside_a_writer_too(tmp_path: Path) -> None:
    """A live log gets no licence: a damaged frame in front of a COMMIT, or a segment without its SEAL, is named."""
    scribe = Scribe(tmp_path / "log")
    scribe.open()
    scribe.history(60)
    assert scribe.log.reader.end.segment > 0
    for number in (0, scribe.log.reader.end.segment):
        path = scribe.settings.directory / "journal" / segment_name(number)
        kept = path.read_bytes()
        for at in (8192 + 40, len(kept.rstrip(b"\0")) - 40 if number == 0 else 8192 + 200):
            with path.open("r+b") as file:
                file.seek(at)
                file.write(bytes([kept[at] ^ 1]))
            report = check.check_log(scribe.settings.directory, NAME, 1)
            with path.open("r+b") as file:
                file.write(kept[: at + 1])
            assert report.live
            assert report.bad is not None, (number, at)
            assert report.bad.where.segment in (number, number + 1)
    scribe.log.close()


def test_progress_ends_where_the_work_ends(tmp_path: Path) -> None:
    """Bytes done never go back and reach the total."""
    scribe = Scribe(tmp_path / "log")
    scribe.open()
    scribe.history(60)
    scribe.log.close()
    told: list[tuple[int, int]] = []
    check.check_log(scribe.settings.directory, NAME, 1, progress=lambda done, todo: told.append((done, todo)))

    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] > 0
