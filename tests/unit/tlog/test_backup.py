"""Does a backup hold the log, replace nothing that it does not continue, and open again?"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from kit.checkers import check_log
from kit.cold import archived
from kit.logs import flip, segment_path
from kit.scribe import NAME, Scribe
from sealpress.core.segment import FIRST_FRAME
from sealpress.errors import CannotStart, ConfigError, Damaged, Invalid
from sealpress.tlog import archive, backup, checkpoint, standing
from sealpress.tlog.log import Log
from sealpress.tlog.standing import Standing

NOBODY = 65_534
NOTHING_ARCHIVED = f'{{"name": "{NAME}", "log_number": 1, "sealed_size": 0, "governed": false, "parts": []}}'


def test_a_backup_beside_an_open_log_holds_everything_durable(scribe: Scribe, tmp_path: Path) -> None:
    """Sealed segments and the active one up to its last COMMIT; the copy is a log that the judge accepts."""
    scribe.history(150)
    made, copied = backup.backup(scribe.settings.directory, tmp_path / "copy")
    report = check_log(tmp_path / "copy", keys=scribe.signer.vkeys)
    assert (made.tree_size, bytes.fromhex(made.root)) == (scribe.log.size, scribe.log.root())
    assert (report.tree_size, report.next_seq) == (scribe.log.size, scribe.log.next_seq)
    assert copied == scribe.log.reader.end.segment + 1 >= 3
    assert made == msgspec.json.decode((tmp_path / "copy" / backup.NAME).read_bytes(), type=backup.Backup)
    assert made.origin == scribe.settings.origin
    with pytest.raises(Invalid) as nothing:
        backup.restore(tmp_path / "elsewhere", tmp_path / "restored")
    assert nothing.value.reason == "LOG_MISSING"


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
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError) as refusal:
        backup.restore(tmp_path / "copy", tmp_path / "file")
    assert refusal.value.reason == "NOT_EMPTY"
    (tmp_path / "empty").mkdir()
    left = tmp_path / ".empty.restoring" / "journal"  # by one that was killed
    left.mkdir(parents=True)
    (left / segment_path(tmp_path, 7).name).write_bytes(b"of another log")
    backup.restore(tmp_path / "copy", tmp_path / "empty")
    assert not left.parent.exists()
    check_log(tmp_path / "empty")


def test_a_restored_log_is_durable_whole(scribe: Scribe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that never published a head: the names in it are synced before it gets its own."""
    synced = list[str]()
    backup.backup(scribe.settings.directory, tmp_path / "copy")
    for module in (standing, backup):
        monkeypatch.setattr(module, "sync_directory", lambda path: synced.append(path.name))
    backup.restore(tmp_path / "copy", tmp_path / "new" / "restored")
    assert synced[-1] == "new"
    assert {tmp_path.name, "new", ".restored.restoring", "journal"} <= set(synced[:-1])


def test_what_cannot_be_restored_or_locked_is_said(scribe: Scribe, tmp_path: Path) -> None:
    """A link in the place of the log's directory, a directory in that of its lock: exit 4, and no word of success."""
    copy = tmp_path / "copy"
    backup.backup(scribe.settings.directory, copy)
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    with pytest.raises(CannotStart) as refusal:
        backup.restore(copy, tmp_path / "link")
    assert refusal.value.reason == "NO_ACCESS"
    (copy / "lock").mkdir()
    with pytest.raises(CannotStart) as refusal:
        backup.backup(scribe.settings.directory, copy)
    assert refusal.value.reason == "NO_ACCESS"


def test_an_older_state_is_no_backup_of_a_newer_one(scribe: Scribe, tmp_path: Path) -> None:
    """A log that came back from a snapshot, segments behind: refused, and what the backup says of itself stays."""
    directory, copy = scribe.settings.directory, tmp_path / "copy"
    scribe.history(60)
    scribe.log.close()
    old = shutil.copytree(directory, tmp_path / "old")
    scribe.open()
    scribe.history(120)
    backup.backup(directory, copy)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    with pytest.raises(Invalid, match="a newer state of the log") as refusal:
        backup.backup(old, copy)

    assert refusal.value.reason == "BACKUP_DIFFERS"
    assert before == {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}


def test_nothing_is_restored_from_a_copy_with_a_torn_tail(scribe: Scribe, tmp_path: Path) -> None:
    """A backup ends with a COMMIT and zeros: what has more is somebody's copy of a log that was being written."""
    scribe.request(3)
    end = scribe.log.reader.end
    backup.backup(scribe.settings.directory, tmp_path / "copy")
    with segment_path(tmp_path / "copy", end.segment).open("r+b") as file:
        file.seek(end.offset + 160)  # behind the COMMIT
        file.write(b"half of a frame" * 9)
    with pytest.raises(Damaged) as refusal:
        backup.restore(tmp_path / "copy", tmp_path / "restored")

    assert refusal.value.reason == "COPY_DAMAGED"
    assert not (tmp_path / "restored").exists()
