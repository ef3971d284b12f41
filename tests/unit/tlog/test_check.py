"""The judge accepts good logs and names the first bad position of all others."""

from __future__ import annotations

import base64
import hashlib
import random
import shutil
import struct
from pathlib import Path

import pytest

from kit.checkers import check_log
from kit.scribe import KEY_IDS, LINES, NAME, HeadSigner, Scribe
from sealpress.core.digests import crc32c
from sealpress.errors import Invalid
from sealpress.tlog import check
from sealpress.tlog.entry import OutcomeEvent, OutcomeStatus
from sealpress.tlog.identity import identity
from sealpress.tlog.reader import LogReader
from sealpress.tlog.record import Record
from sealpress.tlog.report import Report
from sealpress.values import Mode, RecordType

CHUNK = 1 << 16  # leaves


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Scribe:
    """A closed log with several segments and every kind of record."""
    scribe = Scribe(tmp_path_factory.mktemp("check") / "log", 7)
    scribe.open()
    scribe.history(120)
    scribe.policy(b"policy")
    scribe.log.close()
    return scribe


def good_records(good: Scribe) -> list[Record]:
    """All records of the closed log."""
    reader = LogReader(good.settings.directory, NAME, good.settings.log_id)
    reader.end = good.log.reader.end
    return list(reader.records())


def judge(directory: Path, scribe: Scribe) -> Report:
    """The whole check with all keys."""
    return check.check_log(directory, NAME, 1, keys=scribe.signer.vkeys)


def test_a_good_log_passes_with_every_signature_verified(good: Scribe) -> None:
    """Frames, roots, chain, tree files and signed heads all agree."""
    report = judge(good.settings.directory, good)

    assert report.ok
    assert ("match", 0) == (report.tree_files, report.unknown_signatures)
    assert 2 * report.heads == report.signatures > 0
    assert (good.log.size, good.log.next_seq) == (report.tree_size, report.next_seq)
    assert (NAME, 1) == identity(good.settings.directory)
    check_log(good.settings.directory, keys=good.signer.vkeys)


@pytest.mark.parametrize("seed", range(60))
def test_a_flipped_bit_is_found_at_or_before_its_place(good: Scribe, tmp_path: Path, seed: int) -> None:
    """Any bit of any segment: header copies, frames, padding, and the zeros behind them."""
    rng = random.Random(seed)
    copy = shutil.copytree(good.settings.directory, tmp_path / "log")
    number = rng.randrange(good.log.reader.end.segment + 1)
    path = copy / "journal" / f"{number:020}.seg"
    data = bytearray(path.read_bytes())
    written = len(bytes(data).rstrip(b"\0"))
    at = rng.choice(
        (rng.randrange(8192), rng.randrange(8192, written), rng.randrange(8192, written), rng.randrange(len(data)))
    )
    data[at] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    report = judge(copy, good)
    bad = report.bad or report.tail

    assert bad is not None, at
    assert number == bad.where.segment
    assert bad.where.offset <= at, bad
    if report.tail is not None:  # only the last batch can look torn
        assert report.bad is None
        assert number == max(int(each.stem) for each in (copy / "journal").iterdir() if any(each.read_bytes()[:8]))


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_node_is_found(good: Scribe, tmp_path: Path, seed: int) -> None:
    """The files of the tree are compared node by node."""
    rng = random.Random(seed)
    copy = shutil.copytree(good.settings.directory, tmp_path / "log")
    size = good.log.size
    level = rng.randrange(size.bit_length())
    index = rng.randrange(size >> level)
    path = copy / "tree" / f"level-{level:02}"
    data = bytearray(path.read_bytes())
    data[32 * index + rng.randrange(32)] ^= 1
    path.write_bytes(data)
    report = judge(copy, good)

    assert report.bad is not None
    assert ("TREE", "differ") == (report.bad.reason, report.tree_files)
    assert f"level-{level:02} differs from the records at node {index}" in report.bad.message


def restamp(segment: bytearray, offset: int) -> None:
    """Make a frame's checksum right again, as somebody with write access would."""
    size = (struct.unpack_from("<I", segment, offset)[0] + 7) // 8 * 8
    frame = segment[offset : offset + size]
    crc = crc32c(bytes(segment[136:152]) + struct.pack("<Q", offset) + bytes(frame[:4] + frame[8:]))
    struct.pack_into("<I", segment, offset + 4, crc)


