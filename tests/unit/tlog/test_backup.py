"""Copies of a log: a durable prefix, verified, never mixed from two histories, and restored whole."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kit.checkers import check_log
from kit.disk import FaultDisk
from kit.filesystems import tmpfs
from kit.logs import flip, segment_path
from kit.scribe import NAME, Scribe
from sealpress.cli.app import build
from sealpress.core.segment import FIRST_FRAME, segment_name
from sealpress.errors import CannotStart, ConfigError, Damaged, Invalid
from sealpress.tlog import archive, backup, checkpoint, standing
from sealpress.tlog.check import check_log as judge
from sealpress.tlog.log import Log
from sealpress.tlog.record import Record
from sealpress.tlog.standing import Standing
from sealpress.values import Mode, RecordType

NOBODY = 65534
NOBODY = 65_534
NOTHING_ARCHIVED = f'{{"name": "{NAME}", "log_number": 1, "sealed_size": 0, "governed": false, "parts": []}}'


def backup_of(directory: Path) -> object:
    """Copied."""
    return backup.backup(directory, Path("copy"))


def opened(directory: Path) -> object:
    """By a daemon."""
    return Scribe(directory, 3).open()


def verified(directory: Path) -> object:
    """As `log verify` does."""
    with archive.reading(directory) as files:
        return judge(directory, *archive.identity(directory), files=files)


def test_a_backup_beside_an_open_log_holds_everything_durable(scribe: Scribe, tmp_path: Path) -> None:
    """Sealed segments and the active one up to its last COMMIT; the copy is a log that the judge accepts."""
    scribe.history(150)
    made, copied = backup.backup(scribe.settings.directory, tmp_path / "copy")
    report = check_log(tmp_path / "copy", keys=scribe.signer.vkeys)
    assert (made.tree_size, bytes.fromhex(made.root)) == (scribe.log.size, scribe.log.root())
    assert (report.tree_size, report.next_seq) == (scribe.log.size, scribe.log.next_seq)
    assert copied == scribe.log.reader.end.segment + 1 >= 3


def test_a_later_backup_copies_only_what_is_new(scribe: Scribe, tmp_path: Path) -> None:
    """Sealed segments are copied once, the active one each time."""
    scribe.history(150)
    backup.backup(scribe.settings.directory, tmp_path / "copy")
    first = scribe.log.reader.end.segment
    old = {number: segment_path(tmp_path / "copy", number).stat().st_mtime_ns for number in range(first)}
    scribe.history(60)
    made, copied = backup.backup(scribe.settings.directory, tmp_path / "copy")
    assert copied == scribe.log.reader.end.segment - first + 1
    assert old == {number: segment_path(tmp_path / "copy", number).stat().st_mtime_ns for number in range(first)}
    assert made.tree_size == scribe.log.size


def test_a_backup_never_takes_the_place_of_what_a_daemon_writes(scribe: Scribe, tmp_path: Path) -> None:
    """A log copied to itself, or its backup to it: refused, and the log loses nothing that it gets from then on."""
    scribe.history(150)
    directory = scribe.settings.directory
    backup.backup(directory, tmp_path / "copy")
    (tmp_path / "link").symlink_to(directory)
    for source, target in ((directory, directory), (directory, tmp_path / "link"), (tmp_path / "copy", directory)):
        with pytest.raises(CannotStart) as caught:
            backup.backup(source, target)
        assert caught.value.reason == "LOG_IN_USE"
    scribe.request(3)
    size = scribe.log.size
    scribe.log.close()

    assert check_log(directory).tree_size == size


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files that are another's")
def test_what_root_makes_in_a_log_is_the_daemons(scribe: Scribe, tmp_path: Path) -> None:
    """Restored, archived or brought back by root, the log can be read and written by the user who owns its place."""
    scribe.history(150)
    scribe.log.close()
    backup.backup(scribe.settings.directory, tmp_path / "copy")
    place = tmp_path / "data"
    place.mkdir()
    os.chown(place, NOBODY, NOBODY)

    def owners() -> set[int]:
        return {path.stat().st_uid for path in place.rglob("*")}

    backup.restore(tmp_path / "copy", place / "ci")
    assert owners() == {NOBODY}
    assert archive.archive(place / "ci", tmp_path / "archive", keep=1, older_s=0, window_s=0, now_s=1 << 33)
    assert owners() == {NOBODY}
    assert archive.bring_back(place / "ci")
    assert owners() == {NOBODY}
    assert {path.stat().st_uid for path in (tmp_path / "archive").rglob("*")} == {0}


def test_two_backups_at_once_never_share_a_place(
    scribe: Scribe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second is refused, while the first copies and while it verifies: neither writes into the other's files."""
    scribe.history(60)
    directory, copy, refusals = scribe.settings.directory, tmp_path / "copy", list[str]()

    def beside(real: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object) -> object:
            with monkeypatch.context() as patch, pytest.raises(CannotStart) as refusal:
                patch.setattr(backup, real.__name__, real)
                backup.backup(directory, copy)
            refusals.append(refusal.value.reason)
            return real(*arguments)

        return step

    with monkeypatch.context() as patch:
        for step in (backup._copy_rest, backup._verified):
            patch.setattr(backup, step.__name__, beside(step))
        backup.backup(directory, copy)
    assert refusals == ["LOG_IN_USE", "LOG_IN_USE"]
    assert backup.backup(directory, copy)[0].tree_size == scribe.log.size


