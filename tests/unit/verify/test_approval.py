"""Does exactly that count as an approval which a person did on purpose, with his key, for this change, now?"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from kit import openssh
from kit.approving import ITEMS, NOW, ROOT, Person, asking, make_change
from kit.softkeys import ED25519, SK_ECDSA, SK_ED25519, SoftKey, armor, dearmor
from sealpress.errors import Invalid
from sealpress.verify import approval
from sealpress.verify.approval import Counted, Enrolment
from sealpress.verify.change import ChangeRecord, ReleaseRequest, decode, encode, manifest_sha256
from sealpress.verify.statement import NAMESPACE, Statement, parse, render

CHANGE = make_change()
ALICE = Person()
FORTNIGHT = 14 * 86_400


def seen(size: int, root: bytes) -> bool:
    """Our log had this root at size 17."""
    return (size, root) == (17, ROOT)


def check(change: ChangeRecord, said: tuple[bytes, str], who: Person = ALICE, now: int = NOW) -> Counted:
    """Judge it as the daemon would."""
    return approval.check(change, *said, who.enrolled, now, seen)


def refused(change: ChangeRecord, said: tuple[bytes, str], who: Person = ALICE, now: int = NOW) -> str:
    """The reason why it does not count."""
    with pytest.raises(Invalid) as caught:
        check(change, said, who, now)
    assert caught.value.hint
    return caught.value.reason


def signed(statement: Statement, who: Person = ALICE) -> tuple[bytes, str]:
    """A person signs a statement as it is, whatever it says."""
    raw = render(statement)
    return raw, who.key.sign(raw, NAMESPACE)


@pytest.mark.parametrize("key", [SoftKey.make(SK_ED25519), SoftKey.make(SK_ECDSA), SoftKey.make(SK_ECDSA, origin="x")])
def test_an_approval_counts(key: SoftKey) -> None:
    """It says who, with which key, touched how; and hands back the nonce, which the caller lets count once."""
    alice = Person(key=key)
    said = alice.approve(CHANGE, note="looks good")
    counted = check(CHANGE, said, alice)

    assert (counted.person, counted.credential) == ("person:alice", key.fingerprint)
    assert (counted.flags, counted.counter) == (5, key.counter)
    assert (counted.nonce, counted.note) == ("9f86d081884c7d659a2feaa0c55ad015", "looks good")
    assert (counted.issued, counted.expires) == (NOW, NOW + 3_600)
    assert openssh.verifies(key.line, said[0], said[1], NAMESPACE, "person:alice")


# ---- touched and verified ----------------------------------------------------------------------------------------

FLAGS = [0x00, 0x01, 0x04, 0x05, 0x08, 0x0D, 0x10, 0x15, 0x1D, 0x09]
COUNTS = {
    "ssh": set(FLAGS),  # classes test and low: softer keys, so flags mean nothing
    "sk": {0x01, 0x05},
    "sk+uv": {0x05},
}


@pytest.mark.parametrize("type_", [SK_ED25519, SK_ECDSA])
@pytest.mark.parametrize("credential", COUNTS)
@pytest.mark.parametrize("flags", FLAGS)
def test_flags(type_: str, credential: str, flags: int) -> None:
    """Each level demands its flags, and none of a key that can be copied; ssh-keygen accepts all of these."""
    who = Person(key=SoftKey.make(type_))
    change = asking(CHANGE, credential)
    said = who.approve(change, flags=flags)

    if flags in COUNTS[credential]:
        assert check(change, said, who).flags == flags
        assert openssh.verifies(who.key.line, *said, NAMESPACE)
    else:
        assert refused(change, said, who) == "APPROVAL_FLAGS"


@pytest.mark.parametrize(("credential", "counts"), [("ssh", True), ("sk", False), ("sk+uv", False)])
def test_keys_without_authenticator(credential: str, *, counts: bool) -> None:
    """A key in a file counts where the policy says "ssh", and nowhere else."""
    who = Person(key=SoftKey.make(ED25519))
    change = asking(CHANGE, credential)
    said = who.approve(change)

    if counts:
        assert (check(change, said, who).flags, check(change, said, who).counter) == (None, None)
    else:
        assert refused(change, said, who) == "APPROVAL_KEY"


def test_the_signer_may_demand_more_than_the_change() -> None:
    """With a level of its own a verifier does not listen to the record's."""
    lax = asking(CHANGE, "ssh")
    said = ALICE.approve(lax, flags=1)

    assert check(lax, said).flags == 1
    with pytest.raises(Invalid, match="PIN"):
        approval.check_at(lax, *said, ALICE.enrolled, NOW, seen, "sk+uv")


