"""Does exactly that count as an approval which a person did on purpose, with his key, for this change, now?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from kit import openssh
from kit.approving import NOW, Person, asking, make_change
from kit.judging import ALICE, CHANGE, check, refused, seen
from kit.softkeys import ED25519, SK_ECDSA, SK_ED25519, SoftKey
from sealpress.errors import Invalid
from sealpress.verify import approval
from sealpress.verify.approval import Counted, Enrolment
from sealpress.verify.statement import NAMESPACE

FORTNIGHT = 14 * 86_400


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


def test_a_quorum_where_any_group_will_do() -> None:
    """Whoever holds no role counts as a person; those who do stand for theirs, and one who must be there must be."""
    alice, bob, nobody = counted("alice", "a"), counted("bob", "b"), counted("nobody")

    assert missing([alice, nobody], groups=()) == ""
    assert missing([counted("other"), nobody], groups=()) == ""
    assert missing([nobody], groups=()) == "1 more of 2 approvals"
    assert missing([alice, bob], groups=(), min_groups=2) == ""
    assert missing([alice, nobody], groups=(), min_groups=2) == "approvers of 2 groups among all"
    assert missing([alice, nobody], groups=(), must_include=("a",)) == ""
    assert missing([bob, nobody], groups=(), must_include=("a",)) == "one approver of each of a"


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
    """It takes what four verifications of a bare signature take at most, each the best of several in turn."""
    who = Person(key=KEYS[type_])
    said, enrolment = who.approve(CHANGE), who.enrolment
    bare = _verification(type_)
    check_ = partial(approval.check, CHANGE, *said, lambda _: enrolment, NOW, seen)
    rounds = [(_took_ns(check_), _took_ns(bare)) for _ in range(100)]
    checked, verified = map(min, zip(*rounds, strict=True))

    assert checked <= 4 * verified, f"{checked / 1_000:.0f} and {verified / 1_000:.0f} us"


def _verification(type_: str) -> Callable[[], object]:
    if type_ == SK_ED25519:
        key = ed25519.Ed25519PrivateKey.generate()
        return partial(key.public_key().verify, key.sign(b"said"), b"said")
    p256, how = ec.generate_private_key(ec.SECP256R1()), ec.ECDSA(SHA256())
    return partial(p256.public_key().verify, p256.sign(b"said", how), b"said", how)


def _took_ns(act: Callable[[], object]) -> int:
    begin = time.perf_counter_ns()
    act()
    return time.perf_counter_ns() - begin
