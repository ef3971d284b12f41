"""Files of former releases are read, those of later ones are refused by name: a fixture for every format there was.

tests/vectors/format-<n>.tar.xz holds a small node's files as that release wrote them (tests/kit/formats.py).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import tarfile
from pathlib import Path
from typing import Any

import pytest

from kit import frames
from kit.checkers import check_log
from kit.clock import VirtualClock
from kit.entropy import SeededEntropy
from kit.formats import VECTORS, scribe_of
from kit.node import Node
from kit.scribe import NAME, Scribe, request_event
from sealpress.core.index import Index
from sealpress.core.merkle import frontier_root
from sealpress.core.proof import parse_note
from sealpress.core.segment import FORMAT_VERSION, Segment
from sealpress.errors import Damaged
from sealpress.governance import fold
from sealpress.governance.state import encode
from sealpress.hsm import mark
from sealpress.hsm.mark import MarkFile
from sealpress.steps import _archive
from sealpress.tlog import checkpoint, entry, explain
from sealpress.tlog.known import State
from sealpress.tlog.log import Log
from sealpress.tlog.settings import LogSettings

FIXTURES = sorted(VECTORS.glob("format-*.tar.xz"))


def unpacked(fixture: Path, directory: Path) -> dict[str, Any]:
    """The files of a former release, and what they should hold."""
    with tarfile.open(fixture) as archive:
        archive.extractall(directory, filter="data")
    facts: dict[str, Any] = json.loads((directory / "facts.json").read_text())
    return facts


def test_every_version_has_its_fixture() -> None:
    """Who raises a version leaves a fixture of it behind, and keeps those before."""
    newest = max(FORMAT_VERSION, entry.VERSION, mark.VERSION, _archive.MAGIC[-1])

    assert [f"format-{number}.tar.xz" for number in range(1, newest + 1)] == [path.name for path in FIXTURES]


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: path.name)
def test_a_log_of_every_format_is_read_and_goes_on(fixture: Path, tmp_path: Path) -> None:
    """Root, mark, checkpoint, indexes, known requests and Explain are what they were; it verifies, and it grows."""
    facts = unpacked(fixture, tmp_path)["log"]
    indexes = {path: path.stat().st_mtime_ns for path in (tmp_path / "log" / "index").iterdir()}
    report = check_log(tmp_path / "log", keys=facts["vkeys"], older=(tmp_path / "log" / "checkpoint").read_bytes())
    assert (facts["size"], facts["types"]) == (report.tree_size, sorted(facts["types"]))
    scribe = scribe_of(tmp_path / "log", VirtualClock(facts["now_s"]))
    file = MarkFile(tmp_path / "signer", facts["origin"])
    scribe.log = Log.open(scribe.settings, scribe.clock, scribe.entropy)
    scribe.log.check_mark(file.mark.size, file.mark.root)
    scribe.log.start(None)
    log, found = scribe.log, scribe.log.recovered

    assert not found.tree_rebuilt
    assert (facts["root"], facts["next_seq"]) == (log.root(facts["size"]).hex(), log.next_seq)
    assert facts["root"] == frontier_root(file.mark.frontier).hex()
    assert facts["mark_keys"] == {key.hex(): [each.size, each.time] for key, each in file.mark.signed.items()}
    assert facts["dangling"] == [stored.first_leaf for stored in found.dangling]
    known = found.known.get(request_event().identity, facts["request_id"], scribe.clock.now_ns())
    assert known is not None
    assert State.PENDING is known.state
    asked = bytes.fromhex(facts["asked"])
    assert facts["told"] == explain.story(log.reader, explain.by_digest(log.reader, asked), asked)
    published = checkpoint.read(tmp_path / "log")
    assert published is not None
    assert facts["size"] == parse_note(published.text).size
    assert indexes == {path: path.stat().st_mtime_ns for path in indexes}
    (act,) = scribe.request(2)
    scribe.seal(act)
    log.close()
    file.close()
    check_log(tmp_path / "log", keys=facts["vkeys"])


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: path.name)
def test_governance_of_every_format_is_folded(fixture: Path, tmp_path: Path) -> None:
    """From the snapshot file and from leaf 0: one state, one count of uses. A state of another release is not used."""
    facts = unpacked(fixture, tmp_path)["governed"]
    settings = LogSettings(tmp_path / "gov", facts["name"], facts["number"], facts["segment_bytes"], governance=True)
    log = Log.open(settings, VirtualClock(facts["now_s"]), SeededEntropy(9))
    path = tmp_path / "gov" / "index" / "governance.snapshot"
    folded = _archive.fold(log, [log], path)
    whole = _archive.fold(log, [log], None)
    magic, body = path.read_bytes()[:8], path.read_bytes()[8:]
    others = []
    for other in {_archive.MAGIC, _archive.FORMER, _archive.WHOLE, _archive.MAGIC[:-1] + b"\xff"} - {magic}:
        path.write_bytes(other + body)
        others.append(_archive.fold(log, [log], path))
    log.close()

    assert (magic == _archive.MAGIC) is (folded.snapshot_seq > 0)
    assert {0} == {whole.snapshot_seq, *(later.snapshot_seq for later in others)}
    assert facts["spent"] == [dict(folded.ledger.grants), dict(folded.ledger.keys)]
    assert {encode(folded.state)} == {encode(each.state) for each in (whole, *others)}


def test_this_release_makes_of_a_log_what_its_fixture_says(tmp_path: Path) -> None:
    """Who has State hold, or the fold make, something else raises fold.VERSION and leaves a new fixture behind."""
    facts = unpacked(FIXTURES[-1], tmp_path)["governed"]
    settings = LogSettings(tmp_path / "gov", facts["name"], facts["number"], facts["segment_bytes"], governance=True)
    log = Log.open(settings, VirtualClock(facts["now_s"]), SeededEntropy(9))
    whole = _archive.fold(log, [log], None)
    log.close()

    assert (facts["fold"], facts["state_sha256"]) == (fold.VERSION, hashlib.sha256(encode(whole.state)).hexdigest())


def test_a_state_that_another_release_made_is_made_again(tmp_path: Path) -> None:
    """Of its file the uses count; who withdrew, released or was told of dates is what the records say to this one."""
    facts = unpacked(VECTORS / "former-state.tar.xz", tmp_path)["governed"]
    settings = LogSettings(tmp_path / "gov", facts["name"], facts["number"], facts["segment_bytes"], governance=True)
    log = Log.open(settings, VirtualClock(facts["now_s"]), SeededEntropy(9))
    path = tmp_path / "gov" / "index" / "governance.snapshot"
    folded, whole = _archive.fold(log, [log], path), _archive.fold(log, [log], None)
    needed = _archive.needed_from(path, log.reader, log.reader, log.origin)
    log.close()

    assert encode(whole.state) == encode(folded.state)
    assert facts["spent"] == [dict(folded.ledger.grants), dict(folded.ledger.keys)]
    assert ("person:lena",) == folded.state.keys["k-next"].releasers
    assert 0 == needed


# ---- later formats ---------------------------------------------------------------------------------------------------


def header_version(segment: bytearray, version: int) -> None:
    """Both copies of a segment's header, with right checksums."""
    for at in (0, 4096):
        struct.pack_into("<II", segment, at + 8, version, 0)
        struct.pack_into("<I", segment, at + 12, frames.crc32c(bytes(segment[at : at + 4096])))