# ---- this change and no other ------------------------------------------------------------------------------------

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


@pytest.mark.parametrize(("step", "counts"), [(1, True), (2, True), (0, False), (3, False), (99, False)])
def test_steps(step: int, *, counts: bool) -> None:
    """An approval is one of the steps of its change; which one is not decided here."""
    said = ALICE.approve(CHANGE, step=step)

    if counts:
        assert check(CHANGE, said)
    else:
        assert refused(CHANGE, said) == "APPROVAL_STATEMENT"


# ---- this person -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["requester_person", "creator_person"])
def test_nobody_approves_his_own(role: str) -> None:
    """Not what he asked for and not what he built (GR-30, 31)."""
    mine = make_change(**{role: "person:alice"})

    assert refused(mine, ALICE.approve(mine)) == "APPROVAL_SELF"


def test_keys_of_others() -> None:
    """A key counts for the person it is enrolled for, with the application it was enrolled with."""
    said = ALICE.approve(CHANGE)
    public = ALICE.enrolment

    def judged(enrolment: Enrolment | None) -> str:
        with pytest.raises(Invalid) as caught:
            approval.check(CHANGE, *said, lambda _: enrolment, NOW, seen)
        return caught.value.reason

    assert judged(None) == "APPROVAL_KEY"
    assert judged(replace(public, person="person:bob")) == "APPROVAL_PERSON"
    assert judged(replace(public, application="ssh:")) == "APPROVAL_KEY"
    assert judged(replace(public, key=Person().enrolment.key)) == "APPROVAL_KEY"
    assert judged(replace(public, effective=NOW + 1)) == "APPROVAL_KEY"
    assert judged(replace(public, expires=NOW)) == "APPROVAL_KEY"
    assert approval.check(CHANGE, *said, lambda _: replace(public, expires=0), NOW, seen)
    assert approval.check(CHANGE, *said, lambda _: replace(public, effective=NOW, expires=NOW + 1), NOW, seen)


def test_a_key_that_ends_between_issue_and_use() -> None:
    """It counts at neither: the key must be in force when it signs and when it is counted."""
    ending = replace(ALICE.enrolment, expires=NOW + 10)
    said = ALICE.approve(CHANGE)

    assert approval.check(CHANGE, *said, lambda _: ending, NOW + 9, seen)
    with pytest.raises(Invalid, match="enrolled"):
        approval.check(CHANGE, *said, lambda _: ending, NOW + 10, seen)


# ---- now ---------------------------------------------------------------------------------------------------------

WINDOWS = [
    (NOW, NOW + 3_600, NOW, True),
    (NOW, NOW + 3_600, NOW + 3_660, True),
    (NOW, NOW + 3_600, NOW + 3_661, False),  # replay after its end
    (NOW, NOW + 3_600, NOW + FORTNIGHT, False),
    (NOW + 60, NOW + 3_600, NOW, True),
    (NOW + 61, NOW + 3_600, NOW, False),
    (NOW, NOW + 86_400, NOW, True),
    (NOW, NOW + 86_401, NOW, False),
    (NOW, NOW, NOW, False),
    (NOW, NOW - 1, NOW - 1, False),
    (NOW + 6 * 86_400 + 1, NOW + 7 * 86_400, NOW + 7 * 86_400, True),
    (NOW + 6 * 86_400 + 1, NOW + 7 * 86_400 + 1, NOW + 7 * 86_400, False),  # longer than its change
]


@pytest.mark.parametrize(("issued", "expires", "now", "counts"), WINDOWS)
def test_windows(issued: int, expires: int, now: int, *, counts: bool) -> None:
    """From its issue to its end, a minute of skew on both sides, no longer than the policy and the change allow."""
    said = ALICE.approve(CHANGE, issued=issued, expires=expires)

    if counts:
        assert check(CHANGE, said, now=now)
    else:
        assert refused(CHANGE, said, now=now) == "APPROVAL_EXPIRED"


