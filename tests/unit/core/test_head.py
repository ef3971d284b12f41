"""The core's reader of heads takes exactly what the Python decoder takes: the one encoding of each head."""

from __future__ import annotations

import random
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit.scribe import request_event
from sealpress.core._native import lib
from sealpress.core.status import statuses
from sealpress.errors import Invalid
from sealpress.tlog import entry
from sealpress.tlog.entry import (
    ArtifactEvent,
    Event,
    FieldEvent,
    GovernanceEvent,
    Head,
    OutcomeEvent,
    OutcomeStatus,
    RecoveryEvent,
    RefusalEvent,
    RequestEvent,
    RequestRef,
)
from sealpress.values import DigestAlgorithm, Format, Mode, RecordType

OK, VERSION = statuses()["SP_OK"], statuses()["SP_E_VERSION"]
NATURAL = st.one_of(
    st.integers(0, 300),
    st.integers(0, 2**64 - 1),
    st.sampled_from([2**k - d for k in (7, 8, 16, 32, 64) for d in (0, 1) if 2**k - d < 2**64]),
)
COUNT = st.one_of(st.integers(0, 300), st.integers(0, 2**32 - 1))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(["a" * 31, "a" * 32, "ä" * 128])
BYTES = st.binary(max_size=40) | st.sampled_from([bytes(255), bytes(256), bytes(65_536)])
BYTES16, BYTES32 = st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32)
CLAIMS = st.lists(st.tuples(TEXT, TEXT), max_size=18).map(tuple)
FIELDS = st.lists(st.builds(FieldEvent, TEXT, TEXT, TEXT, st.booleans()), max_size=3).map(tuple)
ARTIFACT = st.builds(ArtifactEvent, TEXT, TEXT, NATURAL, TEXT)
REFS = st.lists(st.builds(RequestRef, NATURAL, NATURAL, COUNT), max_size=18).map(tuple)
EVENTS: dict[RecordType, st.SearchStrategy[Any]] = {
    RecordType.REQUEST: st.builds(
        RequestEvent, BYTES16, TEXT, TEXT, BYTES, TEXT, BYTES32, st.sampled_from(Mode), st.sampled_from(Format),
        st.sampled_from(DigestAlgorithm), BYTES32, COUNT, ARTIFACT, TEXT, BYTES32, TEXT, TEXT, NATURAL, st.booleans(),
        TEXT, TEXT, TEXT, TEXT, TEXT, CLAIMS, BYTES, TEXT, TEXT, FIELDS, TEXT,
    ),
    RecordType.OUTCOME: st.builds(
        OutcomeEvent, REFS, TEXT, BYTES32, st.sampled_from(OutcomeStatus), NATURAL, NATURAL, TEXT, NATURAL, BYTES,
        st.lists(BYTES, max_size=3).map(tuple), BYTES, NATURAL,
    ),
    RecordType.REFUSAL: st.builds(
        RefusalEvent, BYTES16, TEXT, TEXT, BYTES, TEXT, TEXT, st.binary(max_size=64), COUNT, NATURAL, BYTES32, NATURAL,
        TEXT, TEXT, TEXT, TEXT, FIELDS, TEXT,
    ),
    RecordType.GOVERNANCE: st.builds(GovernanceEvent, TEXT, BYTES, BYTES32, TEXT),
    RecordType.RECOVERY: st.builds(RecoveryEvent, TEXT, NATURAL, NATURAL, NATURAL, TEXT, BYTES, NATURAL, NATURAL),
}  # fmt: skip


@st.composite
def heads(draw: st.DrawFn) -> tuple[RecordType, bytes]:
    """A record type and the bytes of a head of it."""
    type_ = draw(st.sampled_from(list(EVENTS)))
    head = Head(draw(BYTES16), draw(EVENTS[type_]), draw(NATURAL), draw(st.integers(1, 2**32 - 1)), draw(BYTES32))
    return type_, entry.encode(head)


def core_takes(type_: int, head: bytes, version: int = entry.VERSION) -> bool:
    """What C says."""
    return bool(lib.sp_head_check(type_, version, head, len(head)) == OK)


def python_takes(type_: int, head: bytes, version: int = entry.VERSION) -> bool:
    """What the decoder of tlog says."""
    try:
        entry.decode(type_, version, head)
    except Invalid:
        return False
    return True


def bent(head: bytes, rng: random.Random) -> bytes:
    """A small change: bits, bytes taken out or put in, an end cut off, another form of a number."""
    out = bytearray(head)
    at = rng.randrange(len(out))
    change = rng.randrange(6)
    if change == 0:
        out[at] ^= 1 << rng.randrange(8)
    elif change == 1:
        out[at] = rng.randrange(256)
    elif change == 2:
        del out[at : at + rng.randint(1, 3)]
    elif change == 3:
        out[at:at] = rng.randbytes(rng.randint(1, 3))
    elif change == 4:
        del out[at:]
    else:
        out[at : at + 1] = bytes([rng.choice((0xCC, 0xCD, 0xD9, 0xC5, 0xDC, 0xDA)), 0, out[at]])[: rng.randint(2, 3)]
    return bytes(out)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(heads(), st.randoms(use_true_random=False))
def test_core_and_python_take_the_same_heads(made: tuple[RecordType, bytes], rng: random.Random) -> None:
    """Whatever msgspec writes is taken; a changed one is taken by both or by none."""
    type_, head = made
    assert core_takes(type_, head)
    assert not core_takes(type_, head, entry.VERSION + 1)
    for other in RecordType:
        assert core_takes(other, head) == python_takes(other, head)
    for _ in range(30):
        changed = bent(head, rng)
        assert core_takes(type_, changed) == python_takes(type_, changed), changed.hex()


def test_every_byte_of_a_head_counts() -> None:
    """All single-bit flips and all prefixes of one REQUEST are judged as the decoder judges them."""
    event = request_event(claims=(("repo", "a/b"),), fields=(FieldEvent("ref", "main", "máin", True),))
    head = entry.encode(Head(bytes(16), event, 300, 70_000, bytes(32)))
    for bit in range(8 * len(head)):
        changed = bytearray(head)
        changed[bit // 8] ^= 1 << bit % 8
        assert core_takes(1, bytes(changed)) == python_takes(1, bytes(changed)), bit
    assert [core_takes(1, head[:size]) for size in range(len(head) + 1)] == [False] * len(head) + [True]


@pytest.mark.parametrize("type_", [0, 6, 7, 8, 255])
def test_other_frames_have_no_head(type_: int) -> None:
    """COMMIT, SEAL and unknown types are refused, whatever they hold."""
    assert not core_takes(type_, entry.encode(Head(bytes(16), request_event(), 0, 1, bytes(32))))


def test_a_newer_version_is_told_from_damage() -> None:
    """An unknown version is never guessed at and has its own status."""
    assert lib.sp_head_check(RecordType.REQUEST, 2, b"", 0) == VERSION


def test_every_event_of_the_log_is_known_to_the_core() -> None:
    """A field that is added to an event without the core's table (and a new version) fails here."""
    assert {type(None)} | set(get_args(Event)) == {type(None), *entry.EVENTS.values()}
    counts = {type_: len(msgspec.structs.fields(event)) for type_, event in entry.EVENTS.items()}
    assert {1: 29, 2: 12, 3: 17, 4: 4, 5: 8} == {int(type_): count for type_, count in counts.items()}
