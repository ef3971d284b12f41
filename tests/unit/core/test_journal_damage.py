"""What a scan says of a damaged log: a torn tail is cut back to the last COMMIT, everything else is refused.

The logs here are small: four batches in one segment, or three sealed segments and an active one. Each case changes
bytes of a copy and states what must be found, as a function of the place.
"""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from kit import frames
from kit.logs import SMALL, Writer, flip, judge, segment_path, segments_of
from sealpress.core import journal as core
from sealpress.core.segment import FIRST_FRAME, Segment
from sealpress.errors import CoreError


@pytest.fixture(name="short")
def short_log(tmp_path: Path) -> Path:
    """Four batches in one segment, closed."""
    directory = tmp_path / "short"
    with Writer(directory).start() as log:
        for _ in range(4):
            log.commit(log.small(digests=2))
    return directory


@pytest.fixture(name="long")
def long_log(tmp_path: Path) -> Path:
    """Three sealed segments and an active one."""
    directory = tmp_path / "long"
    with Writer(directory).start() as log:
        for _ in range(3):
            log.commit(log.small(digests=40))
            log.journal.seal(log.time_ns)
            log.finish()
        log.commit()
    return directory


def commits(directory: Path, number: int = 0) -> list[frames.RawFrame]:
    """The COMMIT frames of a segment."""
    data = segment_path(directory, number).read_bytes()
    return [frame for frame in frames.frames(data) if frame.type == frames.COMMIT_TYPE]


def last_batch(directory: Path) -> tuple[int, int]:
    """Where the last batch of segment 0 begins and ends."""
    ends = [frame.offset + 128 for frame in commits(directory)]
    return ends[-2], ends[-1]


def found(directory: Path) -> core.JournalState:
    """What a scan says; the files are untouched by it."""
    before = segments_of(directory)
    with Writer(directory) as log:
        assert segments_of(directory) == before
        return log.state


def patch(path: Path, offset: int, data: bytes) -> None:
    """Overwrites bytes."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def goes_on_after_repair(directory: Path, tree_size: int) -> None:
    """The tail is copied aside and zeroed, the log stands at `tree_size` and takes another commit."""
    with Writer(directory) as log:
        state = log.state
        path = segment_path(directory, state.damage_segment)
        data = path.read_bytes()
        log.journal.repair("tail")
        assert (directory / "broken/tail").read_bytes() == data[state.damage_from : state.damage_to]
        assert (log.journal.state.damage, log.journal.state.tree_size) == (core.DAMAGE_NONE, tree_size)
        assert log.start().commit().first_leaf == tree_size
    judge(directory)


def test_every_byte_of_the_last_batch_flipped_is_a_torn_tail(short: Path) -> None:
    """One flipped bit in it, wherever: the batch is cut off, the three before it stand."""
    begin, end = last_batch(short)
    path = segment_path(short, 0)
    size = struct.unpack_from("<Q", commits(short)[-2].payload, 12)[0]
    for offset in range(begin, end):
        flip(path, offset, offset % 8)
        state = found(short)
        assert (state.damage, state.damage_from, state.commits) == (core.DAMAGE_TORN, begin, 3), offset
        assert (state.tree_size, state.end_offset) == (size, begin)
        flip(path, offset, offset % 8)
    flip(path, begin + 40)
    goes_on_after_repair(short, size)


def test_a_last_batch_lost_from_any_byte_on_is_a_torn_tail(short: Path) -> None:
    """Zeros from there to the end, as a crash during the write leaves them; from its first byte on nothing is wrong."""
    begin, end = last_batch(short)
    path = segment_path(short, 0)
    whole = path.read_bytes()
    for offset in range(begin, end):
        path.write_bytes(whole[:offset] + bytes(len(whole) - offset))
        state = found(short)
        lost = any(whole[offset:end])
        expected = core.DAMAGE_TORN if lost and any(whole[begin:offset]) else core.DAMAGE_NONE
        assert (state.damage, state.commits) == (expected, 3 if lost else 4), offset


def test_a_commit_that_reached_the_disk_before_its_frames_is_a_torn_tail(short: Path) -> None:
    """Pages of one sync may arrive in any order: the batch's own COMMIT proves nothing."""
    begin, end = last_batch(short)
    patch(segment_path(short, 0), begin, bytes(end - 128 - begin))
    state = found(short)
    assert (state.damage, state.damage_from) == (core.DAMAGE_TORN, begin)
    assert end - 128 < state.damage_to <= end
    goes_on_after_repair(short, state.tree_size)


