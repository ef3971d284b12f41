"""Is an archived log read whole, in little room, whoever else is at it, and wherever one was killed?"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kit.checkers import check_log
from kit.cold import aged, archived
from kit.scribe import Scribe
from sealpress.cli.app import build
from sealpress.errors import CannotStart
from sealpress.tlog import archive, backup, standing
from sealpress.tlog.archived import Part, expanded, listed
from sealpress.tlog.record import Record
from sealpress.tlog.standing import Standing
from sealpress.tlog.whole import whole
from sealpress.values import RecordType


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
    stood = list[int]()

    def counted(part: Part, source: Path | None) -> Iterator[bytes]:
        yield from expanded(part, source)
        stood.append(len([path for path in (tmp_path / "tmp").rglob("*") if path.is_file()]))

    monkeypatch.setattr("sealpress.tlog.whole.expanded", counted)
    if what == "verify":
        done = CliRunner().invoke(build(), ["log", "verify", str(scribe.settings.directory)])
        assert done.exit_code == 0, done.output
    else:
        copied = backup.backup(scribe.settings.directory, tmp_path / "copy")[0]
        assert copied.tree_size == scribe.log.size
    assert len(stood) >= len(moved) > 2
    assert max(stood) <= 1
    assert list((tmp_path / "tmp").iterdir()) == []


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


def test_no_segment_leaves_while_the_log_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`log archive` beside a verification or a backup is refused and moves nothing: neither of them fails for it."""
    scribe = aged(tmp_path)
    directory = scribe.settings.directory
    with whole(directory), pytest.raises(CannotStart) as beside_verify:
        archived(scribe, tmp_path / "cold")
    real, refusals = backup._left, [beside_verify.value.reason]

    def left(directory: Path, standing: Standing) -> dict[int, Part]:
        with pytest.raises(CannotStart) as beside_backup:
            archived(scribe, tmp_path / "cold")
        refusals.append(beside_backup.value.reason)
        return real(directory, standing)

    monkeypatch.setattr(backup, "_left", left)
    backup.backup(directory, tmp_path / "copy")
    assert refusals == ["LOG_IN_USE", "LOG_IN_USE"]
    assert archived(scribe, tmp_path / "cold")


def test_archiving_killed_anywhere_is_put_right_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the journal, in the archive, or in both: never in neither, and the log opens each time."""
    scribe = aged(tmp_path)
    scribe.log.close()
    directory = scribe.settings.directory
    steps = ("_compressed", "expanded", "write_list", "_remove")
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
        with whole(copy) as view:
            check_log(view, keys=scribe.signer.vkeys)
        assert len((listed(copy) or archive).parts) >= len(moved) > 0 or step == "_remove"


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
