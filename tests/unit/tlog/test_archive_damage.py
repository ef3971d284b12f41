"""Is what is missing, damaged, foreign or unreadable in an archive told apart, and never taken for the log?"""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import zlib
from pathlib import Path

import pytest

from kit.checkers import check_log
from kit.cold import aged, archived
from kit.disk import FaultDisk
from kit.logs import flip, segment_path
from kit.scribe import NAME, Scribe
from sealpress.core.segment import FIRST_FRAME, segment_name
from sealpress.errors import CannotStart, Damaged, Invalid
from sealpress.tlog import archive, backup
from sealpress.tlog.archived import NAME as LIST
from sealpress.tlog.archived import expanded, file_name
from sealpress.tlog.check import check_log as judge
from sealpress.tlog.identity import identity
from sealpress.tlog.standing import CHUNK
from sealpress.tlog.whole import reading, whole

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
    with reading(directory) as files:
        return judge(directory, *identity(directory), files=files)


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


def test_a_damaged_archive_is_never_taken_for_the_log(tmp_path: Path) -> None:
    """Cut, exchanged or changed files are named and refused."""
    scribe = aged(tmp_path)
    scribe.log.close()
    moved = archived(scribe, tmp_path / "cold")
    first, second = (tmp_path / "cold" / f"{part.number:020}.seg.gz" for part in moved[:2])
    good = first.read_bytes()
    for raw in (good[: len(good) // 2], second.read_bytes(), good[:-9] + bytes([good[-9] ^ 1]) + good[-8:], b"no gzip"):
        first.write_bytes(raw)
        with pytest.raises(Invalid) as refusal, whole(scribe.settings.directory):
            pass
        assert refusal.value.reason == "ARCHIVE_DAMAGED"
    first.write_bytes(good)
    with whole(scribe.settings.directory) as view:
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
    with pytest.raises(Invalid) as refusal, whole(scribe.settings.directory):
        pass
    assert refusal.value.reason == "ARCHIVE_DAMAGED"


@pytest.mark.parametrize("text", [b"", b"\xff", b'{"name": "\xff\xfe"}', b'{"schema": 1}'])
def test_a_list_that_cannot_be_read_is_damage(tmp_path: Path, text: bytes) -> None:
    """ARCHIVE_LIST with exit 3, whatever stands there: at a start, for the judge, and for who archives."""
    scribe = aged(tmp_path)
    scribe.log.close()
    archived(scribe, tmp_path / "cold")
    (scribe.settings.directory / "journal" / LIST).write_bytes(text)
    for use in (scribe.open, lambda: archived(scribe, tmp_path / "cold"), lambda: identity(tmp_path / "log")):
        with pytest.raises(Damaged) as refusal:
            use()
        assert refusal.value.reason == "ARCHIVE_LIST"


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("name", [LIST, segment_name(0)])
@pytest.mark.parametrize("use", ["opened", "verified", "backup_of"])
def test_what_we_may_not_read_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, use: str
) -> None:
    """A file that root left behind for nobody else: exit 4 whoever comes by, and no word of damage."""
    scribe = Scribe(tmp_path / "log", 3)
    scribe.open().close()
    path = scribe.settings.directory / "journal" / name
    if name == LIST:
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
    with whole(scribe.settings.directory) as view:
        assert check_log(view, keys=scribe.signer.vkeys).tree_size == scribe.log.size
    scribe.log.close()


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


def test_a_segment_that_does_not_lead_to_the_next_one_stays(tmp_path: Path) -> None:
    """Whole, of this log and number, and of another history: archived it would be bound by nothing that is left."""
    scribe = aged(tmp_path / "ours")
    theirs = Scribe(tmp_path / "theirs", 4)
    theirs.open()
    theirs.history(200)
    for each in (scribe, theirs):
        each.log.close()
    directory = scribe.settings.directory
    shutil.copy(segment_path(theirs.settings.directory, 0), segment_path(directory, 0))
    before = sorted(path.name for path in (directory / "journal").iterdir())
    with pytest.raises(Damaged, match="does not lead to the next segment") as refusal:
        archived(scribe, tmp_path / "cold")

    assert refusal.value.reason == "LOG_DAMAGED"
    assert before == sorted(path.name for path in (directory / "journal").iterdir())
    assert not list((tmp_path / "cold").glob("*.gz"))


def test_nothing_is_archived_behind_a_hole(tmp_path: Path) -> None:
    """A segment that is neither listed nor there: who archives those behind it would hide that."""
    scribe = aged(tmp_path)
    scribe.log.close()
    part = archived(scribe, tmp_path / "cold", keep=3)[-1]
    segment_path(scribe.settings.directory, part.number + 1).unlink()
    with pytest.raises(Damaged, match="neither here nor archived") as refusal:
        archived(scribe, tmp_path / "cold")

    assert refusal.value.reason == "LOG_DAMAGED"


def test_what_a_governed_node_may_need_is_not_archived(tmp_path: Path) -> None:
    """Who does not know what its next start reads moves nothing of it; who knows moves what lies before that."""
    scribe = aged(tmp_path)
    directory = scribe.settings.directory
    scribe.request(1, profile="baseline")
    for _ in range(3):
        scribe.log.seal_segment()
        scribe.request(1)
    sealed = scribe.log.reader.end.segment
    scribe.log.close()
    with pytest.raises(Invalid) as refusal:
        archived(scribe, tmp_path / "cold")
    assert refusal.value.reason == "GOVERNED"
    kept = min(int(path.stem) for path in (directory / "journal").glob("*.seg"))

    assert kept == sealed - 3  # where it stands; those before it have left
    assert archived(scribe, tmp_path / "cold", needed_from=kept) == []
    assert [part.number for part in archived(scribe, tmp_path / "cold", needed_from=kept + 1)] == [kept]


def test_no_more_is_expanded_than_a_segment_holds(tmp_path: Path) -> None:
    """A file that somebody made of zeros costs no disk and no time: it is damaged long before its end."""
    scribe = aged(tmp_path)
    scribe.log.close()
    part, *_ = archived(scribe, tmp_path / "cold")
    (tmp_path / "cold" / file_name(part)).write_bytes(gzip.compress(bytes(64 << 20), 1))
    got = 0
    with pytest.raises(Invalid) as refusal:
        for chunk in expanded(part, None):
            got += len(chunk)

    assert refusal.value.reason == "ARCHIVE_DAMAGED"
    assert got <= part.segment_bytes + CHUNK