def test_damage_before_a_later_commit_is_refused(short: Path) -> None:
    """Every byte of the first three batches: the range is named, repair and start refuse."""
    begin, _ = last_batch(short)
    path = segment_path(short, 0)
    for offset in range(FIRST_FRAME, begin):
        flip(path, offset, offset % 8)
        state = found(short)
        assert state.damage == core.DAMAGE_INTERIOR, offset
        assert FIRST_FRAME <= state.damage_from <= offset < state.damage_to
        flip(path, offset, offset % 8)
    flip(path, FIRST_FRAME + 50)
    with Writer(short) as log:
        with pytest.raises(CoreError) as repaired:
            log.journal.repair("tail")
        with pytest.raises(CoreError) as started:
            log.journal.start(log.tree)
        assert (repaired.value.name, started.value.name) == ("SP_E_CORRUPT", "SP_E_CORRUPT")


def test_bytes_in_the_never_written_part_are_cut(short: Path) -> None:
    """Nothing valid follows: copied aside, zeroed, nothing lost."""
    state = found(short)
    flip(segment_path(short, 0), SMALL - 3, 5)
    assert found(short).damage == core.DAMAGE_TORN
    goes_on_after_repair(short, state.tree_size)


def test_a_file_cut_short_is_filled_up_again(short: Path) -> None:
    """Behind the last COMMIT nothing is lost; inside the last batch that batch is."""
    begin, end = last_batch(short)
    path = segment_path(short, 0)
    whole = path.read_bytes()
    for size, kept in ((end, 4), (end + 5, 4), (SMALL - 1, 4), (end - 1, 3), (begin + 1, 3), (begin, 3)):
        path.write_bytes(whole[:size])
        state = found(short)
        assert (state.damage, state.commits, state.damage_to) == (core.DAMAGE_TORN, kept, SMALL), size
    goes_on_after_repair(short, state.tree_size)
    assert path.stat().st_size == SMALL


def test_whole_frames_in_the_wrong_place_never_pass(short: Path, long: Path) -> None:
    """The last batch again behind itself, and frames of one segment at the same place of another: not valid there."""
    begin, end = last_batch(short)
    path = segment_path(short, 0)
    patch(path, end, path.read_bytes()[begin:end])
    state = found(short)
    assert (state.damage, state.commits, state.damage_from) == (core.DAMAGE_TORN, 4, end)
    old = segment_path(long, 0).read_bytes()
    first = commits(long, 0)[0].offset + 128
    patch(segment_path(long, 3), FIRST_FRAME, old[FIRST_FRAME:first])
    state = found(long)
    assert (state.damage, state.damage_segment) == (core.DAMAGE_TORN, 3)
    assert state.tree_size == state.start_size


def test_one_header_copy_is_enough_and_is_repaired_at_start(short: Path, long: Path) -> None:
    """In the active and in a sealed segment: no damage is reported, both copies stand again after start."""
    for directory, number in ((short, 0), (long, 1)):
        for copy in (0, 1):
            path = segment_path(directory, number)
            flip(path, copy * 4096 + 70)
            with Writer(directory) as log:
                assert log.state.damage == core.DAMAGE_NONE
                log.start()
            data = path.read_bytes()
            assert data[:4096] == data[4096:8192]
            frames.header(data[:4096])