def test_a_record_rewritten_with_its_checksum_is_found(good: Scribe, tmp_path: Path) -> None:
    """The checksum is for accidents; against a writer stand the root and the chain."""
    acts = [record for record in good_records(good) if record.type is RecordType.REQUEST]
    copy = shutil.copytree(good.settings.directory, tmp_path / "log")
    for record, what, reasons in [
        (acts[3], -1 - 7, {"ROOT"}),  # near the end: a digest
        (acts[5], 24, {"ROOT", "ORDER"}),  # its time
        (acts[7], 60, {"ROOT", "RECORD"}),  # in its head
        (acts[9], 18, {"RECORD"}),  # its version
    ]:
        path = copy / "journal" / f"{record.where.segment:020}.seg"
        kept = path.read_bytes()
        data = bytearray(kept)
        offset = record.where.offset
        size = struct.unpack_from("<I", data, offset)[0]
        data[offset + (what if what > 0 else size + what)] ^= 1
        restamp(data, offset)
        path.write_bytes(data)
        bad = judge(copy, good).bad
        path.write_bytes(kept)

        assert bad is not None
        assert bad.reason in reasons, bad
        assert bad.where.segment == record.where.segment
        assert bad.where.offset >= offset


def test_removed_swapped_and_repeated_segments_are_found(good: Scribe, tmp_path: Path) -> None:
    """Whole segments cannot be lost, exchanged or copied."""
    first, second, third = ("journal/" + f"{number:020}.seg" for number in range(3))
    for name, change in {
        "lost": lambda d: (d / second).unlink(),
        "exchanged": lambda d: (
            (d / second).rename(d / "x"), (d / third).rename(d / second), (d / "x").rename(d / third)
        ),
        "repeated": lambda d: shutil.copy(d / first, d / second),
        "emptied": lambda d: (d / second).write_bytes(bytes((d / second).stat().st_size)),
        "cut": lambda d: (d / second).write_bytes((d / second).read_bytes()[:-4096]),
    }.items():  # fmt: skip
        copy = shutil.copytree(good.settings.directory, tmp_path / name)
        change(copy)  # type: ignore[no-untyped-call]
        report = judge(copy, good)
        assert report.bad is not None, name
        assert report.bad.where.segment in (1, 2), name


def test_a_rolled_back_log_fails_against_an_older_checkpoint(scribe: Scribe, tmp_path: Path) -> None:
    """A checkpoint or proof that somebody kept shows lost and rewritten history."""
    (act,) = scribe.request(3)
    scribe.wait_for_files()  # a file that is renamed meanwhile cannot be copied
    shutil.copytree(scribe.settings.directory, tmp_path / "behind", ignore=shutil.ignore_patterns("lock"))
    note = scribe.seal(act)
    size = int(note.split(b"\n")[1])
    proof = scribe.log.proof(scribe.log.stored(act.where).item_opening(0), act.placed.first_leaf, size, note)
    scribe.request(2)
    newer = scribe.signer.note(scribe.log.size, scribe.log.root(), 1, line=False)
    scribe.log.close()
    forked = scribe.signer.note(size, bytes(32), 1)
    between = scribe.signer.note(2, bytes(32), 1)
    foreign = HeadSigner(f"{NAME}/2", NAME).note(size, bytes(32), 1)
    directory = scribe.settings.directory

    for older in (note, proof, newer):
        assert check.check_log(directory, NAME, 1, keys=scribe.signer.vkeys, older=older).ok
    refused = [(tmp_path / "behind", newer), *((directory, text) for text in (forked, between, foreign, b"x"))]
    for where, older in refused:
        report = check.check_log(where, NAME, 1, older=older)
        assert report.bad is not None
        assert "CONSISTENCY" == report.bad.reason


