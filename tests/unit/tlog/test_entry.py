"""Heads have one encoding, and nothing else decodes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.scribe import request_event
from sealpress.core.merkle import EMPTY_ROOT
from sealpress.errors import Invalid
from sealpress.tlog import entry
from sealpress.tlog.entry import (
    ArtifactEvent,
    FieldEvent,
    GovernanceEvent,
    Head,
    OutcomeEvent,
    OutcomeStatus,
    RecoveryEvent,
    RefusalEvent,
    RequestForm,
    RequestRef,
)
from sealpress.values import RecordType

EVENTS = [
    request_event(),
    OutcomeEvent(
        (RequestRef(1, 2, 3),), "a/b/c/d/e", bytes(32), OutcomeStatus.SEALED, 0, 812, "a", 9, b"note", (), b"", 0
    ),
    RefusalEvent(bytes(16), "r", "uri:x", bytes(32), "a", "NOT_PERMITTED", b"d", 1, 0, bytes(32), 4, "ipv4:1"),
    GovernanceEvent("log.created", b"{}", bytes(32)),
    RecoveryEvent("torn_tail", 1, 8192, 9000, "x", bytes(32), 4, 2),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_a_head_decodes_to_what_was_encoded(event: entry.Event) -> None:
    """decode(encode(head)) == head, for every event."""
    head = Head(b"n" * 16, event, 5, 1, EMPTY_ROOT)

    assert head == entry.decode(entry.type_of(event), entry.VERSION, entry.encode(head))


@given(
    st.binary(min_size=16, max_size=16),
    st.text(max_size=60),
    st.integers(0, 2**32 - 1),
    st.tuples(st.text(max_size=40), st.text(max_size=40), st.integers(0, 2**63), st.text(max_size=40)),
    st.integers(0, 2**63),
    st.integers(1, 2**32 - 1),
    st.text(max_size=300),
)
def test_a_form_gives_the_bytes_that_encode_gives(
    id_: bytes, request_id: str, version: int, artifact: tuple[str, str, int, str], leaf: int, count: int, name: str
) -> None:
    """What is put together from encoded parts is the one encoding of the head, whatever stands in its fields."""
    fields = (FieldEvent("ref", name, "refs/tags/v1", True),)
    common = {
        "identity": name,
        "rule": name,
        "claims": (("sub", name),),
        "fields": fields,
        "grant_id": "g" * count.bit_length(),
    }
    other = request_event(request_id="another", security_version=7, **common)
    event = request_event(
        event_id=id_, request_id=request_id, same=id_ * 2, security_version=version, artifact=ArtifactEvent(*artifact),
        **common,
    )  # fmt: skip
    made = RequestForm(other).head(id_, id_, request_id, id_ * 2, version, event.artifact, leaf, count, EMPTY_ROOT)

    assert entry.encode(Head(id_, event, leaf, count, EMPTY_ROOT)) == made
    assert (id_, request_id) == (made[entry.EVENT_ID], entry.request_id_of(made).decode())


def test_a_form_takes_no_field_of_a_wrong_length() -> None:
    """A record that could not be read again is not made."""
    form, event = RequestForm(request_event()), request_event()
    for wrong in range(4):
        of_16_or_32 = [bytes(16), bytes(16), bytes(32), EMPTY_ROOT]
        of_16_or_32[wrong] = b"short"
        nonce, id_, same, root = of_16_or_32
        with pytest.raises(ValueError, match="16 bytes"):
            form.head(nonce, id_, "r", same, 0, event.artifact, 0, 1, root)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_another_encoding_of_the_same_head_is_refused(event: entry.Event) -> None:
    """A wide integer, a wide array header and a trailing byte decode in MessagePack, and are refused here."""
    head = entry.encode(Head(b"n" * 16, event, 5, 1, EMPTY_ROOT))
    type_ = entry.type_of(event)
    index_at = head.rindex(b"\x05\x01\xc4\x20" + EMPTY_ROOT)
    others = [
        head[:index_at] + b"\xcc\x05" + head[index_at + 1 :],
        b"\xdc\x00\x05" + head[1:],
        head + b"\x00",
        head[:-1],
        b"\x96" + head[1:] + b"\xc0",
    ]

    for other in others:
        with pytest.raises(Invalid) as caught:
            entry.decode(type_, entry.VERSION, other)
        assert caught.value.reason == "ENTRY_ENCODING"


def test_an_unknown_version_or_type_is_refused() -> None:
    """Nobody guesses what a later version means, nor reads one event as another."""
    head = entry.encode(Head(b"n" * 16, EVENTS[3], 0, 1, EMPTY_ROOT))

    for type_, version, reason in [
        (RecordType.GOVERNANCE, 2, "ENTRY_VERSION"),
        (RecordType.COMMIT, 1, "ENTRY_TYPE"),
        (99, 1, "ENTRY_TYPE"),
        (RecordType.REQUEST, 1, "ENTRY_ENCODING"),
    ]:
        with pytest.raises(Invalid) as caught:
            entry.decode(type_, version, head)
        assert reason == caught.value.reason


@given(st.binary(max_size=200))
def test_random_bytes_never_raise_anything_but_invalid(data: bytes) -> None:
    """The decoder is total."""
    for type_ in RecordType:
        try:
            head = entry.decode(type_, entry.VERSION, data)
        except Invalid:
            continue
        assert entry.encode(head) == data


@given(st.text(), st.text(max_size=50), st.integers(0, 2**63 - 1), st.integers(1, 2**32 - 1))
def test_any_strings_and_numbers_survive(name: str, request_id: str, first: int, count: int) -> None:
    """What callers say comes back unchanged; escaping is the printer's work."""
    event = request_event(request_id=request_id, artifact=ArtifactEvent(name, "", 0, ""))
    head = Head(b"n" * 16, event, first, count, bytes(32))

    assert head == entry.decode(RecordType.REQUEST, 1, entry.encode(head))


def test_names_come_back_and_a_cut_column_is_refused() -> None:
    """The names column is exact."""
    column = b"".join(
        size.to_bytes(8, "little") + len(name.encode()).to_bytes(4, "little") + name.encode()
        for size, name in [(1, "a"), (1 << 40, "ü\x00"), (0, "")]
    )

    assert [(1, "a"), (1 << 40, "ü\x00"), (0, "")] == entry.unpack_names(column)
    for cut in range(1, len(column)):
        if cut in (13, 13 + 15):
            continue  # a border between items
        with pytest.raises(Invalid):
            entry.unpack_names(column[:cut])


def test_struct_sizes_cannot_be_confused() -> None:
    """An array with a field too few or too many is refused: nothing is filled in by a default."""
    head = Head(b"n" * 16, EVENTS[0], 5, 1, EMPTY_ROOT)
    plain = msgspec.msgpack.decode(entry.encode(head))
    for event in ([*plain[1], "more"], plain[1][:-1]):
        with pytest.raises(Invalid):
            entry.decode(RecordType.REQUEST, 1, msgspec.msgpack.encode([plain[0], event, *plain[2:]]))
