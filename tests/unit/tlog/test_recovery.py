"""Opening after a crash: a torn tail is repaired and recorded, damage is refused, derived files are made again."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from kit.checkers import check_log
from kit.scribe import Scribe
from sealpress.errors import CannotStart, Damaged
from sealpress.tlog.entry import OutcomeStatus, RecoveryEvent
from sealpress.tlog.log import Log
from sealpress.values import Mode


def segment(scribe: Scribe, number: int) -> Path:
    """The file of a segment."""
    return scribe.settings.directory / "journal" / f"{number:020}.seg"


def flip(path: Path, offset: int) -> None:
    """Turn one bit."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def tear(scribe: Scribe) -> tuple[Path, int]:
    """Leave a batch that a crash cut short behind the last COMMIT: file and offset."""
    end = scribe.log.reader.end
    scribe.request(3)
    scribe.log.close()
    path = segment(scribe, end.segment)
    data = path.read_bytes()
    last = scribe.log.reader.end.offset  # behind its records; its COMMIT follows
    path.write_bytes(data[: last + 40] + bytes(len(data) - last - 40))
    return path, last


def test_a_torn_tail_is_copied_zeroed_and_recorded(scribe: Scribe) -> None:
    """The bytes of a batch without its COMMIT are kept in broken/, and the log says what it did."""
    scribe.request(1)
    size, root = scribe.log.size, scribe.log.root()
    tear(scribe)
    log = Log.open(scribe.settings, scribe.clock, scribe.entropy)
    assert (size, root) == (log.size, log.root())
    assert log.recovered.torn is not None
    assert not list((scribe.settings.directory / "broken").iterdir())  # nothing is touched before the mark was asked
    log.check_mark(size, root)
    log.start(None)
    scribe.log = log
    events = [record.event for record in log.records() if isinstance(record.event, RecoveryEvent)]

    (copy,) = (scribe.settings.directory / "broken").iterdir()
    assert ["torn_tail"] == [event.kind for event in events]
    assert hashlib.sha256(copy.read_bytes()).digest() == events[0].copy_sha256
    assert copy.stem == events[0].copy_name.removesuffix(".tail")
    assert size == events[0].tree_size
    scribe.request(2)
    scribe.reopen()
    assert 1 == sum(isinstance(record.event, RecoveryEvent) for record in scribe.log.records())
    scribe.log.close()
    check_log(scribe.settings.directory)


def test_a_repair_that_was_interrupted_is_recorded_later(scribe: Scribe) -> None:
    """Killed between the repair and its record: the copy in broken/ brings the record back."""
    scribe.request(1)
    tear(scribe)
    log = Log.open(scribe.settings, scribe.clock, scribe.entropy)
    log._journal.repair(f"{0:020}.8192-9000.1.tail")
    log.close()
    scribe.open()

    events = [record.event for record in scribe.log.records() if isinstance(record.event, RecoveryEvent)]
    assert [(0, 8192, 9000)] == [(event.segment, event.damage_from, event.damage_to) for event in events]


def test_a_tail_torn_below_the_mark_is_refused_and_kept(scribe: Scribe) -> None:
    """What the signer has seen was durable: its loss is no torn write, and nothing is repaired away."""
    scribe.request(1)
    end = scribe.log.reader.end
    scribe.request(3)
    size, root = scribe.log.size, scribe.log.root()
    scribe.log.close()
    flip(segment(scribe, end.segment), scribe.log.reader.end.offset - 8)
    before = segment(scribe, end.segment).read_bytes()
    log = Log.open(scribe.settings, scribe.clock, scribe.entropy)
    scribe.log = log
    with pytest.raises(Damaged) as caught:
        log.check_mark(size, root)

    assert "LOG_BEHIND_MARK" == caught.value.reason
    assert "restore" in caught.value.hint
    log.close()
    assert before == segment(scribe, end.segment).read_bytes()


def test_mark_and_journal_must_agree(scribe: Scribe) -> None:
    """Another root, and a mark behind a head that the journal shows as signed, are exit 3 with the next step."""
    (act,) = scribe.request(2)
    scribe.seal(act)
    sealed = scribe.log.recovered.sealed_size
    scribe.reopen()
    log = scribe.log

    assert 0 == sealed
    assert 3 == log.recovered.sealed_size
    log.check_mark(3, log.root(3))
    log.check_mark(log.size, log.root())
    for size, root, reason in [
        (3, bytes(32), "LOG_DIFFERS_FROM_MARK"),
        (2, log.root(2), "MARK_BEHIND_LOG"),
        (log.size + 1, bytes(32), "LOG_BEHIND_MARK"),
    ]:
        with pytest.raises(Damaged) as caught:
            log.check_mark(size, root)
        assert reason == caught.value.reason
        assert caught.value.hint


def test_damage_before_a_commit_is_refused_with_its_range(scribe: Scribe) -> None:
    """A bit that turned inside the active segment is no torn tail: exit 3, the range, and nothing changed."""
    acts = [scribe.request(1)[0] for _ in range(5)]
    scribe.log.close()
    where = acts[1].where
    flip(segment(scribe, where.segment), where.offset + 100)
    with pytest.raises(Damaged) as caught:
        scribe.open()

    assert "LOG_DAMAGED" == caught.value.reason
    assert f"segment {where.segment} is damaged from byte {where.offset}" in caught.value.message
    assert "restore" in caught.value.hint


