"""Does only what nobody needs leave the journal, and does the log go on, and take it back?"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from kit.checkers import check_log
from kit.cold import aged, archived
from kit.filesystems import tmpfs
from kit.logs import segment_path
from kit.scribe import NAME, Scribe
from sealpress.core.segment import segment_name
from sealpress.errors import Damaged, Invalid
from sealpress.tlog import archive, standing
from sealpress.tlog.archived import Part
from sealpress.tlog.whole import whole
from sealpress.values import Mode

NOBODY = 65_534
NOTHING_ARCHIVED = f'{{"name": "{NAME}", "log_number": 1, "sealed_size": 0, "governed": false, "parts": []}}'


def test_an_archived_log_verifies_numbers_and_goes_on(tmp_path: Path) -> None:
    """Segments move out beside the open log; new ones follow, proofs of old leaves are made, the whole verifies."""
    scribe = aged(tmp_path)
    proof = scribe.log.tree.inclusion(2, scribe.log.size)
    moved = archived(scribe, tmp_path / "cold", window_s=86_400)
    assert [part.number for part in moved] == list(range(len(moved)))
    assert len(moved) >= 2
    scribe.history(40)
    scribe.log.close()
    log = scribe.open()  # the tree is adopted, the window folded
    assert log.tree.inclusion(2, 3 if log.size < 3 else proof_size(scribe, moved)) is not None
    assert proof
    scribe.request(2)
    log.close()
    with whole(scribe.settings.directory) as view:
        report = check_log(view, keys=scribe.signer.vkeys)
    assert report.tree_size == log.size
    assert not segment_path(scribe.settings.directory, 0).exists()


def proof_size(scribe: Scribe, moved: list[Part]) -> int:
    """A tree size that ends in an archived segment."""
    return moved[-1].tree_size


def test_only_what_is_old_and_sealed_is_archived(scribe: Scribe, tmp_path: Path) -> None:
    """Neither the active segment, nor the newest sealed ones, nor one with a record of the idempotency window."""
    scribe.history(200)
    last = scribe.log.reader.end.segment
    assert archived(scribe, tmp_path / "cold", window_s=1 << 30) == []
    assert archived(scribe, tmp_path / "cold", keep=last) == []
    assert [part.number for part in archived(scribe, tmp_path / "cold", keep=2)] == list(range(last - 2))
    assert archived(scribe, tmp_path / "cold", keep=2) == []
    assert [part.number for part in archived(scribe, tmp_path / "cold", keep=0)] == [last - 2]


def test_what_was_signed_directly_counts_as_signed_when_it_is_archived(tmp_path: Path) -> None:
    """An older mark is found out, though every OUTCOME of a direct line left the journal."""
    scribe = Scribe(tmp_path / "log", governance=False, window_s=1)
    scribe.open()
    for _ in range(2):
        act, *_ = scribe.request(2, mode=Mode.DIRECT)
        scribe.sign(act, [b"s" * 70] * 2)
        size = scribe.log.size - 1
        scribe.log.seal_segment()
    for _ in range(2):
        scribe.clock.advance(60)
        scribe.refuse()
        scribe.log.seal_segment()
    scribe.log.close()
    assert scribe.open().recovered.sealed_size == size
    scribe.log.close()
    archived(scribe, tmp_path / "cold")
    log = scribe.open()
    assert log.recovered.sealed_size == size
    with pytest.raises(Damaged) as refusal:
        log.check_mark(0, log.root(0))
    assert refusal.value.reason == "MARK_BEHIND_LOG"
    log.close()


def test_archived_segments_give_their_room_back(tmp_path: Path) -> None:
    """Beside an open log that has read them: no index is left of them, and once it let go no mapping."""
    scribe = aged(tmp_path)
    reader, journal = scribe.log.reader, scribe.settings.directory / "journal"
    for number in reader.numbers()[:-1]:
        reader.indexes.make(number)
    moved = archived(scribe, tmp_path / "cold")
    left = {path.stem for path in (scribe.settings.directory / "index").glob("*.idx")}
    assert left == {path.stem for path in journal.glob("*.seg") if int(path.stem) < reader.end.segment}
    reader.let_go()
    mapped = Path("/proc/self/maps").read_text()
    assert [part.number for part in moved if str(journal / segment_name(part.number)) in mapped] == []
    assert str(journal / segment_name(reader.end.segment)) in mapped
    scribe.log.close()


def test_a_segment_is_archived_without_a_look_at_those_that_went_before(
    scribe: Scribe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run passes over what is archived once, not with each segment that it moves: that could be most of its work."""
    for _ in range(21):
        scribe.request(1)
        scribe.log.seal_segment()
    archived(scribe, tmp_path / "cold", keep=10)
    unlink, gone = Path.unlink, list[str]()
    monkeypatch.setattr(Path, "unlink", lambda path, **how: gone.append(path.name) or unlink(path, **how))
    moved = archived(scribe, tmp_path / "cold")
    assert len(moved) == 9
    assert max(map(gone.count, (segment_name(number) for number in range(20)))) == 1


