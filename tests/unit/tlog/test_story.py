"""Is what Explain holds in memory bounded, whatever was signed?"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import pytest

from kit.scribe import Scribe
from sealpress.tlog import explain
from sealpress.tlog.record import Record

MIB = 1 << 20


def test_names_of_what_is_told_are_not_kept(scribe: Scribe) -> None:
    """Requests with a mebibyte of names each are told in the memory of a few of them, however many."""
    (act,) = scribe.request(1)
    record = scribe.log.record_at(act.where)

    def large() -> Iterator[Record]:
        for seq in range(32):
            yield replace(record, seq=record.seq + seq, names=bytes(MIB))

    tracemalloc.start()
    try:
        told = explain.story(scribe.log.reader, large())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(told) == 32
    assert peak < 8 * MIB


def test_a_story_ends_where_it_is_long_enough(scribe: Scribe, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told is bounded by the bytes of its records, too: an outcome may have thousands of signatures."""
    acts = scribe.request(3)
    record = scribe.log.record_at(acts[0].where)
    monkeypatch.setattr(explain, "HEADS_BYTES", 3 * len(record.head_bytes))
    told = explain.story(scribe.log.reader, (replace(record, seq=record.seq + each) for each in range(10)))
    assert len(told) == 3
