"""Does a statement say one thing in one way, and is everything else refused?"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.approving import NOW, Person, make_change
from sealpress.errors import Invalid
from sealpress.verify.change import ChangeRecord
from sealpress.verify.statement import Statement, ask, needed, parse, render

CHANGE = make_change()
STATEMENT = Person(key=None).statement(CHANGE)  # type: ignore[arg-type]

TEXT = f"""\
sealpress approval v1
deployment: prod-eu.sign.acme.example
log: sign.acme.example/log1
change-id: 01JD8W6Q2N0K3M7T9V5X1Z4B6C
change-kind: sign.release
change-sha256: {CHANGE.sha256}
policy-sha256: {"8d" * 32}
seen-checkpoint: 17 SBNJTRN+FjG7owHVrKtue7eqdM4RhdRWVl71HXN2d7I=
line: acme/router/eu/prod/firmware
summary: 2 artifacts
decision: approve
step: 1/2 signing
person: person:alice
nonce: 9f86d081884c7d659a2feaa0c55ad015
issued: 2025-11-24T16:00:00Z
expires: 2025-11-24T17:00:00Z
"""


def refused(raw: bytes) -> None:
    """Not a statement."""
    with pytest.raises(Invalid) as caught:
        parse(raw)
    assert caught.value.reason == "APPROVAL_STATEMENT"
    assert caught.value.hint


def test_the_text_of_the_specification() -> None:
    """The bytes are those of GOVERNANCE 5."""
    assert TEXT.encode() == render(STATEMENT)
    assert parse(TEXT.encode()) == STATEMENT


def test_a_note_is_the_last_line() -> None:
    """Free text stands in one place, and only if there is any."""
    noted = replace(STATEMENT, note="checked on two machines: fine")

    assert render(noted) == TEXT.encode() + b"note: checked on two machines: fine\n"
    assert parse(render(noted)) == noted


def test_an_empty_field_reads_as_a_dash() -> None:
    """So that no line ends in a space."""
    bare = replace(STATEMENT, line="", summary="")

    assert b"\nline: -\nsummary: -\n" in render(bare)
    assert parse(render(bare)) == bare


def test_one_more_where_nobody_made_it() -> None:
    """A release without a creator needs one more person, and its statements say so (GR-30)."""
    unnamed = make_change(creator_person="")

    assert (2, 3, 2) == (needed(CHANGE), needed(unnamed), needed(make_change(creator_person="", kind="key.issue")))
    assert ask(unnamed, "person:a", 1, 0, bytes(32), "0" * 32, NOW, NOW + 1).step == "1/3 signing"


LINES = TEXT.splitlines(keepends=True)


@pytest.mark.parametrize("number", range(len(LINES)))
def test_every_line_once_in_its_place(number: int) -> None:
    """A line that is missing, twice, renamed, or before its neighbour."""
    line = LINES[number]

    refused("".join(LINES[:number] + LINES[number + 1 :]).encode())
    refused("".join([*LINES[:number], line, *LINES[number:]]).encode())
    refused("".join([*LINES[:number], "x" + line, *LINES[number + 1 :]]).encode())
    refused("".join([*LINES[:number], "unknown: x\n", *LINES[number:]]).encode())
    swapped = [*LINES]
    swapped[number - 1], swapped[number] = swapped[number], swapped[number - 1]
    refused("".join(swapped).encode())


OTHER_SPELLINGS = [
    ("", ""),
    (TEXT, TEXT[:-1]),
    (TEXT, TEXT + "\n"),
    (TEXT, TEXT + "note: \n"),
    (TEXT, TEXT + "note: -\n"),
    (TEXT, TEXT + "note: a\nnote: b\n"),
    (TEXT, TEXT + "note:  a\n"),
    ("\n", "\r\n"),
    ("v1", "v2"),
    ("line: ", "line:"),
    ("line: ", "line:  "),
    ("firmware\n", "firmware \n"),
    (" 17 ", " 017 "),
    (" 17 ", " +17 "),
    (" 17 ", " 1_7 "),
    (" 17 ", " ١٧ "),
    (" 17 ", " 17  "),
    (" 17 ", f" {1 << 63} "),
    ("d7I=", "d7J="),
    ("d7I=", "d7I"),
    ("d7I=", "d7I=="),
    ("16:00:00Z", "16:00:00+00:00"),
    ("16:00:00Z", "16:00:00"),
    ("16:00:00Z", "16:00Z"),
    ("16:00:00Z", "16:00:00.000Z"),
    ("16:00:00Z", "24:00:00Z"),
    ("16:00:00Z", "16:00:60Z"),
    ("2025-11-24T16", "2025-11-24 16"),
    ("2025-11-24T16", "2025-W48-1T16"),
    ("2025-11-24T16", "0001-01-01T00"),
    ("2025-11-24T16", "1969-12-31T16"),
    ("9f86", "9F86"),
    ("9f86", "9f8"),
    ("2 artifacts", "2 artifacts\u202e"),
    ("2 artifacts", "2 artifacts\u2028"),
    ("2 artifacts", "2 \x1b[8martifacts"),
    ("2 artifacts", "2\u00a0artifacts"),
    ("2 artifacts", "2\tartifacts"),
    ("2 artifacts", "x" * 4096),
]


@pytest.mark.parametrize(("what", "instead"), OTHER_SPELLINGS[1:])
def test_other_spellings(what: str, instead: str) -> None:
    """Numbers, times, digests and ends of lines are written in one way; what cannot be printed does not stand there."""
    assert what in TEXT

    refused(TEXT.replace(what, instead).encode())


def test_other_bytes() -> None:
    """Nothing, and what is no UTF-8."""
    refused(b"")
    refused(b"\xff" + TEXT.encode())
    refused(TEXT.replace("alice", "alic\xe9").encode("latin-1"))


WRONG_FIELDS: list[dict[str, Any]] = [
    {"seen_size": -1},
    {"seen_size": 1 << 63},
    {"seen_root": bytes(31)},
    {"nonce": "0" * 31},
    {"nonce": "0" * 32 + "\n"},
    {"issued": -1},
    {"expires": 253_402_300_800},
    {"summary": "-"},
    {"summary": " x"},
    {"person": "a\nb"},
    {"note": "-"},
    {"note": "x" * 513},
    {"line": "x" * 4000},
]


@pytest.mark.parametrize("wrong", WRONG_FIELDS)
def test_what_cannot_stand_there_is_not_written(wrong: dict[str, Any]) -> None:
    """A field that would read as something else, or that is none."""
    with pytest.raises(Invalid) as caught:
        render(replace(STATEMENT, **wrong))

    assert caught.value.reason == "APPROVAL_STATEMENT"


WORDS = st.text(st.characters(codec="utf-8"), max_size=40)


@given(
    st.builds(
        Statement,
        **{field.name: WORDS for field in fields(Statement) if field.type == "str" and field.name != "nonce"},
        seen_size=st.integers(0, (1 << 63) - 1),
        seen_root=st.binary(min_size=32, max_size=32),
        nonce=st.text("0123456789abcdef", min_size=32, max_size=32),
        issued=st.integers(0, 253_402_300_799),
        expires=st.integers(0, 253_402_300_799),
    )
)
def test_what_is_written_is_read(statement: Statement) -> None:
    """Either a statement cannot be written, or it is read as it was."""
    try:
        raw = render(statement)
    except Invalid:
        return

    assert parse(raw) == statement


@given(st.integers(0, len(TEXT) - 1), st.binary(max_size=3))
def test_whatever_is_read_is_written_so(at: int, put: bytes) -> None:
    """Bytes that are accepted are the only ones of their statement."""
    raw = TEXT.encode()[:at] + put + TEXT.encode()[at + 1 :]
    try:
        statement = parse(raw)
    except Invalid:
        return

    assert render(statement) == raw


def test_the_whole_statement_follows_from_the_change() -> None:
    """What the approver does not say comes from the change."""
    other: ChangeRecord = make_change(deployment="d", log="l/1", kind="key.issue", line="", summary="s", reason="r")
    said = ask(other, "person:bob", 2, 5, bytes(32), "0" * 32, NOW, NOW + 9, "n")

    assert (said.deployment, said.log, said.change_kind, said.line, said.summary) == ("d", "l/1", "key.issue", "", "s")
    assert (said.change_sha256, said.step, said.decision) == (other.sha256, "2/2 signing", "approve")