def frame_field(segment: bytearray, type_: int, place: int, value: bytes) -> None:
    """The last frame of a type says something else, with a right checksum, under a COMMIT with a right chain."""
    frame = [each for each in frames.frames(bytes(segment)) if each.type == type_][-1]
    segment[frame.offset + place : frame.offset + place + len(value)] = value
    stamp(segment, frame)
    if type_ == frames.COMMIT_TYPE:
        return
    chain, headers = frames.header(bytes(segment[:4096])).chain, b""
    for each in list(frames.frames(bytes(segment))):
        if each.type != frames.COMMIT_TYPE:
            headers += each.header
            continue
        size, root = frames.COMMIT.unpack(each.payload)[2:4]
        chain = hashlib.sha256(chain + struct.pack("<Q", size) + root + headers).digest()
        segment[each.offset + 84 : each.offset + 116] = chain
        stamp(segment, each)
        headers = b""


def stamp(segment: bytearray, frame: frames.RawFrame) -> None:
    """The right checksum of a frame that was changed."""
    end = frame.offset + (frame.length + 7) // 8 * 8
    rest = bytes(segment[frame.offset : frame.offset + 4] + segment[frame.offset + 8 : end])
    crc = frames.crc32c(frames.salt_of(bytes(segment)) + struct.pack("<Q", frame.offset) + rest)
    struct.pack_into("<I", segment, frame.offset + 4, crc)


LATER = {
    "the header of a segment": (lambda segment: header_version(segment, 7), "version 7"),
    "a COMMIT": (lambda segment: frame_field(segment, frames.COMMIT_TYPE, 18, b"\5\0"), "version 5"),
    "a type of frame": (lambda segment: frame_field(segment, frames.OUTCOME, 16, b"\x09"), "version 2"),
    "a flag": (lambda segment: frame_field(segment, frames.OUTCOME, 17, b"\1"), "version 2"),
}


