"""The journal in good weather: what is committed can be read back by a reader that shares no code with it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kit import frames
from kit.logs import (
    EVENT_SCOPE,
    KEY_ID,
    LOG_ID,
    PAGE,
    SCOPE,
    SEED,
    SMALL,
    START_NS,
    Writer,
    judge,
    segment_path,
    segments_of,
)
from sealpress.core import journal as core
from sealpress.core.batch import Batch
from sealpress.core.journal import Journal
from sealpress.core.leaf import LeafSpec
from sealpress.core.merkle import EMPTY_ROOT, Tree
from sealpress.core.segment import Segment
from sealpress.errors import CoreError

both_modes = pytest.mark.parametrize("pwrite", [False, True], ids=["map", "pwrite"])


@both_modes
def test_every_frame_type_reads_back_as_it_was_written(tmp_path: Path, pwrite: bool) -> None:
    """Heads, columns, leaves of every kind and algorithm, names, SEAL: judged from bytes alone, and read by Segment."""
    with Writer(tmp_path / "log", pwrite=pwrite).start() as log:
        heads: list[bytes] = []
        for version, (kind, algorithm) in {11: (1, 1), 12: (1, 2), 13: (1, 3), 31: (3, 1), 32: (3, 2)}.items():
            batch = Batch(8192)
            for type_ in (frames.OUTCOME, frames.REFUSAL, frames.GOVERNANCE, frames.RECOVERY):
                head = bytes([type_]) * (1 + version % 9)
                assert batch.event(type_, 1, head, EVENT_SCOPE) == len(heads) % 5
                heads.append(head)
            count = version - 8
            digests = log.random.randbytes((32, 48, 64)[algorithm - 1] * count)
            spec = LeafSpec(kind, algorithm, KEY_ID, SCOPE, 7)
            batch.request(version, b"head %d" % version, spec, SEED, b"names" * (version % 3), digests, count)
            heads.append(b"head %d" % version)
            result = log.commit(batch)
            assert (result.status, result.frames, result.leaves) == (0, 6, 4 + count)
        log.journal.seal(log.time_ns)
        assert log.finish().sealed
    judged = judge(tmp_path / "log")
    assert judged.tree.root() == result.root
    assert judged.sealed == [True]
    with Segment(segment_path(tmp_path / "log", 0), LOG_ID) as segment:
        seen = list(segment.frames())
        assert [frame.header for frame in seen] == [frame.header for frame in judged.frames]
        records = [frame for frame in seen if frame.type < frames.COMMIT_TYPE]
        assert [frame.head for frame in records] == heads
        raw = [frame for frame in judged.frames if frame.type == frames.REQUEST]
        for ours, theirs in zip((frame for frame in records if frame.type == frames.REQUEST), raw, strict=True):
            parts = frames.columns(theirs.payload)
            assert (ours.salt_seed, ours.names, ours.digests) == (parts.salt_seed, parts.names, parts.digests)


@both_modes
def test_rotation_keeps_one_log_over_many_segments(tmp_path: Path, pwrite: bool) -> None:
    """Full segments end in a SEAL under the last COMMIT, the next begins where it ended; nothing is left out."""
    with Writer(tmp_path / "log", pwrite=pwrite).start() as log:
        sealed = [log.commit(log.small(digests=100 + n)).sealed for n in range(60)]
        last = log.journal.position()
    assert sum(sealed) >= 3
    judged = judge(tmp_path / "log")
    assert (judged.commits, judged.next_seq, judged.tree.size) == (60, last.next_seq, last.next_leaf)
    assert judged.sealed[:-1] == [True] * sum(sealed)


def test_the_largest_batch_always_fits_and_a_larger_one_is_refused(tmp_path: Path) -> None:
    """Whatever went before, batch_bytes_max bytes go in; eight more are SP_E_ROOM and change nothing."""
    with Writer(tmp_path / "log").start() as log:
        for n in range(40):
            limit = log.journal.position().batch_bytes_max
            assert limit == SMALL // 4 - 128 - 32
            batch = Batch(limit + 8)
            head = bytes(limit - 32) if n % 2 else bytes(1 + 311 * n)
            batch.event(frames.OUTCOME, 1, head, EVENT_SCOPE)
            assert log.commit(batch).status == 0
        batch = Batch(limit + 8)
        batch.event(frames.OUTCOME, 1, bytes(limit - 31), EVENT_SCOPE)
        before = log.journal.position()
        with pytest.raises(CoreError, match="too small") as caught:
            log.send(batch)
        assert caught.value.name == "SP_E_ROOM"
        assert log.journal.position() == before
    assert judge(tmp_path / "log").commits == 40


def test_a_full_batch_takes_no_more_and_keeps_what_it_has(tmp_path: Path) -> None:
    """SP_E_ROOM leaves the batch as it was."""
    batch = Batch(256)
    batch.event(frames.OUTCOME, 1, b"x" * 100, EVENT_SCOPE)
    before = (batch.bytes, batch.frames, batch.leaves)
    with pytest.raises(CoreError) as caught:
        batch.event(frames.OUTCOME, 1, b"x" * 100, EVENT_SCOPE)
    assert caught.value.name == "SP_E_ROOM"
    assert (batch.bytes, batch.frames, batch.leaves) == before
    with Writer(tmp_path / "log").start() as log:
        assert log.commit(batch).status == 0


@both_modes
def test_reopening_goes_on_where_it_stopped(tmp_path: Path, pwrite: bool) -> None:
    """After a clean close, however often and also with a sealed last segment, the same log grows."""
    directory = tmp_path / "log"
    for round_ in range(6):
        with Writer(directory, pwrite=pwrite) as log:
            assert log.state.damage == core.DAMAGE_NONE
            assert log.state.commits == 5 * round_
            log.start()
            for _ in range(4):
                last = log.commit(log.small(digests=50))
            log.journal.seal(log.time_ns) if round_ % 2 else log.send(log.small(digests=10))
            last = log.finish()
    judged = judge(directory)
    assert (judged.commits, judged.tree.root()) == (30, last.root)


def test_an_empty_directory_is_an_empty_log(tmp_path: Path) -> None:
    """First seq 0, first leaf 0, the empty root; the first COMMIT knows nothing durable before it."""
    with Writer(tmp_path / "log") as log:
        state = log.state
        assert (state.segments, state.commits, state.next_seq, state.tree_size) == (0, 0, 0, 0)
        assert (state.root, state.chain, state.damage) == (EMPTY_ROOT, bytes(32), core.DAMAGE_NONE)
        assert log.start().commit().first_seq == 0


def test_the_segment_header_tells_where_the_log_stood(tmp_path: Path) -> None:
    """Both copies equal, the first frame at 8,192, a salt of its own, the time of its first batch."""
    with Writer(tmp_path / "log").start() as log:
        log.commit()
    data = segments_of(tmp_path / "log")[0]
    header = frames.header(data[:PAGE])
    assert data[:PAGE] == data[PAGE : 2 * PAGE]
    assert (header.log_id, header.created_ns, header.segment_bytes) == (LOG_ID, START_NS + 1_000_000, SMALL)
    with Segment(segment_path(tmp_path / "log", 0)) as segment:
        assert segment.header.salt == header.salt
        first = segment.frame()
        assert first is not None
        assert first.offset == 8192


def test_a_second_opener_is_refused_even_in_one_process(tmp_path: Path) -> None:
    """SP_E_LOCKED while the first lives; free again after it closed."""
    with Writer(tmp_path / "log"), pytest.raises(CoreError) as caught:
        Writer(tmp_path / "log")
    assert caught.value.name == "SP_E_LOCKED"
    Writer(tmp_path / "log").close()


def test_a_wrong_place_in_the_log_is_refused_before_anything_happens(tmp_path: Path) -> None:
    """Another seq, another leaf index or an earlier time than the log's: nothing is written, the right one goes in."""
    with Writer(tmp_path / "log").start() as log:
        log.commit()
        at, batch = log.journal.position(), log.small()
        cases = [
            ("SP_E_MISMATCH", log.time_ns, at.next_seq + 1, at.next_leaf),
            ("SP_E_MISMATCH", log.time_ns, at.next_seq, at.next_leaf - 1),
            ("SP_E_ARGUMENT", log.time_ns - 1, at.next_seq, at.next_leaf),
        ]
        for name, *arguments in cases:
            with pytest.raises(CoreError) as caught:
                log.journal.submit(batch, *arguments)
            assert caught.value.name == name
        assert log.commit(batch).first_seq == at.next_seq
    assert judge(tmp_path / "log").commits == 2


