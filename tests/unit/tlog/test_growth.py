"""What an old log costs: as much as a young one, however many segments it has."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.scribe import Scribe
from sealpress.tlog import archive
from sealpress.tlog import reader as reading
from sealpress.tlog.entry import Where
from sealpress.tlog.log import Log
from sealpress.tlog.reader import LogReader
from sealpress.values import RecordType

FEW, MANY = 8, 128  # segments
SEQ, LEAF = 2, 1  # of the first request, behind what says which log it is
STEPS = 4  # that a search of MANY takes more than one of FEW


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Scribe]]:
    """Two logs of which one is sixteen times as long."""
    made = {segments: grown(tmp_path_factory.mktemp("logs") / "log", segments) for segments in (FEW, MANY)}
    yield made
    for scribe in made.values():
        scribe.log.close()


def grown(directory: Path, segments: int) -> Scribe:
    """So many sealed segments, with a request in each."""
    scribe = Scribe(directory)
    scribe.open()
    for _ in range(segments):
        scribe.request(1)
        scribe.log.seal_segment()
    scribe.request(1)
    return scribe


def looks(monkeypatch: pytest.MonkeyPatch, scribe: Scribe, work: Callable[[LogReader], object]) -> tuple[int, int]:
    """How many segments are opened, and how many directories listed, when it is done a second time."""
    opened, listed = [], []
    segment, scandir = reading.Segment, os.scandir

    def open_(*arguments: Any, **options: Any) -> Any:
        opened.append(arguments)
        return segment(*arguments, **options)

    def list_(*arguments: Any) -> Any:
        listed.append(arguments)
        return scandir(*arguments)

    settings = scribe.settings
    reader = LogReader(settings.directory, settings.name, settings.log_id)
    reader.end = scribe.log.reader.end
    work(reader)
    reader.close()  # no segment stays open
    with monkeypatch.context() as patch:
        patch.setattr(reading, "Segment", open_)
        patch.setattr(os, "scandir", list_)
        work(reader)
    reader.close()
    return len(opened), len(listed)


BEGINNINGS: dict[str, Callable[[LogReader], object]] = {
    "a tail from an old seq": lambda reader: next(reader.records(SEQ)),
    "a tail from a new seq": lambda reader: list(reader.records(1 << 40)),
    "a tail that goes on": lambda reader: list(reader.records(at=reader.end)),
    "a request of old": lambda reader: reader.request(SEQ) or pytest.fail("it is there"),
    "a leaf of old": lambda reader: next(reader.records_of_leaves(LEAF)),
    "a fact from where it stands": lambda reader: list(reader.of_types((), Where(reader.end.segment, 0))),
}


def test_where_a_search_begins_hides_nothing(scribe: Scribe) -> None:
    """From each seq and each time on all is found that reading everything finds, with one key or with any."""
    scribe.history(150)
    reader, requests = scribe.log.reader, (RecordType.REQUEST,)
    everything = [record for record in reader.records() if record.type is RecordType.REQUEST]
    assert len(reader.numbers()) > 3
    for wanted in (*everything[::5], everything[-1]):
        place = reader.since_seq(wanted.seq)
        assert next(reader.of_types(requests, place)) == wanted
        assert list(reader.records(wanted.seq)) == list(reader.records(at=wanted.where))
        assert list(reader.of_types(requests, place, indexed=True)) == list(reader.of_types(requests, place))
        key_id = wanted.event.key_id
        since = list(reader.of_types(requests, reader.since_time(wanted.time_ns), key_id))
        assert [each for each in since if each.time_ns >= wanted.time_ns and each.event.key_id == key_id] == [
            each for each in everything if each.time_ns >= wanted.time_ns and each.event.key_id == key_id
        ]
    behind = reader.since_seq(scribe.log.next_seq)
    assert list(reader.of_types(requests, behind)) == list(reader.records(at=behind)) == []
    assert next(reader.of_types(RecordType, reader.since_seq(0))) == next(reader.records())


def test_segments_without_a_fact_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lists the facts of a log looks into the index of a sealed segment, and reads on where one stands."""
    scribe = grown(tmp_path / "log", FEW)
    scribe.policy(b"rules")
    scribe.log.seal_segment()
    scribe.request(1)
    reader, read, find = scribe.log.reader, set[int](), reading.Segment.find
    for number in reader.numbers()[:-1]:
        reader.indexes.make(number)
    facts = [record for record in reader.records() if record.type is RecordType.GOVERNANCE]

    def found(segment: Any, needle: bytes, mask: int, offset: int, end: int) -> Any:
        if end > offset + 1:
            read.add(segment.header.number)
        return find(segment, needle, mask, offset, end)

    monkeypatch.setattr(reading.Segment, "find", found)
    assert list(reader.of_types((RecordType.GOVERNANCE,), indexed=True)) == facts
    assert read == {fact.where.segment for fact in facts} | {reader.end.segment}
    assert len(read) == 3
    scribe.log.close()