def test_anything_wrong_in_a_sealed_segment_is_refused(long: Path) -> None:
    """Its frames, both headers, the whole file missing: the segment is named."""
    path = segment_path(long, 1)
    whole = path.read_bytes()
    end = commits(long, 1)[-1].offset + 128
    for offset in range(FIRST_FRAME, end, 7):
        flip(path, offset, offset % 8)
        state = found(long)
        assert (state.damage, state.damage_segment) == (core.DAMAGE_SEALED, 1), offset
        flip(path, offset, offset % 8)
    patch(path, 0, bytes(8192))
    assert (found(long).damage, found(long).damage_segment) == (core.DAMAGE_SEALED, 1)
    path.unlink()
    assert (found(long).damage, found(long).damage_segment) == (core.DAMAGE_SEALED, 1)
    path.write_bytes(whole)
    assert found(long).damage == core.DAMAGE_NONE


def test_a_scan_of_recent_segments_leaves_the_older_frames_alone(long: Path) -> None:
    """`scan_recent`: damage in the last sealed segment is found, in older ones it is left to `log verify`."""
    for number, expected in ((0, core.DAMAGE_NONE), (2, core.DAMAGE_SEALED)):
        flip(segment_path(long, number), FIRST_FRAME + 40)
        with core.Journal(long, segment_header(long).log_id, bytes(32), SMALL, scan_recent=True) as journal:
            assert journal.state.damage == expected


def segment_header(directory: Path) -> frames.Header:
    """Of segment 0."""
    return frames.header(segment_path(directory, 0).read_bytes()[:4096])


def test_a_first_batch_without_header_is_a_torn_tail(long: Path) -> None:
    """Frames arrived, headers did not: the file is copied aside and made anew."""
    state = found(long)
    path = segment_path(long, 3)
    patch(path, 0, bytes(8192))
    torn = found(long)
    assert (torn.damage, torn.damage_segment, torn.damage_from) == (core.DAMAGE_TORN, 3, 0)
    assert (torn.tree_size, torn.sealed) == (state.start_size, True)
    goes_on_after_repair(long, state.start_size)


def test_a_segment_with_later_batches_and_no_header_is_refused(short: Path) -> None:
    """A second batch proves that the first was durable: this is no crash."""
    patch(segment_path(short, 0), 0, bytes(8192))
    state = found(short)
    assert (state.damage, state.damage_segment) == (core.DAMAGE_SEALED, 0)


def test_a_newer_format_is_refused_by_name(short: Path) -> None:
    """Both header copies of version 2: SP_E_VERSION; one alone is a flipped bit."""
    path = segment_path(short, 0)
    patch(path, 8, struct.pack("<I", 2))
    assert found(short).damage == core.DAMAGE_NONE
    patch(path, 4096 + 8, struct.pack("<I", 2))
    for opened in (lambda: Writer(short), lambda: Segment(path)):
        with pytest.raises(CoreError) as caught:
            opened()
        assert caught.value.name == "SP_E_VERSION"


def test_a_segment_of_another_log_is_refused(short: Path) -> None:
    """The origin's hash stands in every header."""
    with pytest.raises(CoreError) as caught:
        core.Journal(short, bytes(32), bytes(32), SMALL)
    assert caught.value.name == "SP_E_MISMATCH"


def test_lengths_of_a_file_are_never_trusted(short: Path) -> None:
    """Every 32-bit pattern of interest as a frame's length, in a file of any size: an answer, no fault."""
    path = segment_path(short, 0)
    whole, ends = path.read_bytes(), commits(short)
    for length in (1, 31, 32, 33, SMALL - 8192, SMALL, 0x7FFFFFFF, 0xFFFFFFF8, 0xFFFFFFFF):
        for frame in ends:
            path.write_bytes(whole[: frame.offset] + struct.pack("<I", length) + whole[frame.offset + 4 :])
            assert found(short).damage in (core.DAMAGE_TORN, core.DAMAGE_INTERIOR)
            with Segment(path) as segment, pytest.raises(CoreError) as caught:
                segment.frame(frame.offset)
            assert caught.value.name == "SP_E_CORRUPT"