def test_damage_in_a_sealed_segment_of_the_window_is_refused(scribe: Scribe) -> None:
    """Older segments are read when they are folded."""
    acts = [scribe.request(1)[0] for _ in range(3)]
    scribe.log.seal_segment()
    scribe.request(1)
    scribe.log.seal_segment()
    scribe.request(1)
    scribe.log.close()
    flip(segment(scribe, 0), acts[1].where.offset + 50)
    with pytest.raises(Damaged) as caught:
        scribe.open()

    assert "segment 0" in caught.value.message


def test_a_missing_segment_is_refused(scribe: Scribe) -> None:
    """Nobody deletes history to make room."""
    for _ in range(3):
        scribe.request(1)
        scribe.log.seal_segment()
    scribe.log.close()
    segment(scribe, 1).unlink()
    with pytest.raises(Damaged) as caught:
        scribe.open()

    assert "segment 1" in caught.value.message


@pytest.mark.parametrize("spoil", ["missing", "edge", "empty", "old"])
def test_a_wrong_tree_is_rebuilt(scribe: Scribe, spoil: str) -> None:
    """tree/ is derived: missing, damaged at its edge, cut or stale, it is made again from the records."""
    tree = scribe.settings.directory / "tree"
    for round_ in range(3):
        scribe.request(7, 5)
        if round_ == 1:
            stale = shutil.copytree(tree, tree.with_name("stale"))
        scribe.log.seal_segment()
    (act,) = scribe.request(3)
    size, root = scribe.log.size, scribe.log.root()
    scribe.log.close()
    if spoil == "missing":
        shutil.rmtree(tree)
    elif spoil == "edge":
        for level in (0, 1, 2, 3, 4, 5):
            flip(tree / f"level-{level:02}", 31 + 32 * ((36 >> level) - 1))
    elif spoil == "empty":
        for path in tree.iterdir():
            path.write_bytes(b"")
    else:
        shutil.rmtree(tree)
        shutil.copytree(stale, tree)
    shutil.rmtree(tree.with_name("stale"), ignore_errors=True)
    log = scribe.open()

    assert log.recovered.tree_rebuilt
    assert (size, root) == (log.size, log.root())
    assert log.stored(act.where).leaf_hashes()[:32] == log.leaf_hash(act.placed.first_leaf)
    log.close()
    assert "match" == check_log(scribe.settings.directory).tree_files
    assert not scribe.open().recovered.tree_rebuilt


def test_dangling_requests_are_found_with_their_openings(scribe: Scribe) -> None:
    """Requests without an outcome come back with all that sealing them needs; those with one do not."""
    sealed, dangling, lapsed, direct, partial = (
        scribe.request(2)[0],
        scribe.request(3, names=True)[0],
        scribe.request(1)[0],
        scribe.request(2, mode=Mode.DIRECT)[0],
        scribe.request(2, mode=Mode.DIRECT)[0],
    )
    scribe.seal(sealed)
    scribe.seal(lapsed, status=OutcomeStatus.LAPSED)
    scribe.sign(partial, [b"x", b""], OutcomeStatus.PARTIAL)
    found = scribe.reopen().recovered.dangling

    assert [dangling.where, direct.where] == [each.where for each in found]
    assert dangling.record == found[0].spec.record
    assert dangling.event == found[0].event
    expected = [scribe.log.leaf_hash(dangling.placed.first_leaf + i) for i in range(3)]
    assert b"".join(expected) == found[0].leaf_hashes()


def test_the_last_policy_is_found_however_old(scribe: Scribe) -> None:
    """An idle node's policy stands in no segment of the window."""
    seq = scribe.policy(b"old")
    assert seq + 2 == scribe.policy(b"new")
    for _ in range(3):
        scribe.clock.advance(86_400)
        scribe.log.seal_segment()
        scribe.seal(*scribe.request(1, policy_sha256=hashlib.sha256(b"new").digest(), governance_seq=seq + 2))
    recovered = scribe.reopen().recovered
    assert (hashlib.sha256(b"new").digest(), seq + 2) == (recovered.policy_sha256, recovered.governance_seq)
    scribe.clock.advance(3 * 86_400)
    recovered = scribe.reopen().recovered

    assert (hashlib.sha256(b"new").digest(), seq + 2) == (recovered.policy_sha256, recovered.governance_seq)
    assert 0 == len(recovered.known)
    assert scribe.log.size - 1 == recovered.sealed_size


def test_another_logs_directory_is_refused(scribe: Scribe) -> None:
    """A wrong name or number in the configuration does not continue this log."""
    scribe.log.close()
    other = Scribe(scribe.settings.directory)
    object.__setattr__(other.settings, "number", 2)
    with pytest.raises(Damaged) as caught:
        other.open()

    assert "another log" in caught.value.message
    scribe.open()


def test_a_directory_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    """A file where the directory should be: CannotStart, not a traceback."""
    (tmp_path / "log").write_text("")
    with pytest.raises(CannotStart) as caught:
        Scribe(tmp_path / "log").open()

    assert "LOG_UNAVAILABLE" == caught.value.reason


def test_progress_is_told(scribe: Scribe) -> None:
    """A long start can show how far it is."""
    for _ in range(4):
        scribe.request(1)
        scribe.log.seal_segment()
    scribe.log.close()
    shutil.rmtree(scribe.settings.directory / "tree")
    told: list[tuple[int, int]] = []
    scribe.log = Log.open(scribe.settings, scribe.clock, scribe.entropy, lambda done, todo: told.append((done, todo)))

    assert [(i, 4) for i in range(5)] == told
