"""The index of a segment is a hint that cannot lie: the same records with it, without it, and with a damaged one."""

from __future__ import annotations

import errno
import os
import random
import shutil
from pathlib import Path

import pytest

from kit.disk import FaultDisk
from kit.resident import mapped_kib
from kit.scribe import Scribe
from sealpress.core import index
from sealpress.core.index import Index
from sealpress.core.segment import Segment, segment_name
from sealpress.errors import CoreError
from sealpress.tlog import explain
from sealpress.tlog.entry import OutcomeEvent, OutcomeStatus, RefusalEvent, RequestEvent
from sealpress.tlog.reader import LogReader
from sealpress.tlog.record import Record


def index_path(scribe: Scribe, number: int) -> Path:
    """The file of an index."""
    return scribe.settings.directory / "index" / f"{number:020}.idx"


def questions(records: list[Record]) -> tuple[set[bytes], set[bytes], set[bytes]]:
    """All that can be asked about these records: digests, event ids, hashes of signatures."""
    digests, ids, hashes = set(), set(), set()
    for record in records:
        event = record.event
        if isinstance(event, RequestEvent):
            size = event.algorithm.size
            digests |= {record.digests[at : at + size] for at in range(0, len(record.digests), size)}
        if isinstance(event, RefusalEvent):
            digests.add(event.digest)
        if isinstance(event, RequestEvent | RefusalEvent):
            ids.add(event.event_id)
        if isinstance(event, OutcomeEvent):
            hashes |= {event.signature_sha256[at : at + 32] for at in range(0, len(event.signature_sha256), 32)}
    return digests, ids, hashes


def answers(reader: LogReader, records: list[Record]) -> dict[object, list[int]]:
    """Every answer that Explain's searches give, as seqs."""
    digests, ids, hashes = questions(records)
    found: dict[object, list[int]] = {each: [r.seq for r in explain.by_digest(reader, each)] for each in digests}
    found |= {each: [record.seq for record in explain.by_event_id(reader, each)] for each in ids}
    found |= {each: [record.seq for record in explain.by_signature(reader, each)] for each in hashes}
    for record in records:
        if isinstance(record.event, RequestEvent):
            found[record.seq] = [each.seq for each in explain.outcomes_of(reader, record)]
            assert reader.request(record.seq) == record
    return found


def history(scribe: Scribe) -> list[Record]:
    """Four segments, the last one active."""
    for _ in range(3):
        scribe.history(50)
        scribe.log.seal_segment()
    scribe.history(20)
    return list(scribe.log.records())


def make_all(scribe: Scribe) -> None:
    """The indexes of all sealed segments."""
    for number in range(scribe.log.reader.end.segment):
        scribe.log.reader.indexes.make(number)


@pytest.mark.parametrize("seed", range(2))
def test_explain_finds_the_same_with_and_without_index(tmp_path: Path, seed: int) -> None:
    """Whatever can be asked about random histories over several segments."""
    scribe = Scribe(tmp_path / "log", seed)
    scribe.open()
    records = history(scribe)
    without = answers(scribe.log.reader, records)
    assert not index_path(scribe, 0).exists()
    make_all(scribe)
    with_index = answers(scribe.log.reader, records)
    shutil.rmtree(scribe.settings.directory / "index")
    scribe.log.close()

    assert without == with_index
    assert sum(map(len, without.values())) > 200


def test_a_damaged_index_is_made_again(scribe: Scribe) -> None:
    """A byte turned anywhere, a cut, another segment's file: the same answers, and the same file as before."""
    history(scribe)
    make_all(scribe)
    rng = random.Random(3)
    some = rng.sample([record for record in scribe.log.records() if record.where.segment == 1], 12)
    expected = answers(scribe.log.reader, some)
    path = index_path(scribe, 1)
    good = path.read_bytes()
    spoiled = [b"", good[:-1], good[:4096], good + bytes(4096), index_path(scribe, 0).read_bytes(), bytes(len(good))]
    for at in [*range(0, 140, 20), *(rng.randrange(4096, len(good)) for _ in range(15))]:
        spoiled.append(good[:at] + bytes([good[at] ^ 1 << rng.randrange(8)]) + good[at + 1 :])
    for bad in spoiled:
        scribe.log.reader.indexes.close()
        path.unlink()
        path.write_bytes(bad)
        assert expected == answers(scribe.log.reader, some)
        scribe.log.reader.indexes.make(1)
        assert good == path.read_bytes()


@pytest.mark.parametrize("bad", ["page", "header", "version", "gone"])
def test_a_start_does_not_trust_a_damaged_index(scribe: Scribe, bad: str) -> None:
    """Known requests, dangling ones and facts are the same; the file is made again."""
    history(scribe)
    make_all(scribe)
    before = scribe.reopen().recovered
    scribe.log.close()
    path = index_path(scribe, 2)
    good = path.read_bytes()
    at = {"page": len(good) - 2_000, "header": 30, "version": 8, "gone": 0}[bad]
    if bad == "gone":
        path.unlink()
    else:
        path.write_bytes(good[:at] + bytes([good[at] ^ 2]) + good[at + 1 :])
    after = scribe.open().recovered

    assert good == path.read_bytes()
    assert [each.where for each in before.dangling] == [each.where for each in after.dangling]
    assert (before.sealed_size, before.governance_seq) == (after.sealed_size, after.governance_seq)