def test_wrong_heads_in_outcomes_are_found(tmp_path: Path) -> None:
    """A head with another root, an absent or foreign signature, or a time outside 300 s is named."""
    stranger = HeadSigner(f"{NAME}/1", NAME, seed=9)

    def signed(scribe: Scribe, kind: str) -> bytes:
        size, root, time = scribe.log.size, scribe.log.root(), scribe.clock.now_ns() // 10**9
        if kind == "root":
            return scribe.signer.note(size, bytes(32), time)
        if kind == "late":
            return scribe.signer.note(size, root, time + 301)
        if kind == "early":
            return scribe.signer.note(size, root, time - 1)
        if kind == "line":
            return scribe.signer.note(size, root, time, line=False)
        if kind == "forged":
            text = scribe.signer.note(size, root, time).split(b"\n\n")
            return text[0] + b"\n\n" + stranger_lines(text[1], stranger.note(size, root, time).split(b"\n\n")[1])
        return b"nonsense"

    for kind in ("root", "late", "early", "line", "forged", "text"):
        scribe = Scribe(tmp_path / kind)
        scribe.open()
        (act,) = scribe.request(2)
        note = signed(scribe, kind)
        scribe.signer.note = lambda *_args, note=note, **_kinds: note  # type: ignore[method-assign, misc]
        scribe.seal(act)
        scribe.log.close()
        report = judge(scribe.settings.directory, scribe)
        assert report.bad is not None, kind
        assert "HEAD" == report.bad.reason, kind


def stranger_lines(ours: bytes, theirs: bytes) -> bytes:
    """Our names and key ids over a stranger's signatures."""
    lines = []
    for own, other in zip(ours.splitlines(), theirs.splitlines(), strict=True):
        prefix, _, own_text = own.rpartition(b" ")
        raw = base64.b64decode(own_text)[:4] + base64.b64decode(other.rpartition(b" ")[2])[4:]
        lines.append(prefix + b" " + base64.b64encode(raw) + b"\n")
    return b"".join(lines)


def test_heads_under_a_key_of_somebody_else_are_not_the_logs(tmp_path: Path) -> None:
    """A history that was made anew bears its log's name, and the id of no key that was given: refused, not unknown."""
    scribe = Scribe(tmp_path / "log")
    scribe.open()
    ours = scribe.signer
    scribe.signer = HeadSigner(scribe.settings.origin, NAME, seed=9)
    note = scribe.signer.note
    _, id_, _ = ours._named[0]  # under a name of its own it is nobody's
    stray = f"\u2014 stranger {base64.b64encode(id_ + bytes(64)).decode()}\n".encode()
    scribe.signer.note = lambda *how, **kinds: note(*how, **kinds) + stray  # type: ignore[method-assign]
    scribe.seal(*scribe.request(2))
    scribe.log.close()
    directory = scribe.settings.directory
    bad = check.check_log(directory, NAME, 1, keys=ours.vkeys).bad

    assert bad is not None
    assert ("HEAD", f"the head lacks a signature by the key of {NAME}/1") == (bad.reason, bad.message)
    assert check.check_log(directory, NAME, 1, keys=ours.vkeys[1:]).ok  # a line's key may have had another before it


@pytest.mark.parametrize(
    ("head", "stated", "why"),
    [
        (None, 0, "a sealed OUTCOME without its checkpoint"),
        (0, 1, "a head that was signed before its leaves were there"),
        (0, -1, "the head has 5 leaves, the OUTCOME says 4"),
        (-1, -1, "a head of 4 leaves, where no COMMIT ends"),
    ],
)
def test_an_outcome_says_what_its_head_does(scribe: Scribe, head: int | None, stated: int, why: str) -> None:
    """The head that it holds is there, is of its size, and was the newest of some moment before it."""
    (act,) = scribe.request(2)
    scribe.request(2)
    size, time = scribe.log.size, scribe.clock.now_ns() // 10**9
    note = b"" if head is None else scribe.signer.note(size + head, scribe.log.root(size + head), time)
    line, key_id, sealed = LINES[Mode.PROOF], KEY_IDS[Mode.PROOF], OutcomeStatus.SEALED
    scribe.outcome(OutcomeEvent((act.ref,), line, key_id, sealed, 0, 80, "a", size + stated, note, (), b"", 0))
    scribe.log.close()
    bad = judge(scribe.settings.directory, scribe).bad

    assert bad is not None
    assert ("HEAD", why) == (bad.reason, bad.message)


@pytest.mark.parametrize(("after_s", "holds"), [(9, False), (10, True), (300, True), (301, False)])
def test_a_head_is_in_time_for_its_oldest_and_its_newest_leaf(scribe: Scribe, after_s: int, *, holds: bool) -> None:
    """Of requests ten seconds apart: not before the second, nor 300 s after the first."""
    (first,), begun = scribe.request(1), scribe.clock.now_ns() // 10**9
    scribe.clock.advance(10)
    (second,) = scribe.request(1)
    note = scribe.signer.note(scribe.log.size, scribe.log.root(), begun + after_s)
    scribe.signer.note = lambda *_args, **_kinds: note  # type: ignore[method-assign]
    scribe.seal(first, second)
    scribe.log.close()

    assert holds == judge(scribe.settings.directory, scribe).ok


