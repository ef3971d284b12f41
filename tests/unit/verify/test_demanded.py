"""Does a signer with trust anchors believe nobody but the approvers that they name?"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import structs

from kit import openssh
from kit.approving import ITEMS, LINE, NOW, Person, asking, make_change
from kit.officers import ALICE, BOB, BOOT, DAVE, EVE, GENESIS, make, reason
from sealpress.errors import Invalid
from sealpress.values import DigestAlgorithm
from sealpress.verify.anchors import (
    TrustAnchors,
    check_lift,
    check_release,
    open_release,
)
from sealpress.verify.change import ChangeRecord, ReleaseRequest, decode, encode, manifest_sha256

CHANGE = make_change()
DIGEST = bytes.fromhex(ITEMS[0].digest)


def release(
    change: ChangeRecord = CHANGE,
    people: Sequence[Person] = (ALICE, BOB),
    *,
    document: TrustAnchors = GENESIS,
    line: str = LINE,
    algorithm: DigestAlgorithm = DigestAlgorithm.SHA256,
    digest: bytes = DIGEST,
    now: int = NOW,
    **how: Any,
) -> str:
    """Why the signer refuses the leaf; empty if it does not."""
    approvals = [person.approve(change, step=step, **how) for step, person in enumerate(people, 1)]
    try:
        check_release(document, encode(change), approvals, line, algorithm, digest, now)
    except Invalid as error:
        assert error.hint
        return error.reason
    return ""


def test_an_approved_digest() -> None:
    """Two approvers of two groups: all digests of the change may be signed, until the first approval ends."""
    approvals = [ALICE.approve(CHANGE), BOB.approve(CHANGE, step=2, expires=NOW + 60)]
    opened = open_release(GENESIS, encode(CHANGE), approvals, LINE, NOW)

    assert release() == ""
    assert release(people=(ALICE, BOB, EVE)) == "APPROVAL_STATEMENT"  # a third step that the change does not have
    assert {bytes.fromhex(item.digest) for item in ITEMS} == opened.digests
    assert (opened.expires, opened.algorithm) == (NOW + 60, DigestAlgorithm.SHA256)
    for person in (ALICE, BOB):
        assert openssh.verifies(person.key.line, *person.approve(CHANGE), "approval@v1.sealpress", person.name)


ONE = CHANGE.required
ODD = (*ITEMS, structs.replace(ITEMS[0], digest="ff" * 48))
MIXED = structs.replace(decode(CHANGE.request, ReleaseRequest), items=ODD, manifest_sha256=manifest_sha256(ODD))
WIDE = CHANGE.request.replace('"algorithm":"sha256"', '"algorithm":"sha384"')
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("another digest", {"digest": hashlib.sha256(b"evil").digest()}, "RELEASE_DIGEST"),
    ("another algorithm", {"algorithm": DigestAlgorithm.SHA384}, "RELEASE_DIGEST"),
    ("another line", {"line": BOOT}, "RELEASE_CHANGE"),
    ("nobody", {"people": ()}, "RELEASE_QUORUM"),
    ("one", {"people": (ALICE,)}, "RELEASE_QUORUM"),
    ("one twice", {"people": (ALICE, ALICE)}, "RELEASE_QUORUM"),
    ("one group", {"people": (BOB, DAVE)}, "RELEASE_QUORUM"),
    ("the wrong group", {"people": (ALICE, EVE)}, "RELEASE_QUORUM"),
    ("a stranger", {"people": (ALICE, Person("person:mallory"))}, "APPROVAL_KEY"),
    ("a stranger's key", {"people": (ALICE, Person("person:bob"))}, "APPROVAL_KEY"),
    ("not touched", {"flags": 0}, "APPROVAL_FLAGS"),
    ("no PIN", {"flags": 1}, "APPROVAL_FLAGS"),
    ("no touch", {"flags": 4}, "APPROVAL_FLAGS"),
    ("a passkey", {"flags": 0x1D}, "APPROVAL_FLAGS"),
    ("a record that is content with less", {"change": asking(CHANGE, "ssh"), "flags": 0}, "APPROVAL_FLAGS"),
    (
        "a record that wants one person",
        {"change": make_change(required=structs.replace(ONE, quorum=1)), "people": (ALICE,)},
        "RELEASE_QUORUM",
    ),
    (
        "a record that wants three",
        {"change": make_change(required=structs.replace(ONE, quorum=3)), "people": (ALICE, BOB)},
        "RELEASE_QUORUM",
    ),
    ("a creator unknown", {"change": make_change(creator_person="")}, "RELEASE_QUORUM"),
    ("its creator", {"change": make_change(creator_person="person:alice")}, "APPROVAL_SELF"),
    ("its requester", {"change": make_change(requester_person="person:bob")}, "APPROVAL_SELF"),
    ("another deployment", {"change": make_change(deployment="prod-us")}, "RELEASE_CHANGE"),
    ("another log", {"change": make_change(log="x/y")}, "RELEASE_CHANGE"),
    ("a lab's", {"change": make_change(profile="lab")}, "RELEASE_CHANGE"),
    ("another kind", {"change": make_change(kind="key.resume")}, "RELEASE_CHANGE"),
    ("a request for another line", {"change": make_change(line=BOOT), "line": BOOT}, "RELEASE_CHANGE"),
    ("no request", {"change": make_change(request="{}")}, "CHANGE_ENCODING"),
    ("a false manifest", {"change": make_change(request=CHANGE.request.replace("a.bin", "c.bin"))}, "RELEASE_CHANGE"),
    ("a digest of another length", {"change": make_change(request=WIDE)}, "RELEASE_CHANGE"),
    ("one digest of another length", {"change": make_change(request=encode(MIXED).decode())}, "RELEASE_CHANGE"),
    ("after its end", {"now": NOW + 3_661}, "APPROVAL_EXPIRED"),
    ("before", {"now": NOW - 61}, "APPROVAL_EXPIRED"),
    ("old anchors", {"now": GENESIS.expires}, "ANCHORS_EXPIRED"),
    ("anchors made later", {"document": make(created=NOW + 1)}, "APPROVAL_KEY"),
    ("anchors without the line", {"document": make(lines={})}, "RELEASE_LINE"),
    ("too many", {"people": (ALICE,) * 65}, "RELEASE_QUORUM"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "how", "why"), REFUSED)
def test_the_signer_refuses(name: str, how: dict[str, Any], why: str) -> None:
    """A compromised daemon offers what it likes; the signer goes by its own document."""
    assert release(**how) == why, name


def test_a_creator_unknown_needs_three() -> None:
    """One person more (GR-30)."""
    assert release(make_change(creator_person=""), (ALICE, BOB, DAVE)) == ""


def test_approvals_of_another_change() -> None:
    """Signatures of one release do not open another."""
    approvals = [ALICE.approve(CHANGE), BOB.approve(CHANGE, step=2)]
    other = make_change(change_id="01JD8W6Q2N0K3M7T9V5X1Z4B6D")
    with pytest.raises(Invalid) as caught:
        open_release(GENESIS, encode(other), approvals, LINE, NOW)

    assert reason(caught) == "APPROVAL_STATEMENT"
    with pytest.raises(Invalid) as caught:
        open_release(GENESIS, encode(CHANGE) + b" ", approvals, LINE, NOW)
    assert reason(caught) == "CHANGE_ENCODING"


def lift(change: ChangeRecord, people: Sequence[Person], key: str = "fw", line: str = LINE) -> str:
    """Why the signer does not lift the stop; empty if it does."""
    approvals = [person.approve(change, step=step) for step, person in enumerate(people, 1)]
    try:
        assert check_lift(GENESIS, encode(change), approvals, key, line, NOW) == change
    except Invalid as error:
        return error.reason
    return ""


def test_lifting_a_stop() -> None:
    """The quorum of the line, for this key; the change is handed back, so that it lifts once."""
    change = make_change(kind="key.resume", request=f'{{"key":"fw","line":"{LINE}"}}', creator_person="")

    assert lift(change, (ALICE, BOB)) == ""
    assert lift(change, (ALICE,)) == "RELEASE_QUORUM"
    assert lift(change, (ALICE, BOB), key="other") == "RELEASE_CHANGE"
    assert lift(change, (ALICE, BOB), line=BOOT) == "RELEASE_CHANGE"
    assert lift(CHANGE, (ALICE, BOB)) == "RELEASE_CHANGE"
    assert lift(structs.replace(change, request="{}"), (ALICE, BOB)) == "CHANGE_ENCODING"