@pytest.mark.parametrize("left", [b"", b"torn"])
def test_a_segment_that_lost_its_end_loses_its_index(scribe: Scribe, left: bytes) -> None:
    """A disk that kept the index and not the last batch: what is written there instead is found and known."""
    scribe.request(1)
    (lost,) = scribe.request(1)
    scribe.log.seal_segment()
    scribe.log.reader.indexes.make(0)
    scribe.log.close()
    path = scribe.settings.directory / "journal" / f"{0:020}.seg"
    kept = path.read_bytes()[: lost.where.offset] + left
    path.write_bytes(kept.ljust(scribe.settings.segment_bytes, b"\0"))
    scribe.open()
    (instead,) = scribe.request(2)
    scribe.log.seal_segment()
    recovered, digest = scribe.log.recovered, scribe.log.stored(instead.where).digests[:32]
    recovered.earlier.add(recovered.earlier.part(0))
    recovered.known.let_go(scribe.clock.now_ns() + scribe.settings.window_s * 10**9)  # nothing is in memory
    found = recovered.known.get(instead.event.identity, instead.event.request_id, scribe.clock.now_ns())

    assert instead.where.segment == 0
    assert found is not None
    assert instead.placed.seq == found.seq
    assert [instead.placed.seq] == [record.seq for record in explain.by_digest(scribe.log.reader, digest)]


def test_equal_digests_and_equal_beginnings_are_told_apart(scribe: Scribe) -> None:
    """Hundreds of requests for one digest, and digests that share eight bytes: each leads to its own records."""
    same, near = b"S" * 32, [b"S" * 8 + bytes([i]) * 24 for i in range(100, 200)]
    taken = iter([same] * 300 + near + [same * 50])
    scribe.digests = lambda count: next(taken)  # type: ignore[method-assign]
    acts = [act for _ in range(20) for act in scribe.request(*[1] * 20)]
    (batch,) = scribe.request(50)
    scribe.log.seal_segment()
    scribe.policy(b"next segment")
    make_all(scribe)
    number = batch.where.segment
    reader = scribe.log.reader

    found = reader.indexes.places(number, index.value_key(same))
    assert found is not None
    assert found.count(batch.where.offset) == 1
    expected = [act.placed.seq for act in acts[:300]] + [batch.placed.seq]
    assert expected == sorted(record.seq for record in explain.by_digest(reader, same))
    for digest, act in zip(near, acts[300:], strict=True):
        assert [act.placed.seq] == [record.seq for record in explain.by_digest(reader, digest)]


def test_an_index_that_cannot_be_saved_serves_from_memory(scribe: Scribe) -> None:
    """A full disk, a failing one: the start succeeds, and the next one tries again."""
    history(scribe)
    scribe.log.close()
    disk = FaultDisk()
    for operation in ("mkdir", "open", "pwrite", "sync_all", "rename"):
        shutil.rmtree(scribe.settings.directory / "index", ignore_errors=True)
        with Segment(scribe.settings.directory / "journal" / f"{0:020}.seg", disk=disk.address) as segment:
            made = Index.build(segment)
            disk.fail(operation, 1, errno.ENOSPC)
            with pytest.raises(CoreError):
                made.save(scribe.settings.directory, segment)
            disk.heal(operation)
            assert not index_path(scribe, 0).exists()
            assert not index_path(scribe, 0).with_suffix(".new").exists()
    (scribe.settings.directory / "index").rmdir()
    os.mkfifo(scribe.settings.directory / "index")  # nothing can be made below it
    scribe.open()
    assert scribe.log.recovered.sealed_size > 0
    scribe.log.close()
    (scribe.settings.directory / "index").unlink()
    scribe.open()

    assert index_path(scribe, 0).exists()


def test_only_the_last_records_and_open_requests_are_told(scribe: Scribe) -> None:
    """What a start reads of a segment: its last records by kind, the largest head, requests without an outcome."""
    for _ in range(20):
        (sealed,) = scribe.request(1)
        scribe.seal(sealed)
        scribe.refuse()
    (unsealed,) = scribe.request(2)
    scribe.policy(b"p")
    last_head = max((record for record in scribe.log.records() if isinstance(record.event, OutcomeEvent)), key=_size)
    scribe.log.seal_segment()
    scribe.seal(unsealed, status=OutcomeStatus.UNKNOWN)
    made = scribe.log.reader.indexes.make(0)
    reader = scribe.log.reader
    last = [reader.record(type(unsealed.where)(0, offset)) for offset in made.find(index.LAST_KEY)]

    assert [unsealed.where.offset] == made.find(index.OPEN_KEY)
    assert ["OutcomeEvent", "RefusalEvent", "RequestEvent", "GovernanceEvent"] == [type(r.event).__name__ for r in last]
    assert last_head == last[0]
    assert [] == made.find(index.outcome_key(unsealed.placed.seq))


def test_memory_does_not_grow_with_the_indexes_and_segments_looked_at(scribe: Scribe) -> None:
    """What a search of an index and a look at a segment's header read leaves the memory of the process at once."""
    records, directory = history(scribe), scribe.settings.directory
    make_all(scribe)
    answers(scribe.log.reader, records)
    assert not scribe.log.reader.indexes.missing(range(3))
    assert mapped_kib(directory / "index") == 0
    scribe.log.close()
    held = Segment(directory / "journal" / segment_name(0))
    assert mapped_kib(directory) == 0
    assert held.frame() is not None


def _size(record: Record) -> int:
    return int(record.head.event.tree_size)
