"""Explain finds what was asked for, tells the whole story, and never lets a caller's text or a signature through."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.scribe import LINES, NAME, Act, Scribe
from sealpress.tlog import entry, explain
from sealpress.tlog.entry import OutcomeStatus
from sealpress.tlog.record import Record
from sealpress.values import Mode


def digest_of(scribe: Scribe, act: Act, position: int) -> bytes:
    """One digest of a request."""
    return scribe.log.stored(act.where).digests[32 * position : 32 * position + 32]


def seqs(found: Iterator[Record]) -> list[int]:
    """Which records."""
    return [record.seq for record in found]


def test_a_digest_tells_its_request_and_what_became_of_it(scribe: Scribe) -> None:
    """Also over segments: the request, its item, the sealed head."""
    (act,) = scribe.request(3, names=True)
    scribe.log.seal_segment()
    scribe.request(2)
    scribe.seal(act)
    digest = digest_of(scribe, act, 1)
    told = explain.story(scribe.log.reader, explain.by_digest(scribe.log.reader, digest), digest)

    assert ["request", "outcome"] == [each["type"] for each in told]
    expected = {"leaf_index": act.placed.first_leaf + 1, "digest": digest.hex(), "size": 1, "name": "f1"}
    assert [expected] == told[0]["items"]
    assert act.record.hex() == told[0]["record_sha256"]
    assert "sealed" == told[1]["event"]["status"]
    assert explain.ulid_text(act.event.event_id) == told[0]["event"]["event_id"]
    assert act.event.event_id == explain.parse_ulid(told[0]["event"]["event_id"])


def test_bytes_that_only_look_like_the_digest_are_no_hit(scribe: Scribe) -> None:
    """A needle across two digests, or inside a head, is not an item."""
    (act,) = scribe.request(2)
    across = scribe.log.stored(act.where).digests[16:48]

    assert [] == seqs(explain.by_digest(scribe.log.reader, across))
    assert [] == seqs(explain.by_digest(scribe.log.reader, act.event.same))
    assert [] == seqs(explain.by_event_id(scribe.log.reader, act.event.same[:16]))


def test_names_are_read_once_a_record(scribe: Scribe, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build farm signs one image under many names: each item of the answer does not cost a look at all names."""
    digest, read = scribe.digests(1), list[int]()
    scribe.digests = lambda count: digest * count  # type: ignore[method-assign]
    scribe.request(9, names=True)
    real = entry.unpack_names
    monkeypatch.setattr(entry, "unpack_names", lambda names: read.append(len(names)) or real(names))
    (told,) = explain.story(scribe.log.reader, explain.by_digest(scribe.log.reader, digest), digest)

    assert [item["name"] for item in told["items"]] == [f"f{number}" for number in range(9)]
    assert len(read) == 1


def test_lapses_and_second_attempts_belong_to_the_story(scribe: Scribe) -> None:
    """The same digest lapsed once and was sealed later: both are told, in order of time."""
    digest = scribe.digests(1)
    scribe.digests = lambda count: digest * count  # type: ignore[method-assign]
    (first,) = scribe.request(1)
    scribe.seal(first, status=OutcomeStatus.LAPSED)
    (second,) = scribe.request(1)
    scribe.seal(second)
    told = explain.story(scribe.log.reader, explain.by_digest(scribe.log.reader, digest))

    assert ["request", "outcome", "request", "outcome"] == [each["type"] for each in told]
    assert ["lapsed", "sealed"] == [each["event"]["status"] for each in told if each["type"] == "outcome"]


def test_refusals_are_found_by_digest_and_event_id(scribe: Scribe) -> None:
    """Who was not allowed stands in the log like who was."""
    refusal = scribe.refuse(line="bad\x1b[2Jline\u202e\n", digest=b"D" * 32)
    for found in (
        explain.by_digest(scribe.log.reader, b"D" * 32),
        explain.by_event_id(scribe.log.reader, refusal.event_id),
    ):
        (told,) = explain.story(scribe.log.reader, found)
        assert ("refusal", "NOT_PERMITTED") == (told["type"], told["event"]["reason"])
        assert "bad\\x1b[2Jline\\u202e\\n" == told["event"]["line"]


def test_a_signature_hash_leads_to_its_request(scribe: Scribe) -> None:
    """Direct: by the hash of one item's signature; the failed items' zeros lead nowhere."""
    acts = scribe.request(2, mode=Mode.DIRECT) + scribe.request(3, mode=Mode.DIRECT)
    scribe.sign(acts[0], [b"one", b"two"])
    scribe.sign(acts[1], [b"three", b"", b"five"], OutcomeStatus.PARTIAL)
    reader = scribe.log.reader
    for signature, act in ((b"two", acts[0]), (b"five", acts[1])):
        found = explain.by_signature(reader, hashlib.sha256(signature).digest())
        assert act.placed.seq == seqs(found)[0]
    assert [] == seqs(explain.by_signature(reader, hashlib.sha256(b"").digest()))


def test_no_signature_of_a_line_is_told(scribe: Scribe) -> None:
    """A withheld signature cannot be assembled from Explain or Tail."""
    (proof,) = scribe.request(1)
    note = scribe.seal(proof)
    (direct,) = scribe.request(2, mode=Mode.DIRECT)
    scribe.sign(direct, [b"secret signature", b""], OutcomeStatus.PARTIAL)
    told = json.dumps([explain.describe(record) for record in scribe.log.records()])

    for line in note.decode().splitlines()[4:]:
        assert line.rpartition(" ")[2] not in told
    assert b"secret signature".hex() not in told
    assert hashlib.sha256(b"secret signature").hexdigest() in told
    assert f"{NAME}/{LINES[Mode.PROOF]}" in told


@given(st.text())
def test_escaped_text_is_printable_and_unambiguous(text: str) -> None:
    """ASCII only; two texts never look the same."""
    escaped = explain.escape(text)

    assert escaped.isascii()
    assert not escaped or escaped.isprintable()
    assert text == escaped.encode().decode("unicode_escape")


@given(st.binary(min_size=16, max_size=16))
def test_ulids_have_one_text(raw: bytes) -> None:
    """26 letters and back; anything else is none."""
    text = explain.ulid_text(raw)

    assert raw == explain.parse_ulid(text)
    assert explain.parse_ulid(text[:-1]) is None
    assert explain.parse_ulid("Z" * 26) is None
    assert explain.parse_ulid(text[:-1] + "!") is None
