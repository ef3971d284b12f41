"""The pass over stored frames finds what was written, and computes what an implementation by hand computes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from kit import frames
from kit.scribe import NAME, Scribe
from sealpress.core import reference, replay
from sealpress.core.merkle import Tree
from sealpress.core.replay import Replay
from sealpress.core.segment import Segment, segment_name
from sealpress.errors import CoreError
from sealpress.tlog.reader import LogReader
from sealpress.tlog.record import Record
from sealpress.values import DigestAlgorithm, Mode, RecordType


def segments(scribe: Scribe) -> list[Path]:
    """Files that hold frames."""
    folder = scribe.settings.directory / "journal"
    return [folder / segment_name(number) for number in range(scribe.log.reader.end.segment + 1)]


def by_hand(record: Record) -> list[bytes]:
    """The leaf hashes of a record, with hashlib only."""
    digests, size = record.digests, record.spec(NAME).algorithm
    if record.type is not RecordType.REQUEST:
        return [reference.leaf_hash(record.spec(NAME), bytes(16), b"")]
    size = record.event.algorithm.size  # type: ignore[union-attr]
    return [
        reference.leaf_hash(record.spec(NAME), reference.salt(record.salt_seed, i), digests[i * size : (i + 1) * size])
        for i in range(record.head.count)
    ]


def replayed(scribe: Scribe, replay_: Replay) -> bytes:
    """All leaf hashes of a log."""
    out = b""
    for path in segments(scribe):
        with Segment(path) as segment:
            replay_.enter(segment)
            step = replay_.run(segment)
            out += replay_.leaf_hashes()
            while step.what == replay.MORE:
                step = replay_.run(segment, step.offset)
                out += replay_.leaf_hashes()
            assert step.what in (replay.SEALED, replay.END), step
    return out


def written(directory: Path, seed: int) -> Scribe:
    """A closed log with all algorithms, both modes, names, and requests of one and of many items."""
    scribe = Scribe(directory / "log", seed)
    scribe.open()
    scribe.history(40)
    for algorithm in DigestAlgorithm:
        event = scribe.event(Mode.PROOF, algorithm=algorithm)
        draft = scribe.log.draft()
        for count in (1, 2, 70):
            draft.request(
                event, None, scribe.entropy.bytes(32), b"", scribe.entropy.bytes(algorithm.size * count), count
            )
        scribe.log.commit_now(draft)
    scribe.history(40)
    scribe.log.close()
    return scribe


@pytest.mark.parametrize("seed", range(8))
def test_leaves_and_root_are_those_of_the_reference(tmp_path: Path, seed: int) -> None:
    """Leaf by leaf and at the end the same as hashlib, RFC 6962 by hand, and a reader of frames with struct alone."""
    scribe = written(tmp_path, seed)
    reader = LogReader(scribe.settings.directory, NAME, scribe.settings.log_id)
    reader.end = scribe.log.reader.end
    expected = [leaf for record in reader.records() for leaf in by_hand(record)]
    replay_ = Replay(NAME)
    found = replayed(scribe, replay_)
    state = replay_.state

    assert b"".join(expected) == found
    assert reference.ReferenceTree(expected).root(len(expected)) == state.root
    raw = [frame for path in segments(scribe) for frame in frames.frames(path.read_bytes())]
    assert (len(raw), raw[-1].seq + 1) == (state.frames, state.next_seq)
    assert sum(frame.type == RecordType.COMMIT for frame in raw) == state.commits
    assert replay_.records == [sum(frame.type == type_ for frame in raw) if 0 < type_ < 6 else 0 for type_ in range(8)]
    assert frames.COMMIT.unpack(raw[-1].payload)[3:5] == (state.root, state.chain)


def test_it_may_start_at_any_segment(tmp_path: Path) -> None:
    """With the frontier of the header's root the rest gives the same end; with another one it refuses."""
    scribe = written(tmp_path, 3)
    whole = Replay(NAME)
    tree = Tree()
    tree.append(replayed(scribe, whole))
    for path in segments(scribe)[1:]:
        with Segment(path) as segment:
            later = Replay(NAME)
            frontier = tree.frontier(segment.header.tree_size)
            with pytest.raises(CoreError):
                later.begin(segment, bytes(len(frontier)))
            later.begin(segment, frontier)
            later.enter(segment)
            assert later.run(segment).sizes
    tree.close()


def test_another_log_name_gives_another_root(tmp_path: Path) -> None:
    """The name stands in every leaf's scope: nothing of one log is taken for another's."""
    scribe = written(tmp_path, 1)
    with Segment(segments(scribe)[0]) as segment:
        other = Replay(NAME + "x")
        other.enter(segment)
        step = other.run(segment)

    assert (replay.BAD, "ROOT", 0) == (step.what, step.reason, other.state.commits)


def test_segments_must_follow_one_another(tmp_path: Path) -> None:
    """A header that does not continue the state is refused."""
    scribe = written(tmp_path, 2)
    first, second = segments(scribe)[:2]
    with Segment(first) as one, Segment(second) as two:
        replay_ = Replay(NAME)
        with pytest.raises(CoreError):
            replay_.enter(two)
        replay_.enter(one)
        replay_.run(one, 0, 9_000)
        with pytest.raises(CoreError):
            replay_.enter(two)


def test_a_run_ends_where_it_is_told(tmp_path: Path) -> None:
    """Nothing behind `end` is looked at; a batch that crosses it has no COMMIT yet."""
    scribe = written(tmp_path, 4)
    with Segment(segments(scribe)[0]) as segment:
        places = list(segment.frames())
        commit = next(frame for frame in places[20:] if frame.type == RecordType.COMMIT)
        for end, what in ((commit.next_offset, replay.END), (commit.offset, replay.TORN)):
            replay_ = Replay(NAME)
            replay_.enter(segment)
            step = replay_.run(segment, 0, end)
            assert what == step.what
            assert step.offset <= end


def test_work_is_counted_as_the_shapes_need_it(tmp_path: Path) -> None:
    """One request of 1,000 sha256 digests: two shared blocks, a block each, half a block of salt, two per node."""
    scribe = Scribe(tmp_path / "log", segment_bytes=1 << 20)
    scribe.open()
    scribe.request(1_000)
    scribe.log.close()
    replay_ = Replay(NAME)
    leaves = replayed(scribe, replay_)
    head = next(frame.head for frame in Segment(segments(scribe)[0]).frames() if frame.type == RecordType.REQUEST)
    blocks = replay_.work().compressions
    needed = 2 + 1_000 + 500 + 2 * (1_000 - 1) + (40 + len(head) + 9 + 63) // 64
    assert hashlib.sha256().digest() != replay_.state.root
    assert len(leaves) == 32 * 1_001
    # and leaf 0, two COMMITs' folds and chains: a few dozen
    assert needed < blocks < needed + 60
