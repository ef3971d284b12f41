"""What `log verify` calls a torn tail is what the next start repairs, and no other damage, beside a writer neither."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kit import frames
from kit.logs import segment_path
from kit.scribe import NAME, Scribe
from sealpress.core.journal import DAMAGE_INTERIOR, DAMAGE_TORN, Journal
from sealpress.tlog.check import check_log

BATCHES = ((2,), (2, 3), (1,), (4, 1))


def wiped(part: bytes) -> bytes:
    """As a block that was lost reads."""
    return bytes(len(part))


def flipped(part: bytes) -> bytes:
    """One bit of the payload."""
    return part[:33] + bytes([part[33] ^ 4]) + part[34:]


def put(path: Path, offset: int, data: bytes) -> None:
    """Into a file that somebody has mapped."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def found_at_start(directory: Path) -> int:
    """The damage, as the scan of a start names it; nothing is changed."""
    header = frames.header(segment_path(directory, 0).read_bytes()[:4096])
    with Journal(directory, header.log_id, bytes(32), header.segment_bytes) as journal:
        return journal.state.damage


@pytest.fixture(name="path")
def closed_segment(scribe: Scribe) -> Path:
    """Some batches of one and of several records, and no daemon."""
    for counts in BATCHES:
        scribe.request(*counts)
    scribe.log.close()
    return segment_path(scribe.settings.directory, 0)


@pytest.mark.parametrize("harm", [wiped, flipped])
def test_a_lost_frame_is_torn_or_damage_as_a_start_says(path: Path, harm: Callable[[bytes], bytes]) -> None:
    """Any one of them: only in the last batch a crash explains it, which may have stored the batch's COMMIT first."""
    whole = path.read_bytes()
    told = {DAMAGE_TORN: ("TORN_TAIL", None), DAMAGE_INTERIOR: (None, "FRAME")}
    seen = set()
    for frame in frames.frames(whole):
        end = frame.offset + (frame.length + 7) // 8 * 8
        path.write_bytes(whole[: frame.offset] + harm(whole[frame.offset : end]) + whole[end:])
        damage = found_at_start(path.parents[1])
        report = check_log(path.parents[1], NAME, 1)
        reasons = (report.tail and report.tail.reason, report.bad and report.bad.reason)

        assert told[damage] == reasons, frame
        seen.add(damage)
    assert {DAMAGE_TORN, DAMAGE_INTERIOR} == seen


@pytest.mark.parametrize("harm", [wiped, flipped])
def test_a_frame_that_was_lost_beside_a_writer_is_named(scribe: Scribe, harm: Callable[[bytes], bytes]) -> None:
    """It is no batch on its way, whose COMMIT is stored behind its frames: its own or a later one is there."""
    for counts in BATCHES:
        scribe.request(*counts)
    path = segment_path(scribe.settings.directory, 0)
    whole = path.read_bytes()
    records = [frame for frame in frames.frames(whole) if frame.type != frames.COMMIT_TYPE]
    for frame in (records[1], records[-1]):
        part = whole[frame.offset : frame.offset + frame.length]
        put(path, frame.offset, harm(part))
        report = check_log(scribe.settings.directory, NAME, 1)
        put(path, frame.offset, part)

        assert (True, False) == (report.live, report.ok)
        assert report.bad is not None
        assert ("FRAME", frame.offset) == (report.bad.reason, report.bad.where.offset)


@pytest.mark.parametrize("live", [True, False])
def test_a_lost_header_in_front_of_several_batches_is_named(scribe: Scribe, *, live: bool) -> None:
    """Only a first batch can be without one."""
    for counts in BATCHES:
        scribe.request(*counts)
    path = segment_path(scribe.settings.directory, 0)
    if not live:
        scribe.log.close()
    put(path, 0, bytes(8192))
    report = check_log(scribe.settings.directory, NAME, 1)

    assert (live, False) == (report.live, report.ok)
    assert report.bad is not None
    assert "HEADER" == report.bad.reason


@pytest.mark.parametrize("commit", [False, True])
def test_a_segment_without_its_end_is_not_followed_by_another(scribe: Scribe, *, commit: bool) -> None:
    """Its SEAL is gone: FRAME, where the COMMIT tells of it; else HEADER of the one behind, since more may be lost."""
    scribe.request(2)
    scribe.log.seal_segment()
    scribe.request(2)
    scribe.log.close()
    path = segment_path(scribe.settings.directory, 0)
    raw = path.read_bytes()
    (seal,) = [frame for frame in frames.frames(raw) if frame.type == frames.SEAL]
    lost = seal.length if commit else len(raw) - seal.offset
    path.write_bytes(raw[: seal.offset] + bytes(lost) + raw[seal.offset + lost :])
    bad = check_log(scribe.settings.directory, NAME, 1).bad

    assert bad is not None
    assert (bad.reason, bad.where, bad.message) == (
        ("FRAME", (0, seal.offset), "no frame can be read here, and a segment follows")
        if commit
        else ("HEADER", (1, 0), "a segment follows one that was not sealed")
    )