@pytest.mark.parametrize("what", LATER)
def test_a_later_format_is_refused_by_name(scribe: Scribe, what: str) -> None:
    """Damaged, which ends in exit 3: both version numbers, what to do, and not a byte is changed."""
    (act,) = scribe.request(2)
    scribe.seal(act)
    scribe.log.close()
    path = scribe.settings.directory / "journal" / f"{0:020}.seg"
    segment = bytearray(path.read_bytes())
    change, named = LATER[what]
    change(segment)
    path.write_bytes(segment)
    with pytest.raises(Damaged) as caught:
        scribe.open()

    assert "LOG_VERSION" == caught.value.reason
    assert named in caught.value.message
    assert "up to version 1" in caught.value.message
    assert "newer" in caught.value.hint
    assert segment == path.read_bytes()


@pytest.mark.parametrize("sealed", [False, True], ids=["active", "sealed"])
def test_a_later_record_is_refused_by_name(scribe: Scribe, sealed: bool) -> None:
    """Heads have versions of their own: met where the tail is replayed, and where the window is read."""
    (act,) = scribe.request(2)
    scribe.seal(act)
    for _ in range(2 if sealed else 0):
        scribe.log.seal_segment()
        scribe.request(1)
    scribe.log.close()
    path = scribe.settings.directory / "journal" / f"{0:020}.seg"
    segment = bytearray(path.read_bytes())
    frame_field(segment, frames.OUTCOME, 18, b"\4\0")
    path.write_bytes(segment)
    with pytest.raises(Damaged) as caught:
        scribe.open()

    assert "LOG_VERSION" == caught.value.reason
    assert "version 4" in caught.value.message
    assert "up to version 1" in caught.value.message


def test_an_index_of_a_later_format_is_made_again(scribe: Scribe) -> None:
    """It is derived: nobody must know it."""
    scribe.request(2)
    scribe.log.seal_segment()
    scribe.request(1)
    scribe.reopen().close()
    path = scribe.settings.directory / "index" / f"{0:020}.idx"
    good = path.read_bytes()
    later = bytearray(good)
    struct.pack_into("<II", later, 8, 2, 0)
    struct.pack_into("<I", later, 12, frames.crc32c(bytes(later[:4096])))
    path.write_bytes(later)
    scribe.open()
    with Segment(scribe.settings.directory / "journal" / f"{0:020}.seg") as segment:
        Index.open(scribe.settings.directory, segment).check()

    assert good == path.read_bytes()


@pytest.mark.parametrize("slots", [(0,), (1,), (0, 1)])
def test_a_mark_of_a_later_format_is_refused_by_name(tmp_path: Path, slots: tuple[int, ...]) -> None:
    """In either slot, even beside one that we know: that one may be old."""
    MarkFile(tmp_path, f"{NAME}/1").close()
    (path,) = tmp_path.iterdir()
    raw = bytearray(path.read_bytes())
    for slot in slots:
        at = 4096 * slot
        raw[at + 7] = 9
        struct.pack_into("<I", raw, at + 8, 0)
        struct.pack_into("<I", raw, at + 8, frames.crc32c(bytes(raw[at : at + 4096])))
    path.write_bytes(raw)
    with pytest.raises(Damaged) as caught:
        MarkFile(tmp_path, f"{NAME}/1")

    assert "MARK_VERSION" == caught.value.reason
    assert "version 9" in caught.value.message
    assert raw == path.read_bytes()


def test_a_bit_that_turned_in_a_marks_version_is_no_later_format(tmp_path: Path) -> None:
    """The other slot is whole, and is used."""
    MarkFile(tmp_path, f"{NAME}/1").close()
    (path,) = tmp_path.iterdir()
    raw = bytearray(path.read_bytes())
    raw[7] ^= 2
    path.write_bytes(raw)

    assert 1 == MarkFile(tmp_path, f"{NAME}/1").generation


def test_the_daemon_ends_with_3_and_names_the_version() -> None:
    """The real process, on a log of version 2."""
    with Node(start=False) as node:
        unpacked(FIXTURES[0], node.place / "former")
        shutil.copytree(node.place / "former" / "log", node.log_directory)
        for path in (node.log_directory / "journal").iterdir():
            segment = bytearray(path.read_bytes())
            header_version(segment, 2)
            path.write_bytes(segment)
        done = node.run("serve")

    assert 3 == done.returncode
    assert "version 2" in done.stderr
    assert "newer" in done.stderr
