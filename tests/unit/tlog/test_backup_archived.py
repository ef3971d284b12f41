"""Does a backup stay whole, and a copy verify, where the log was archived in between?"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kit.checkers import check_log
from kit.cold import aged, archived
from kit.scribe import Scribe
from sealpress.cli.app import build
from sealpress.core.segment import segment_name
from sealpress.errors import Invalid
from sealpress.tlog import archive, backup
from sealpress.tlog.whole import whole


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
    with whole(tmp_path / "restored", elsewhere) as view:
        assert check_log(view).tree_size == scribe.log.size