def test_a_disk_without_a_free_byte_can_be_archived(tmp_path: Path) -> None:
    """The list is written to the blocks of an index: archiving is what an operator does with a full disk."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    with tmpfs(tmp_path / "disk", 32) as place:
        scribe = aged(place)
        for number in scribe.log.reader.numbers()[:-1]:
            scribe.log.reader.indexes.make(number)
        with (place / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        assert os.statvfs(place).f_bfree == 0
        scribe.log.reader.indexes.close()
        assert len(archived(scribe, tmp_path / "cold")) >= 2
        assert os.statvfs(place).f_bfree > 0
        scribe.log.close()


def test_a_new_archive_is_durable_before_anything_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut takes no directory away that holds the only copy of a segment: their names are synced, too."""
    scribe = aged(tmp_path)
    scribe.log.close()
    to, synced = tmp_path / "other" / "disk" / "cold", list[Path]()
    journal, before = scribe.settings.directory / "journal", list[list[Path]]()

    def sync(path: Path) -> None:
        if path == journal and not segment_path(scribe.settings.directory, 0).exists():
            before.append(list(synced))
        synced.append(path)

    for module in (standing, archive):
        monkeypatch.setattr(module, "sync_directory", sync)
    assert archived(scribe, to)
    assert {tmp_path, tmp_path / "other", tmp_path / "other" / "disk", to} <= set(before[0])


def test_archived_segments_come_back_byte_by_byte(tmp_path: Path) -> None:
    """unarchive undoes archive, also where the archive was moved."""
    scribe = aged(tmp_path)
    scribe.log.close()
    journal = scribe.settings.directory / "journal"
    before = {path.name: path.read_bytes() for path in journal.iterdir()}
    moved = archived(scribe, tmp_path / "cold")
    shutil.move(tmp_path / "cold", tmp_path / "elsewhere")
    with pytest.raises(Invalid) as refusal:
        archive.bring_back(scribe.settings.directory)
    assert refusal.value.reason == "ARCHIVE_MISSING"
    assert archive.bring_back(scribe.settings.directory, tmp_path / "elsewhere") == [part.number for part in moved]
    assert before == {path.name: path.read_bytes() for path in journal.iterdir()}


@pytest.mark.parametrize("which", ["older_s", "window_s"])
def test_a_segment_stays_as_long_as_its_youngest_record_is_wanted(scribe: Scribe, tmp_path: Path, which: str) -> None:
    """To the second: all in it is older than the beginning of the next, and that is what counts."""
    for _ in range(3):
        scribe.request(1)
        scribe.log.seal_segment()
        scribe.clock.advance(1_000)
    scribe.request(1)
    directory = scribe.settings.directory
    next_s = -(-standing.look(directory).headers[1].created_ns // 10**9)
    kept = {"keep": 1, "older_s": 0, "window_s": 0}

    assert archive.archive(directory, tmp_path / "cold", **kept | {which: 51}, now_s=next_s + 50) == []
    (moved,) = archive.archive(directory, tmp_path / "cold", **kept | {which: 50}, now_s=next_s + 50)
    assert moved.number == 0