def test_an_older_checkpoint_is_of_this_log_and_by_its_key(scribe: Scribe) -> None:
    """The right root under another origin, at a size where no COMMIT ends, or signed by nobody who should: refused."""
    scribe.request(2)
    directory, size, root, between = scribe.settings.directory, scribe.log.size, scribe.log.root(), scribe.log.root(2)
    scribe.log.close()
    good, other = scribe.signer.note(size, root, 1, line=False), HeadSigner(f"{NAME}/2", NAME)
    forged = HeadSigner(f"{NAME}/1", NAME, seed=9).note(size, root, 1, line=False)
    text, lines = good.split(b"\n\n")
    cases = {
        other.note(size, root, 1, line=False): f"the head is of '{NAME}/2'",
        scribe.signer.note(2, between, 1, line=False): "a head of 2 leaves, where no COMMIT ends",
        text + b"\n\n" + stranger_lines(lines, forged.split(b"\n\n")[1]): f"signature of {NAME}/1 does not verify",
    }

    def told(older: bytes) -> str:
        bad = check.check_log(directory, NAME, 1, keys=[*scribe.signer.vkeys, *other.vkeys], older=older).bad
        assert bad is None or "CONSISTENCY" == bad.reason
        return "" if bad is None else bad.message

    assert told(good) == ""
    for older, why in cases.items():
        assert why in told(older)


def test_outcomes_must_fit_their_requests(scribe: Scribe) -> None:
    """An OUTCOME of leaves that its request does not have is named."""
    (act,) = scribe.request(2, mode=Mode.DIRECT)
    scribe.sign(act, [b"a", b"b"], OutcomeStatus.SIGNED)
    (act,) = scribe.request(2, mode=Mode.DIRECT)
    scribe.sign(act, [b"a"], OutcomeStatus.SIGNED)
    scribe.log.close()
    report = judge(scribe.settings.directory, scribe)

    assert report.bad is not None
    assert "1 signatures for 2 leaves" == report.bad.message


@pytest.mark.parametrize("hashes", [b"", hashlib.sha256(b"a").digest(), hashlib.sha256(b"a").digest() * 2])
def test_every_signature_has_its_hash(scribe: Scribe, hashes: bytes) -> None:
    """By it a signature that is found somewhere leads back to who asked for it: none may be missing or another's."""
    (act,) = scribe.request(2, mode=Mode.DIRECT)
    size, line, key_id = scribe.log.size, LINES[Mode.DIRECT], KEY_IDS[Mode.DIRECT]
    signed, both = OutcomeStatus.SIGNED, (b"a", b"b")
    scribe.outcome(OutcomeEvent((act.ref,), line, key_id, signed, 0, 80, "a", size, b"", both, hashes, 0))
    scribe.log.close()
    bad = judge(scribe.settings.directory, scribe).bad

    assert bad is not None
    assert ("HEAD", "the stored hash of a signature is not its hash") == (bad.reason, bad.message)


def test_chunks_of_the_tree_files_fit_together(tmp_path: Path) -> None:
    """More leaves than one chunk of the comparison, in batches of odd sizes."""
    scribe = Scribe(tmp_path / "log", segment_bytes=16 << 20)
    scribe.open()
    for count in (1, 4_095, CHUNK // 2, CHUNK // 2 + 7, CHUNK, 3):
        scribe.request(count)
    scribe.log.close()
    told: list[tuple[int, int]] = []
    directory = scribe.settings.directory
    report = check.check_log(directory, NAME, 1, progress=lambda done, todo: told.append((done, todo)))

    assert report.ok
    assert report.tree_size > 2 * CHUNK
    assert told[-1][0] == told[-1][1]
    for level, index in ((0, CHUNK), (16, 1), (17, 0), (5, (CHUNK >> 5) + 3)):
        path = directory / "tree" / f"level-{level:02}"
        kept = path.read_bytes()
        path.write_bytes(kept[: 32 * index] + b"?" + kept[32 * index + 1 :])
        bad = judge(directory, scribe).bad
        assert bad is not None
        assert f"level-{level:02} differs from the records at node {index}" in bad.message
        path.write_bytes(kept)


def test_a_directory_without_a_log_is_said(tmp_path: Path) -> None:
    """Not a traceback."""
    with pytest.raises(Invalid):
        identity(tmp_path)
