"""Is an approval of this change and no other, to the last byte?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from kit.approving import ITEMS, NOW, Person
from kit.judging import ALICE, CHANGE, check, refused, signed
from kit.softkeys import SK_ECDSA, SK_ED25519, SoftKey, armor, dearmor
from sealpress.errors import Invalid
from sealpress.verify.change import ChangeRecord, ReleaseRequest, decode, encode, manifest_sha256
from sealpress.verify.statement import Statement, parse, render

ELSE: dict[str, Any] = {
    "deployment": "prod-us.sign.acme.example",
    "log": "sign.acme.example/log2",
    "change_id": "01JD8W6Q2N0K3M7T9V5X1Z4B6D",
    "change_kind": "key.issue",
    "change_sha256": "00" * 32,
    "policy_sha256": "00" * 32,
    "line": "acme/router/eu/prod/boot",
    "summary": "1 artifact",
    "decision": "reject",
    "step": "1/1 signing",
    "person": "person:bob",
    "seen_size": 18,
    "seen_root": bytes(32),
}
FREE = {"nonce": "0" * 32, "issued": NOW - 1, "expires": NOW + 1, "note": "other"}


@pytest.mark.parametrize("field", ELSE)
def test_each_field_signed_otherwise(field: str) -> None:
    """A statement that says anything else of the change does not count, although the person signed it."""
    said = signed(replace(ALICE.statement(CHANGE), **{field: ELSE[field]}))
    reasons = {"person": "APPROVAL_PERSON", "seen_size": "APPROVAL_SEEN", "seen_root": "APPROVAL_SEEN"}

    assert refused(CHANGE, said) == reasons.get(field, "APPROVAL_STATEMENT")


@pytest.mark.parametrize("field", [*ELSE, *FREE])
def test_each_field_changed_afterwards(field: str) -> None:
    """A statement that is not what was signed does not count, whichever field was changed."""
    raw, signature = ALICE.approve(CHANGE)
    other = render(replace(parse(raw), **{field: {**ELSE, **FREE}[field]}))

    assert refused(CHANGE, (other, signature)) == "APPROVAL_SIGNATURE"


def test_every_field_is_mutated_above() -> None:
    """A new field of the statement has to be thought of here."""
    assert set(Statement.__dataclass_fields__) == {*ELSE, *FREE}


OTHER_CHANGES: dict[str, Any] = {
    "deployment": "prod-us.sign.acme.example",
    "log": "sign.acme.example/log2",
    "policy_sha256": "00" * 32,
    "change_id": "01JD8W6Q2N0K3M7T9V5X1Z4B6D",
    "kind": "key.issue",
    "line": "acme/router/eu/prod/boot",
    "request": "{}",
    "summary": "1 artifact",
    "reason": "other",
    "risk": "high",
    "rollback": "none",
    "ticket": "T-1",
    "profile": "lab",
    "requester": "uri:spiffe://acme/other",
    "requester_person": "person:dave",
    "creator_person": "person:dave",
    "created": NOW - 601,
    "expires": NOW + 8 * 86_400,
    "required": structs.replace(CHANGE.required, min_groups=2),
}


@pytest.mark.parametrize("field", OTHER_CHANGES)
def test_replay_against_another_change(field: str) -> None:
    """An approval is of one change: in another deployment, after a policy change, or if any field is another."""
    assert refused(structs.replace(CHANGE, **{field: OTHER_CHANGES[field]}), ALICE.approve(CHANGE)) == (
        "APPROVAL_STATEMENT"
    )


def test_every_field_of_a_change_is_bound() -> None:
    """A new field of the change record has to be thought of here."""
    assert {*OTHER_CHANGES, "schema"} == set(ChangeRecord.__struct_fields__)


def test_one_digest_more() -> None:
    """The digests are bound through the request's bytes, whatever the summary says."""
    request = decode(CHANGE.request, ReleaseRequest)
    items = (*ITEMS, structs.replace(ITEMS[0], digest="ff" * 32))
    more = structs.replace(request, items=items, manifest_sha256=manifest_sha256(items))
    other = structs.replace(CHANGE, request=encode(more).decode())

    assert refused(other, ALICE.approve(CHANGE)) == "APPROVAL_STATEMENT"


@pytest.mark.parametrize("type_", [SK_ED25519, SK_ECDSA])
def test_every_byte_of_the_signature(type_: str) -> None:
    """One bit of any byte, or a byte less: refused before anybody is named."""
    who = Person(key=SoftKey.make(type_))
    statement, signature = who.approve(CHANGE)
    blob = dearmor(signature)

    for at in range(len(blob)):
        flipped = bytearray(blob)
        flipped[at] ^= 1 << at % 8
        reason = refused(CHANGE, (statement, armor(bytes(flipped))), who)
        assert reason in ("APPROVAL_SIGNATURE", "APPROVAL_KEY", "APPROVAL_FLAGS"), at
        assert refused(CHANGE, (statement, armor(blob[:at])), who) == "APPROVAL_SIGNATURE", at


@settings(max_examples=300, deadline=None)
@given(st.floats(0, 1), st.integers(0, 2), st.binary(max_size=2))
def test_every_byte_of_the_statement(where: float, cut: int, put: bytes) -> None:
    """Any other bytes are refused, and never with another error."""
    at = int(where * (len(SAID[0]) - 1))
    other = SAID[0][:at] + put + SAID[0][at + cut :]

    if other != SAID[0]:
        assert refused(CHANGE, (other, SAID[1])) in ("APPROVAL_STATEMENT", "APPROVAL_SIGNATURE")


SAID = ALICE.approve(CHANGE)


def test_signatures_for_other_purposes() -> None:
    """The namespace keeps approvals apart from all else that a key signs."""
    statement = SAID[0]

    for namespace in ("file", "git", "anchors@v1.sealpress", "approval@v1.sealpress "):
        assert refused(CHANGE, (statement, ALICE.key.sign(statement, namespace))) == "APPROVAL_SIGNATURE"


@pytest.mark.parametrize(("step", "counts"), [(1, True), (2, True), (0, False), (3, False), (99, False)])
def test_steps(step: int, *, counts: bool) -> None:
    """An approval is one of the steps of its change; which one is not decided here."""
    said = ALICE.approve(CHANGE, step=step)

    if counts:
        assert check(CHANGE, said)
    else:
        assert refused(CHANGE, said) == "APPROVAL_STATEMENT"


@pytest.mark.parametrize(("quorum", "step", "counts"), [(0, 1, True), (0, 2, False), (1, 1, True), (1, 2, False)])
def test_a_change_that_needs_one_or_none_has_one_step(quorum: int, step: int, *, counts: bool) -> None:
    """So that what a person signs never names a second."""
    small = structs.replace(CHANGE, required=structs.replace(CHANGE.required, quorum=quorum))
    said = ALICE.approve(small, step=step)

    assert check(small, said) if counts else refused(small, said) == "APPROVAL_STATEMENT"


def test_what_differs_is_shown() -> None:
    """The first line that is not the change's, beside the one that would be."""
    said = signed(replace(ALICE.statement(CHANGE), line="acme/router/eu/prod/boot", summary="1 artifact"))
    with pytest.raises(Invalid) as caught:
        check(CHANGE, said)

    assert caught.value.message == (
        "it says 'line: acme/router/eu/prod/boot'; this change says 'line: acme/router/eu/prod/firmware'"
    )