def test_no_policy_lets_an_approval_last_for_ever() -> None:
    """Thirty days are the most, whatever the record says."""
    required = structs.replace(CHANGE.required, valid_s=400 * 86_400)
    lax = make_change(required=required, expires=NOW + 500 * 86_400)

    assert check(lax, ALICE.approve(lax, expires=NOW + 30 * 86_400))
    assert refused(lax, ALICE.approve(lax, expires=NOW + 30 * 86_400 + 1)) == "APPROVAL_EXPIRED"


# ---- each byte ---------------------------------------------------------------------------------------------------


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


# ---- quorum ------------------------------------------------------------------------------------------------------


def counted(person: str, *groups: str) -> Counted:
    """Somebody's approval."""
    return Counted(f"person:{person}", "SHA256:x", 5, 1, "0" * 32, NOW, NOW + 1, "", groups)


def missing(people: list[Counted], *, creator: str = "person:carol", **required: Any) -> str:
    """What a quorum of these lacks."""
    required = {"groups": ("a", "b"), "quorum": 2, **required}
    return approval.quorum(
        make_change(required=structs.replace(CHANGE.required, **required), creator_person=creator), people
    )


def test_quorum() -> None:
    """Distinct persons of the path's groups, one more where the creator is unknown; each stands for one group."""
    alice, bob, carol = counted("alice", "a"), counted("bob", "b"), counted("carol", "a", "b")
    stranger = counted("eve", "c")

    assert missing([alice, bob]) == ""
    assert missing([]) == "2 more of 2 approvals; approvers of 1 groups among a, b"
    assert missing([alice]) == "1 more of 2 approvals"
    assert missing([alice, alice, replace(alice, nonce="1" * 32)]) == "1 more of 2 approvals"
    assert missing([alice, stranger]) == "1 more of 2 approvals"
    assert missing([alice, bob], creator="") == "1 more of 3 approvals"
    assert missing([alice, bob, carol], creator="") == ""
    assert missing([alice, bob], min_groups=2) == ""
    assert missing([alice, carol], min_groups=2) == ""
    assert missing([alice, counted("dave", "a")], min_groups=2) == "approvers of 2 groups among a, b"
    assert missing([alice, counted("dave", "a")], must_include=("b",)) == "one approver of each of b"
    assert missing([alice, carol], must_include=("a", "b")) == ""
    assert missing([carol, alice], must_include=("b", "a")) == ""
    assert missing([carol], quorum=1, min_groups=2) == "approvers of 2 groups among a, b"
    assert missing([carol], quorum=1, must_include=("a", "b")) == "one approver of each of a, b"
    assert missing([stranger, alice], groups=()) == ""
    assert missing([], quorum=0) == ""
    assert missing([], quorum=0, creator="") != ""


# ---- stock tools and speed ---------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([SK_ED25519, SK_ECDSA, ED25519]),
    st.sampled_from(["ssh", "sk", "sk+uv"]),
    st.integers(0, 255),
    st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=2, max_size=40),
)
def test_stock_ssh_keygen_accepts_all_that_we_count(type_: str, credential: str, flags: int, note: str) -> None:
    """An auditor without our verifier finds every counted approval to be good."""
    who = Person(key=KEYS[type_])
    change = asking(CHANGE, credential)
    said = who.approve(change, flags=flags, note=note)
    try:
        check(change, said, who)
    except Invalid:
        return

    assert openssh.verifies(who.key.line, *said, NAMESPACE, who.name)


KEYS = {type_: SoftKey.make(type_) for type_ in (SK_ED25519, SK_ECDSA, ED25519)}


@pytest.mark.timing
@pytest.mark.parametrize("type_", [SK_ED25519, SK_ECDSA])
def test_a_check_is_quick(type_: str) -> None:
    """At most 0.4 ms, the best of several."""
    who = Person(key=KEYS[type_])
    said, enrolment = who.approve(CHANGE), who.enrolment
    best = min(_once(said, enrolment) for _ in range(100))

    assert best < 400_000


def _once(said: tuple[bytes, str], enrolment: Enrolment) -> int:
    begin = time.perf_counter_ns()
    approval.check(CHANGE, *said, lambda _: enrolment, NOW, seen)
    return time.perf_counter_ns() - begin