@pytest.mark.parametrize("what", BEGINNINGS)
def test_a_place_in_a_long_log_is_found_as_in_a_short_one(
    monkeypatch: pytest.MonkeyPatch, logs: dict[int, Scribe], what: str
) -> None:
    """In a log sixteen times as long no more segments are looked at than a search by halves does; nothing is listed."""
    # A follower asks for what is new with each commit: a list of the segments each time would be most of the work.
    few, _ = looks(monkeypatch, logs[FEW], BEGINNINGS[what])
    many, listed = looks(monkeypatch, logs[MANY], BEGINNINGS[what])
    assert many <= few + STEPS
    assert listed == 0


def test_the_index_of_one_more_segment_is_made_without_a_look_at_all_others(
    monkeypatch: pytest.MonkeyPatch, logs: dict[int, Scribe]
) -> None:
    """While a log is written its segments end one after the other: each costs what the first did."""
    reader = logs[MANY].log.reader
    for number in reader.numbers()[:-1]:
        reader.indexes.make(number)
    monkeypatch.setattr(os, "scandir", lambda *_: pytest.fail("a directory was listed"))
    monkeypatch.setattr(os, "listdir", os.scandir)
    logs[MANY].log._make_indexes((MANY - 1,))
    assert reader.indexes.missing((MANY - 2, MANY - 1, MANY)) == [MANY]


def test_threads_that_see_a_segment_gone_pass_over_that_one_alone(
    monkeypatch: pytest.MonkeyPatch, logs: dict[int, Scribe]
) -> None:
    """Who finds the lowest segment archived while another does the same does not lose sight of the next."""
    settings = logs[FEW].settings
    reader = LogReader(settings.directory, settings.name, settings.log_id)
    reader.end = logs[FEW].log.reader.end
    assert reader.numbers() == range(FEW + 1)
    others = iter([reader.numbers])

    def gone(number: int) -> bool:
        for other in others:
            assert other() == range(1, FEW + 1)
        return number == 0

    monkeypatch.setattr(reader, "_gone", gone)
    assert reader.numbers() == range(1, FEW + 1)
    assert reader.numbers() == range(1, FEW + 1)


def test_the_daemon_looks_for_archived_segments_at_one_place(
    monkeypatch: pytest.MonkeyPatch, logs: dict[int, Scribe]
) -> None:
    """Once a second, on the event loop: not a look for each segment and each index that are mapped."""
    reader, asked, stat = logs[MANY].log.reader, [], os.stat
    for number in reader.numbers()[:-1]:
        reader.indexes.make(number)
    monkeypatch.setattr(os, "stat", lambda path, **others: asked.append(path) or stat(path, **others))
    reader.let_go()
    assert len(asked) == 1


def test_log_show_from_a_seq_does_not_read_what_stands_before(
    monkeypatch: pytest.MonkeyPatch, logs: dict[int, Scribe]
) -> None:
    """The last records of a long log are shown as soon as its first, and the same as by reading everything."""
    directory, opened, segment = logs[MANY].settings.directory, [], reading.Segment
    everything = list(reading.committed(directory))
    monkeypatch.setattr(reading, "Segment", lambda path: opened.append(path) or segment(path))
    for at in (0, 1, len(everything) // 2, len(everything) - 1):
        opened.clear()
        assert next(reading.committed(directory, everything[at].seq)) == everything[at]
        assert len(opened) <= MANY.bit_length() + 2
    assert list(reading.committed(directory, everything[-3].seq)) == everything[-3:]
    assert list(reading.committed(directory, everything[-1].seq + 1)) == []


async def test_a_start_looks_for_no_index_of_what_was_archived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten thousand segments that went long ago none is opened, each time the daemon starts."""
    scribe = grown(tmp_path / "log", FEW)
    scribe.clock.advance(2 * 86_400)
    scribe.request(1)
    scribe.log.close()
    now_s = scribe.clock.now_ns() // 1_000_000_000
    archive.archive(scribe.settings.directory, tmp_path / "cold", keep=2, older_s=0, window_s=0, now_s=now_s)
    log = Log.open(scribe.settings, scribe.clock, scribe.entropy)
    made: list[int] = []
    make = log.reader.indexes.make
    monkeypatch.setattr(log.reader.indexes, "make", lambda number, **how: made.append(number) or make(number, **how))
    log.start(asyncio.get_running_loop())
    await asyncio.get_running_loop().shutdown_default_executor()
    log.close()
    assert set(made) <= {FEW - 2, FEW - 1}