def test_a_log_is_kept_where_directories_cannot_be_locked(
    scribe: Scribe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on NFS, which locks only what is open for writing: backup and archive do without."""

    def flock(_file: int, _how: int) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    scribe.history(150)
    monkeypatch.setattr(fcntl, "flock", flock)
    assert archived(scribe, tmp_path / "cold")
    assert backup.backup(scribe.settings.directory, tmp_path / "copy")[0].tree_size == scribe.log.size


def test_a_batch_that_is_being_written_is_left_out(scribe: Scribe, tmp_path: Path) -> None:
    """Frames without their COMMIT are zeros in the copy."""
    scribe.request(3)
    end = scribe.log.reader.end
    with segment_path(scribe.settings.directory, end.segment).open("r+b") as file:
        file.seek(end.offset + 160)  # behind the COMMIT
        file.write(b"half of a frame" * 9)
    made, _ = backup.backup(scribe.settings.directory, tmp_path / "copy")
    assert made.tree_size == scribe.log.size
    check_log(tmp_path / "copy")


def test_a_head_published_meanwhile_is_left_for_the_next_backup(
    scribe: Scribe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy's checkpoint is of records that the copy holds, however quickly the log grows beside it."""
    directory, real = scribe.settings.directory, backup.look

    def publish() -> int:
        scribe.request(3)
        checkpoint.write(directory, scribe.signer.note(scribe.log.size, scribe.log.root(), 1, line=False))
        return scribe.log.size

    def look(seen: Path) -> Standing:
        found = real(seen)
        if seen == directory:
            publish()
        return found

    size = publish()
    with monkeypatch.context() as patch:
        patch.setattr(backup, "look", look)
        made, _ = backup.backup(directory, tmp_path / "copy")
    found = checkpoint.read(tmp_path / "copy")
    assert found is not None
    assert found.note.size == made.tree_size == size
    assert backup.backup(directory, tmp_path / "copy")[0].tree_size == scribe.log.size > size


def test_a_restored_log_opens_and_goes_on(scribe: Scribe, tmp_path: Path) -> None:
    """The tree is made again; what was known before the backup is known after it."""
    scribe.history(120)
    known = scribe.known()
    scribe.log.close()
    backup.backup(scribe.settings.directory, tmp_path / "copy")
    report = backup.restore(tmp_path / "copy", tmp_path / "restored")
    again = Scribe(tmp_path / "restored")
    again.clock = scribe.clock
    log = again.open()
    assert (log.size, log.root()) == (report.tree_size, report.root)
    assert scribe.known(log) == known
    again.request(2)
    log.close()
    check_log(tmp_path / "restored", keys=scribe.signer.vkeys)


def test_a_restored_log_older_than_the_mark_is_refused(scribe: Scribe, tmp_path: Path) -> None:
    """LOG_BEHIND_MARK, and the text says what to do and what not."""
    scribe.request(3)
    backup.backup(scribe.settings.directory, tmp_path / "copy")
    scribe.request(2)
    size, root = scribe.log.size, scribe.log.root()
    backup.restore(tmp_path / "copy", tmp_path / "restored")
    again = Scribe(tmp_path / "restored")
    log = Log.open(again.settings, scribe.clock, again.entropy)
    with pytest.raises(Damaged) as refusal:
        log.check_mark(size, root)
    log.close()
    assert refusal.value.reason == "LOG_BEHIND_MARK"
    assert "DAMAGED-LOG.md" in refusal.value.hint


def test_another_history_never_replaces_a_backup(scribe: Scribe, tmp_path: Path) -> None:
    """A fork, an older state and another log are refused, and the backup stays as it was."""
    directory, copy = scribe.settings.directory, tmp_path / "copy"
    scribe.history(60)
    scribe.log.close()
    old = shutil.copytree(directory, tmp_path / "old")
    scribe.open()
    scribe.request(3)
    fork = Scribe(old, seed=5)
    fork.clock = scribe.clock
    fork.open()
    fork.request(4)
    fork.request(4)
    fork.log.close()
    other = Scribe(tmp_path / "other", seed=9)
    other.settings = type(other.settings)(tmp_path / "other", "sign.example/else", 1, 64 << 10, "pwrite")
    other.open().close()
    made, _ = backup.backup(directory, copy)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    for source, reason in ((old, "BACKUP_DIFFERS"), (tmp_path / "other", "BACKUP_OTHER")):
        with pytest.raises(Invalid) as refusal:
            backup.backup(source, copy)
        assert refusal.value.reason == reason
    assert before == {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert made.tree_size == scribe.log.size


def test_a_copy_that_does_not_verify_is_not_called_good(scribe: Scribe, tmp_path: Path) -> None:
    """A flipped bit in a sealed segment: exit 3, and no backup.json that says otherwise; restore refuses it, too."""
    scribe.history(120)
    flip(segment_path(scribe.settings.directory, 0), FIRST_FRAME + 5_000)
    with pytest.raises(Damaged) as refusal:
        backup.backup(scribe.settings.directory, tmp_path / "copy")
    assert refusal.value.reason == "COPY_DAMAGED"
    assert not (tmp_path / "copy" / backup.NAME).exists()
    with pytest.raises(Damaged):
        backup.restore(tmp_path / "copy", tmp_path / "restored")
    assert not (tmp_path / "restored").exists()


def test_restore_never_writes_over_a_log(scribe: Scribe, tmp_path: Path) -> None:
    """The damaged directory may hold records that no copy has."""
    backup.backup(scribe.settings.directory, tmp_path / "copy")
    with pytest.raises(ConfigError) as refusal:
        backup.restore(tmp_path / "copy", scribe.settings.directory)
    assert refusal.value.reason == "NOT_EMPTY"
    (tmp_path / "empty").mkdir()
    backup.restore(tmp_path / "copy", tmp_path / "empty")
    check_log(tmp_path / "empty")


# ---- archive ----


def archived(scribe: Scribe, to: Path, **how: int) -> list[archive.Part]:
    """Archive as of the scribe's clock; by default all but one sealed segment, whatever their age."""
    options = {"keep": 1, "older_s": 0, "window_s": 0} | how
    return archive.archive(scribe.settings.directory, to, now_s=scribe.clock.now_ns() // 1_000_000_000 + 1, **options)


def aged(tmp_path: Path) -> Scribe:
    """A log with several segments, all of it older than the window, closed."""
    scribe = Scribe(tmp_path / "log", 3)
    scribe.open()
    scribe.history(200)
    scribe.clock.advance(2 * 86_400)
    scribe.request(1)
    return scribe


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
    with archive.whole(scribe.settings.directory) as view:
        report = check_log(view, keys=scribe.signer.vkeys)
    assert report.tree_size == log.size
    assert not segment_path(scribe.settings.directory, 0).exists()


def proof_size(scribe: Scribe, moved: list[archive.Part]) -> int:
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


@pytest.mark.parametrize("what", ["verify", "backup"])
def test_an_archived_log_is_read_in_the_room_of_one_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Below TMPDIR stands one archived segment at a time, however many there are, and nothing when it is over."""
    scribe = aged(tmp_path)
    moved = archived(scribe, tmp_path / "cold")
    scribe.log.close()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    expanded, stood = archive.expanded, []

    def counted(part: archive.Part, source: Path | None) -> Iterator[bytes]:
        yield from expanded(part, source)
        stood.append(len([path for path in (tmp_path / "tmp").rglob("*") if path.is_file()]))

    monkeypatch.setattr(archive, "expanded", counted)
    if what == "verify":
        done = CliRunner().invoke(build(), ["log", "verify", str(scribe.settings.directory)])
        assert done.exit_code == 0, done.output
    else:
        copied = backup.backup(scribe.settings.directory, tmp_path / "copy")[0]
        assert copied.tree_size == scribe.log.size
    assert len(stood) >= len(moved) > 2
    assert max(stood) <= 1
    assert list((tmp_path / "tmp").iterdir()) == []


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


@pytest.mark.parametrize("what", ["records", "find", "of_types"])
def test_who_reads_while_segments_leave_passes_over_them(tmp_path: Path, what: str) -> None:
    """An auditor's long search beside `log archive` ends as one that began later: without what is archived."""
    scribe = Scribe(tmp_path / "log", window_s=1)
    scribe.open()
    for _ in range(6):
        scribe.request(3)
        scribe.log.seal_segment()
        scribe.clock.advance(60)
    scribe.request(1)
    reader = scribe.log.reader
    search: dict[str, Callable[[], Iterator[Record]]] = {
        "records": reader.records,
        "find": lambda: reader.find(b"r", (RecordType.REQUEST,)),
        "of_types": lambda: reader.of_types((RecordType.REQUEST,)),
    }
    seen, begun = [], search[what]()
    seen.append(next(begun).seq)
    moved = {part.number for part in archived(scribe, tmp_path / "cold")}
    reader.let_go()
    seen += [record.seq for record in begun]
    left = [record.seq for record in search[what]()]
    assert len(moved) == 5
    assert left == seen if what == "find" else left == seen[-len(left) :]
    scribe.log.close()


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


def test_a_restored_log_is_durable_whole(scribe: Scribe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that never published a head: the names in it are synced before it gets its own."""
    synced = list[str]()
    backup.backup(scribe.settings.directory, tmp_path / "copy")
    for module in (standing, backup):
        monkeypatch.setattr(module, "sync_directory", lambda path: synced.append(path.name))
    backup.restore(tmp_path / "copy", tmp_path / "new" / "restored")
    assert synced[-1] == "new"
    assert {tmp_path.name, "new", ".restored.restoring", "journal"} <= set(synced[:-1])


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


def test_a_start_that_needs_archived_records_says_so(tmp_path: Path) -> None:
    """Without the tree's files, or for a longer window, exit 4 names the segments; nothing is made up."""
    scribe = aged(tmp_path)
    scribe.log.close()
    moved = archived(scribe, tmp_path / "cold", window_s=86_400)
    kept = scribe.settings
    scribe.settings = type(kept)(kept.directory, kept.name, kept.number, kept.segment_bytes, "pwrite", window_s=1 << 30)
    with pytest.raises(CannotStart) as longer:
        scribe.open()
    scribe.settings = kept
    shutil.rmtree(kept.directory / "tree")
    with pytest.raises(CannotStart) as no_tree:
        scribe.open()
    for refusal in (longer, no_tree):
        assert refusal.value.reason == "LOG_ARCHIVED"
        assert f"0 to {moved[-1].number}" in refusal.value.message
    archive.bring_back(kept.directory)
    scribe.open().close()
    check_log(kept.directory)


def test_a_missing_segment_that_nobody_archived_is_damage(tmp_path: Path) -> None:
    """The list says what may be away; anything else is refused."""
    scribe = aged(tmp_path)
    scribe.log.close()
    archived(scribe, tmp_path / "cold", keep=3)
    (_, first, *_) = sorted((scribe.settings.directory / "journal").glob("*.seg"))
    (scribe.settings.directory / "journal" / first.name).with_name(
        sorted(path.name for path in (scribe.settings.directory / "journal").glob("*.seg"))[0]
    ).unlink()
    with pytest.raises(Damaged) as refusal:
        scribe.open()
    assert refusal.value.reason == "LOG_DAMAGED"


def test_archiving_killed_anywhere_is_put_right_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the journal, in the archive, or in both: never in neither, and the log opens each time."""
    scribe = aged(tmp_path)
    scribe.log.close()
    directory = scribe.settings.directory
    steps = ("_compressed", "expanded", "_write_list", "_remove")
    for number, step in enumerate(steps):
        copy = shutil.copytree(directory, tmp_path / f"log-{number}")
        real = getattr(archive, step)

        def killed(*arguments: object, real: object = real) -> object:
            raise KeyboardInterrupt

        scribe.settings = type(scribe.settings)(copy, scribe.settings.name, 1, 64 << 10, "pwrite", governance=True)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(archive, step, killed)
            archived(scribe, tmp_path / f"cold-{number}")
        scribe.open().close()
        moved = archived(scribe, tmp_path / f"cold-{number}")
        scribe.open().close()
        with archive.whole(copy) as view:
            check_log(view, keys=scribe.signer.vkeys)
        assert len((archive.listed(copy) or archive).parts) >= len(moved) > 0 or step == "_remove"


def test_no_segment_leaves_while_the_log_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`log archive` beside a verification or a backup is refused and moves nothing: neither of them fails for it."""
    scribe = aged(tmp_path)
    directory = scribe.settings.directory
    with archive.whole(directory), pytest.raises(CannotStart) as beside_verify:
        archived(scribe, tmp_path / "cold")
    real, refusals = backup._left, [beside_verify.value.reason]

    def left(directory: Path, standing: Standing) -> dict[int, archive.Part]:
        with pytest.raises(CannotStart) as beside_backup:
            archived(scribe, tmp_path / "cold")
        refusals.append(beside_backup.value.reason)
        return real(directory, standing)

    monkeypatch.setattr(backup, "_left", left)
    backup.backup(directory, tmp_path / "copy")
    assert refusals == ["LOG_IN_USE", "LOG_IN_USE"]
    assert archived(scribe, tmp_path / "cold")


def test_records_are_shown_without_the_archive_of_those_before_them(tmp_path: Path) -> None:
    """`log show --from`: only what stands from there on is expanded, or missed where the archive is away."""
    scribe = aged(tmp_path)
    moved = archived(scribe, tmp_path / "cold")
    scribe.log.close()
    for part in moved[:-1]:
        (tmp_path / "cold" / f"{part.number:020}.seg.gz").unlink()
    run = partial(CliRunner().invoke, build("log"))
    last, behind = moved[-1].first_seq, standing.look(scribe.settings.directory).headers[moved[-1].number + 1].first_seq
    show = ["log", "show", str(scribe.settings.directory), "--limit", "1", "--from"]
    assert f"seq {last}" in run([*show, str(last)]).output
    assert "ARCHIVE_MISSING" in run([*show, str(last - 1)]).output
    shutil.rmtree(tmp_path / "cold")
    assert f"seq {behind}" in run([*show, str(behind)]).output
    assert "ARCHIVE_MISSING" in run([*show, str(behind - 1)]).output


def test_a_damaged_archive_is_never_taken_for_the_log(tmp_path: Path) -> None:
    """Cut, exchanged or changed files are named and refused."""
    scribe = aged(tmp_path)
    scribe.log.close()
    moved = archived(scribe, tmp_path / "cold")
    first, second = (tmp_path / "cold" / f"{part.number:020}.seg.gz" for part in moved[:2])
    good = first.read_bytes()
    for raw in (good[: len(good) // 2], second.read_bytes(), good[:-9] + bytes([good[-9] ^ 1]) + good[-8:], b"no gzip"):
        first.write_bytes(raw)
        with pytest.raises(Invalid) as refusal, archive.whole(scribe.settings.directory):
            pass
        assert refusal.value.reason == "ARCHIVE_DAMAGED"
    first.write_bytes(good)
    with archive.whole(scribe.settings.directory) as view:
        check_log(view)


def test_an_archive_that_does_not_inflate_is_damaged(tmp_path: Path) -> None:
    """Whatever a flipped bit makes of the compressed stream."""
    scribe = aged(tmp_path)
    scribe.log.close()
    part, *_ = archived(scribe, tmp_path / "cold")
    path = tmp_path / "cold" / f"{part.number:020}.seg.gz"
    good = path.read_bytes()
    at = next(at for at in range(10, len(good)) if not inflates(changed(good, at)))
    path.write_bytes(changed(good, at))
    with pytest.raises(Invalid) as refusal, archive.whole(scribe.settings.directory):
        pass
    assert refusal.value.reason == "ARCHIVE_DAMAGED"


def changed(raw: bytes, at: int) -> bytes:
    """With one bit flipped."""
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def inflates(raw: bytes) -> bool:
    """Whether it is a deflate stream, of whatever, behind the ten bytes of a gzip header."""
    try:
        zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw[10:])
    except zlib.error:
        return False
    return True


@pytest.mark.parametrize("text", [b"", b"\xff", b'{"name": "\xff\xfe"}', b'{"schema": 1}'])
def test_a_list_that_cannot_be_read_is_damage(tmp_path: Path, text: bytes) -> None:
    """ARCHIVE_LIST with exit 3, whatever stands there: at a start, for the judge, and for who archives."""
    scribe = aged(tmp_path)
    scribe.log.close()
    archived(scribe, tmp_path / "cold")
    (scribe.settings.directory / "journal" / archive.NAME).write_bytes(text)
    for use in (scribe.open, lambda: archived(scribe, tmp_path / "cold"), lambda: archive.identity(tmp_path / "log")):
        with pytest.raises(Damaged) as refusal:
            use()
        assert refusal.value.reason == "ARCHIVE_LIST"


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("name", [archive.NAME, segment_name(0)])
@pytest.mark.parametrize("use", ["opened", "verified", "backup_of"])
def test_what_we_may_not_read_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, use: str
) -> None:
    """A file that root left behind for nobody else: exit 4 whoever comes by, and no word of damage."""
    scribe = Scribe(tmp_path / "log", 3)
    scribe.open().close()
    path = scribe.settings.directory / "journal" / name
    if name == archive.NAME:
        path.write_text(NOTHING_ARCHIVED)
    for each in (tmp_path, scribe.settings.directory, *scribe.settings.directory.rglob("*")):
        os.chown(each, NOBODY, NOBODY)
    os.chown(path, 0, 0)
    path.chmod(0o600)
    monkeypatch.chdir(tmp_path)
    os.seteuid(NOBODY)
    try:
        with pytest.raises(CannotStart, match=os.strerror(errno.EACCES)):
            {"opened": opened, "verified": verified, "backup_of": backup_of}[use](Path("log"))
    finally:
        os.seteuid(0)


def test_a_backup_of_an_archived_log_keeps_what_it_had(tmp_path: Path) -> None:
    """Segments that were copied before they were archived stay; a new backup needs the archive to be verified."""
    scribe = aged(tmp_path)
    backup.backup(scribe.settings.directory, tmp_path / "copy")
    archived(scribe, tmp_path / "cold")
    scribe.history(30)
    made, _ = backup.backup(scribe.settings.directory, tmp_path / "copy")
    check_log(tmp_path / "copy")
    late, _ = backup.backup(scribe.settings.directory, tmp_path / "late")
    assert made.tree_size == late.tree_size == scribe.log.size
    backup.restore(tmp_path / "copy", tmp_path / "restored")
    scribe.log.close()
    check_log(tmp_path / "restored")


def overtaken(tmp_path: Path) -> Scribe:
    """A log that was backed up once, and since then archived beyond what the backup in `copy` holds."""
    scribe = Scribe(tmp_path / "log", 3)
    scribe.open()
    scribe.history(60)
    backup.backup(scribe.settings.directory, tmp_path / "copy")
    scribe.history(200)
    moved = archived(scribe, tmp_path / "cold")
    assert (tmp_path / "copy" / "journal" / segment_name(moved[-2].number)).exists() is False
    return scribe


def test_a_backup_takes_from_the_archive_what_went_there_since(tmp_path: Path) -> None:
    """It has no hole, and no segment of which it holds a beginning only; the next run and a restore find it whole."""
    scribe = overtaken(tmp_path)
    for _ in range(2):
        made, _ = backup.backup(scribe.settings.directory, tmp_path / "copy")
        assert made.tree_size == scribe.log.size
    check_log(tmp_path / "copy", keys=scribe.signer.vkeys)
    scribe.log.close()
    shutil.rmtree(tmp_path / "cold")
    assert backup.restore(tmp_path / "copy", tmp_path / "restored").tree_size == scribe.log.size


def test_a_backup_killed_while_it_takes_back_what_left_the_log_is_put_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was begun after `log archive`, and goes on after `log unarchive`: stopped anywhere, it has no hole."""
    scribe = aged(tmp_path)
    scribe.log.close()
    directory, put, left = scribe.settings.directory, backup.put, 0
    archived(scribe, tmp_path / "cold", keep=2)
    backup.backup(directory, tmp_path / "copy")
    archive.bring_back(directory)

    def killed(target: Path, parts: Iterator[bytes], size: int | None = None) -> None:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        put(target, parts, size)

    for puts in range(3):
        copy, left = shutil.copytree(tmp_path / "copy", tmp_path / f"copy-{puts}"), puts
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(backup, "put", killed)
            backup.backup(directory, copy)
        assert backup.backup(directory, copy)[0].tree_size == scribe.log.size
        check_log(copy)


def test_a_backup_of_another_history_is_not_completed_from_the_archive(tmp_path: Path) -> None:
    """What it holds of an archived segment is compared, too, before anything is replaced."""
    scribe = overtaken(tmp_path)
    scribe.log.close()
    last = sorted((tmp_path / "copy" / "journal").glob("*.seg"))[-1]
    fork = Scribe(tmp_path / "copy", seed=5)
    fork.clock = scribe.clock
    fork.open()
    fork.request(4)
    fork.log.close()
    before = {path: path.read_bytes() for path in (tmp_path / "copy" / "journal").iterdir()}
    with pytest.raises(Invalid) as refusal:
        backup.backup(scribe.settings.directory, tmp_path / "copy")
    assert refusal.value.reason == "BACKUP_DIFFERS"
    assert f"segment {int(last.stem)}" in refusal.value.message
    assert before == {path: path.read_bytes() for path in (tmp_path / "copy" / "journal").iterdir()}


def test_a_copy_is_verified_where_the_archive_is_now(tmp_path: Path) -> None:
    """An archive that was moved, or is mounted elsewhere where the log is restored, is named; the log comes back."""
    scribe = aged(tmp_path)
    archived(scribe, tmp_path / "cold")
    elsewhere = (tmp_path / "cold").rename(tmp_path / "elsewhere")
    backup.backup(scribe.settings.directory, tmp_path / "copy", archived=elsewhere)
    run = partial(CliRunner().invoke, build("log"))
    again = ["log", "backup", str(scribe.settings.directory), str(tmp_path / "copy")]
    back = ["log", "restore", str(tmp_path / "copy"), "--to", str(tmp_path / "restored")]
    scribe.log.close()
    for arguments in (again, back):
        refused = run(arguments)
        assert refused.exit_code == 1
        assert "ARCHIVE_MISSING" in refused.output
        assert "--archive" in refused.output
        assert run([*arguments, "--archive", str(elsewhere)]).exit_code == 0
    with archive.whole(tmp_path / "restored", elsewhere) as view:
        assert check_log(view).tree_size == scribe.log.size


def test_only_what_the_archive_holds_leaves_a_restored_log(tmp_path: Path) -> None:
    """The backup had the segments, and the list that says they are archived; the archive itself is lost."""
    scribe = aged(tmp_path)
    backup.backup(scribe.settings.directory, tmp_path / "copy")
    moved = archived(scribe, tmp_path / "cold", keep=3)
    backup.backup(scribe.settings.directory, tmp_path / "copy")
    scribe.log.close()
    shutil.rmtree(tmp_path / "cold")
    shutil.rmtree(scribe.settings.directory)
    backup.restore(tmp_path / "copy", scribe.settings.directory)
    scribe.open()
    more = archived(scribe, tmp_path / "new")
    assert [part.number for part in more] == list(range(len(moved), len(moved) + 2))
    with archive.whole(scribe.settings.directory) as view:
        assert check_log(view, keys=scribe.signer.vkeys).tree_size == scribe.log.size
    scribe.log.close()


def test_a_segment_that_is_not_the_archived_one_stays(tmp_path: Path) -> None:
    """It is listed, and another stands in its place: nothing is taken away, and the file is named."""
    scribe = aged(tmp_path)
    scribe.log.close()
    directory = scribe.settings.directory
    for part in archived(scribe, tmp_path / "cold", keep=3):
        packed = (tmp_path / "cold" / f"{part.number:020}.seg.gz").read_bytes()
        segment_path(directory, part.number).write_bytes(gzip.decompress(packed))
    flip(segment_path(directory, 0), FIRST_FRAME + 5_000)
    with pytest.raises(Damaged) as refusal:
        archived(scribe, tmp_path / "new")
    assert segment_name(0) in refusal.value.message
    assert segment_path(directory, 0).exists()


def test_two_logs_do_not_share_an_archive(tmp_path: Path) -> None:
    """The second is told to have a directory of its own, and keeps its segments."""
    scribe = aged(tmp_path)
    scribe.log.close()
    archived(scribe, tmp_path / "cold")
    other = Scribe(tmp_path / "other", 4)
    other.open()
    other.history(200)
    other.log.close()
    with pytest.raises(Invalid) as refusal:
        archived(other, tmp_path / "cold")
    assert refusal.value.reason == "ARCHIVE_OTHER"
    assert "a directory for each log" in refusal.value.hint
    assert segment_path(tmp_path / "other", 0).exists()
    assert archived(other, tmp_path / "own")


def test_a_failing_disk_under_an_archived_log_changes_nothing(tmp_path: Path) -> None:
    """The list in the journal is not in the way of the core: it opens, seals and makes segments as before."""
    scribe = aged(tmp_path)
    scribe.log.close()
    archived(scribe, tmp_path / "cold")
    disk = FaultDisk()
    log = scribe.open(disk.address)
    log.seal_segment()
    scribe.request(2)
    log.close()