def test_only_one_batch_is_in_hand(tmp_path: Path) -> None:
    """Until a result is taken the next submit is SP_E_BUSY, and so is the position."""
    with Writer(tmp_path / "log").start() as log:
        first, second = log.small(), log.small()
        log.send(first)
        for call in (
            lambda: log.journal.submit(second, log.time_ns, 3, 4),
            lambda: log.journal.seal(log.time_ns),
            log.journal.position,
        ):
            with pytest.raises(CoreError) as caught:
                call()
            assert caught.value.name == "SP_E_BUSY"
        log.finish()
        assert log.journal.take() is None
        assert log.commit(second).status == 0


def test_the_tree_must_be_the_journals(tmp_path: Path) -> None:
    """Start refuses a tree of another size and one of the same size with another root."""
    with Writer(tmp_path / "log").start() as log:
        log.commit()
    with Journal(tmp_path / "log", LOG_ID, bytes(32), SMALL) as opened:
        for count in (0, opened.state.tree_size):
            tree = Tree()
            tree.append(bytes(32 * count))
            with pytest.raises(CoreError) as caught:
                opened.start(tree)
            assert caught.value.name == "SP_E_MISMATCH"


def test_a_copy_taken_while_it_runs_is_a_log_too(tmp_path: Path) -> None:
    """What a kill leaves at any moment opens with every commit acknowledged before the copy, and grows on."""
    source = tmp_path / "log"
    copies: list[tuple[Path, int]] = []
    acknowledged = [0]
    with Writer(source).start() as log:

        def write() -> None:
            for _ in range(120):
                acknowledged[0] = log.commit(log.small(digests=30)).tree_size

        thread = threading.Thread(target=write)
        thread.start()
        while thread.is_alive():
            before = acknowledged[0]
            target = tmp_path / f"copy-{len(copies)}"
            (target / "journal").mkdir(parents=True)
            for path in sorted((source / "journal").glob("*.seg"), reverse=True):
                shutil.copy(path, target / "journal" / path.name)
            copies.append((target, before))
        thread.join()
    assert judge(source).tree.size == acknowledged[0]
    for target, before in copies[:: max(1, len(copies) // 8)]:
        check_copy(target, before)


def check_copy(directory: Path, acknowledged: int) -> None:
    """A copy opens, is repaired if it must be, holds what was acknowledged and takes another commit."""
    with Writer(directory) as log:
        # A copy is not a point in time: only a snapshot with whole older segments is what a kill leaves.
        if log.state.damage in (core.DAMAGE_INTERIOR, core.DAMAGE_SEALED):
            return
        if log.state.damage == core.DAMAGE_TORN:
            log.journal.repair("tail")
        assert log.journal.state.damage == core.DAMAGE_NONE
        assert log.journal.state.tree_size >= acknowledged
        log.start()
        assert log.commit().status == 0
    judge(directory)


def test_find_meets_the_first_frame_that_holds_the_bytes(tmp_path: Path) -> None:
    """By type, from an offset, up to an end; digests and heads are searched, COMMITs only if asked for."""
    with Writer(tmp_path / "log").start() as log:
        for n in range(20):
            batch = log.small()
            batch.event(frames.GOVERNANCE, 1, b"needle %02d" % n, EVENT_SCOPE)
            log.commit(batch)
    with Segment(segment_path(tmp_path / "log", 0), LOG_ID) as segment:
        found = segment.find(b"needle", 1 << frames.GOVERNANCE)
        assert found is not None
        assert found.head == b"needle 00"
        again = segment.find(b"needle", 1 << frames.GOVERNANCE, found.next_offset)
        assert again is not None
        assert again.head == b"needle 01"
        assert segment.find(b"needle 09", 1 << frames.GOVERNANCE, 0, again.next_offset) is None
        end = max(frame.next_offset for frame in segment.frames())
        assert segment.find(b"needle 09", 1 << frames.REQUEST, 0, end) is None
        request = next(frame for frame in segment.frames() if frame.type == frames.REQUEST and frame.seq > 30)
        by_digest = segment.find(request.digests[32:64], 1 << frames.REQUEST)
        assert by_digest == request


def test_a_segment_of_another_log_or_none_is_refused(tmp_path: Path) -> None:
    """Wrong log_id, a file cut short, zeros, no file: each its own status."""
    with Writer(tmp_path / "log").start() as log:
        log.commit()
    path = segment_path(tmp_path / "log", 0)
    short, zeros = tmp_path / "short", tmp_path / "zeros"
    short.write_bytes(path.read_bytes()[:-PAGE])
    zeros.write_bytes(bytes(SMALL))
    cases = [
        ("SP_E_MISMATCH", path, bytes(32)),
        ("SP_E_CORRUPT", short, None),
        ("SP_E_CORRUPT", zeros, None),
        ("SP_E_SYSTEM", tmp_path / "missing", None),
    ]
    for name, file, log_id in cases:
        with pytest.raises(CoreError) as caught:
            Segment(file, log_id)
        assert caught.value.name == name


@pytest.mark.parametrize("place", [8192 + 100, 65535], ids=["a record", "the page that is filled next"])
def test_a_stray_store_faults_instead_of_changing_a_record(tmp_path: Path, place: int) -> None:
    """No mapping of a segment is writable in our own address space, not even of the page that is still filled."""
    program = f"""
import ctypes, sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})
from pathlib import Path
from kit.logs import Writer
log = Writer(Path({str(tmp_path / "log")!r})).start()
log.commit(log.small(digests=300))
at = next(int(l.split("-")[0], 16) for l in open("/proc/self/maps") if l.rstrip().endswith(".seg"))
print(ctypes.string_at(at, 6), flush=True)
ctypes.memset(at + {place}, 7, 1)
print("stored", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "b'SPJRNL'\n"
    assert done.returncode != 0
    assert judge(tmp_path / "log").commits == 1


def test_the_chain_helper_is_the_one_in_the_log(tmp_path: Path) -> None:
    """`chain` over the headers of each batch gives what the COMMITs hold."""
    with Writer(tmp_path / "log").start() as log:
        for _ in range(3):
            log.commit()
    value, headers = bytes(32), b""
    for frame in frames.frames(segments_of(tmp_path / "log")[0]):
        if frame.type == frames.COMMIT_TYPE:
            _, _, size, root, expected, _ = frames.COMMIT.unpack(frame.payload)
            value = core.chain(value, size, root, headers)
            assert value == expected
            headers = b""
        else:
            headers += frame.header
