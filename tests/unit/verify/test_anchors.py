"""Do trust anchors follow one another by their officers' hands only, and does the signer believe nobody else?"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import structs

from kit import openssh
from kit.approving import ITEMS, LINE, NOW, Person, asking, make_change
from kit.softkeys import ED25519, SK_ECDSA, SK_ED25519, SoftKey
from sealpress.errors import Invalid
from sealpress.values import DigestAlgorithm
from sealpress.verify import anchors
from sealpress.verify.anchors import (
    NAMESPACE,
    AnchorKey,
    LineApprover,
    LineRule,
    Officer,
    TrustAnchors,
    check_lift,
    check_release,
    open_release,
    verify_genesis,
    verify_next,
)
from sealpress.verify.change import ChangeRecord, decode, encode

OFFICERS = {name: SoftKey.make(SK_ED25519) for name in ("olga", "otto", "oya", "new")}
ALICE = Person("person:alice", ("release-approvers",))
BOB = Person("person:bob", ("product-security",), SoftKey.make(SK_ECDSA))
DAVE = Person("person:dave", ("product-security",))
EVE = Person("person:eve", ("others",))
PEOPLE = (ALICE, BOB, DAVE, EVE)
BOOT = "acme/router/eu/prod/boot"


def key_of(key: SoftKey) -> AnchorKey:
    """As the document lists it."""
    return AnchorKey(public=key.line, application=key.application)


def officer(name: str) -> Officer:
    """An officer with one key."""
    return Officer(person=f"person:{name}", names=(f"uri:spiffe://acme/{name}",), keys=(key_of(OFFICERS[name]),))


def make(**other: Any) -> TrustAnchors:
    """Three officers, two of them the threshold; one firmware line with four known approvers."""
    rule = LineRule(quorum=2, min_groups=2, groups=("release-approvers", "product-security"))
    document = TrustAnchors(
        version=1,
        deployment="prod-eu.sign.acme.example",
        profile="baseline",
        log="sign.acme.example/log1",
        officers=tuple(officer(name) for name in ("olga", "otto", "oya")),
        root_threshold=2,
        approvers=tuple(LineApprover(person=p.name, groups=p.groups, keys=(key_of(p.key),)) for p in PEOPLE),
        lines={BOOT: structs.replace(rule, quorum=3), LINE: rule},
        log_keys=("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",),
        created=NOW - 3_600,
        expires=NOW + 365 * 86_400,
    )
    return structs.replace(document, **other)


def signed(document: TrustAnchors, *names: str, flags: int = 5, namespace: str = NAMESPACE) -> tuple[bytes, list[str]]:
    """The document's bytes and the signatures of these officers."""
    raw = encode(document)
    return raw, [OFFICERS[name].sign(raw, namespace, flags=flags) for name in names]


ALL = ("olga", "otto", "oya")
GENESIS = make()


def reason(error: pytest.ExceptionInfo[Invalid]) -> str:
    """And there is always something to do about it."""
    assert error.value.hint
    return error.value.reason


# ---- the chain of documents --------------------------------------------------------------------------------------


def test_genesis() -> None:
    """Version 1 is signed by all officers, and stock ssh-keygen finds each signature good."""
    raw, signatures = signed(GENESIS, *ALL)

    assert verify_genesis(raw, signatures) == GENESIS
    assert verify_genesis(raw.decode(), signatures[::-1]) == GENESIS
    for name, signature in zip(ALL, signatures, strict=True):
        assert openssh.verifies(OFFICERS[name].line, raw, signature, NAMESPACE)


@pytest.mark.parametrize(
    ("names", "how", "why"),
    [
        ((), {}, "ANCHORS_THRESHOLD"),
        (("olga", "otto"), {}, "ANCHORS_THRESHOLD"),
        (("olga", "otto", "otto", "otto"), {}, "ANCHORS_THRESHOLD"),
        ((*ALL, "new"), {}, "ANCHORS_SIGNATURE"),
        (ALL, {"flags": 0}, "APPROVAL_FLAGS"),
        (ALL, {"flags": 1}, "APPROVAL_FLAGS"),
        (ALL, {"flags": 4}, "APPROVAL_FLAGS"),
        (ALL, {"flags": 0x0D}, "APPROVAL_FLAGS"),
        (ALL, {"flags": 0x15}, "APPROVAL_FLAGS"),
        (ALL, {"namespace": "approval@v1.sealpress"}, "SSHSIG_NAMESPACE"),
        (ALL * 22, {}, "ANCHORS_SIGNATURE"),
    ],
)
def test_genesis_without_all_its_officers(names: Sequence[str], how: dict[str, Any], why: str) -> None:
    """One officer missing, one too many, not touched, no PIN, another purpose: nothing begins."""
    with pytest.raises(Invalid) as caught:
        verify_genesis(*signed(GENESIS, *names, **how))

    assert reason(caught) == why


def test_genesis_of_another_document() -> None:
    """The signatures are of these bytes."""
    _, signatures = signed(GENESIS, *ALL)
    with pytest.raises(Invalid) as caught:
        verify_genesis(encode(make(root_threshold=3)), signatures)

    assert reason(caught) == "SSHSIG_SIGNATURE"


NEXT = make(version=2, officers=tuple(officer(name) for name in ("olga", "oya", "new")), created=NOW)


@pytest.mark.parametrize(
    ("names", "accepted"),
    [
        (("olga", "oya"), True),  # both are old and new
        (("olga", "otto", "new"), True),
        (("otto", "new"), False),  # one of each
        (("olga", "otto"), False),  # two old, one new
        (("olga", "new"), False),  # one old, two new
        (("olga",), False),
    ],
)
def test_next_needs_both_thresholds(names: Sequence[str], *, accepted: bool) -> None:
    """As TUF's root: the thresholds of the old and of the new officers, each counted for itself."""
    if accepted:
        assert verify_next(GENESIS, *signed(NEXT, *names)) == NEXT
        return
    with pytest.raises(Invalid) as caught:
        verify_next(GENESIS, *signed(NEXT, *names))

    assert reason(caught) == "ANCHORS_THRESHOLD"


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"version": 1}, "ANCHORS_VERSION"),
        ({"version": 3}, "ANCHORS_VERSION"),
        ({"deployment": "prod-us"}, "ANCHORS_DEPLOYMENT"),
        ({"log": "sign.acme.example/log2"}, "ANCHORS_DEPLOYMENT"),
        ({"created": NOW - 3_601}, "ANCHORS_DEPLOYMENT"),
        ({"profile": "lab"}, "ANCHORS_DEPLOYMENT"),
    ],
)
def test_what_does_not_follow(other: dict[str, Any], why: str) -> None:
    """No gap, no other deployment, not back in time, and production never becomes a lab."""
    with pytest.raises(Invalid) as caught:
        verify_next(GENESIS, *signed(structs.replace(NEXT, **other), *ALL, "new"))

    assert reason(caught) == why


def test_only_version_1_begins() -> None:
    """A later document without its predecessors proves nothing."""
    with pytest.raises(Invalid, match="version 1"):
        verify_genesis(*signed(make(version=2), *ALL))


SOFT = SoftKey.make(ED25519)
WRONG: dict[str, dict[str, Any]] = {
    "threshold of one": {"root_threshold": 1},
    "threshold beyond reach": {"root_threshold": 4},
    "an officer twice": {"officers": (officer("olga"), officer("olga"), officer("oya"))},
    "one key, two persons": {
        "officers": (officer("olga"), structs.replace(officer("otto"), keys=officer("olga").keys), officer("oya"))
    },
    "one name, two persons": {
        "officers": (officer("olga"), structs.replace(officer("otto"), names=officer("olga").names), officer("oya"))
    },
    "an approver with an officer's key": {
        "approvers": (*GENESIS.approvers, LineApprover(person="person:x", groups=(), keys=officer("olga").keys))
    },
    "a key in a file": {
        "officers": (structs.replace(officer("olga"), keys=(AnchorKey(public=SOFT.line, application=""),)),) * 2
    },
    "another application": {
        "officers": (
            structs.replace(officer("olga"), keys=(AnchorKey(public=OFFICERS["olga"].line, application="ssh:"),)),
            officer("otto"),
        )
    },
    "a comment": {
        "officers": (
            structs.replace(
                officer("olga"), keys=(structs.replace(officer("olga").keys[0], public=OFFICERS["olga"].line + " me"),)
            ),
            officer("otto"),
        )
    },
    "lines out of order": {"lines": dict(reversed(GENESIS.lines.items()))},
    "no line": {"lines": {"firmware": GENESIS.lines[LINE]}},
    "a quorum beyond reach": {"lines": {LINE: LineRule(quorum=4, groups=("release-approvers", "product-security"))}},
    "groups beyond reach": {"lines": {LINE: LineRule(quorum=2, min_groups=2, groups=("product-security",))}},
    "expired at birth": {"expires": GENESIS.created},
}


@pytest.mark.parametrize("name", WRONG)
def test_documents_that_make_no_sense(name: str) -> None:
    """Refused before any signature is looked at."""
    with pytest.raises(Invalid) as caught:
        anchors.parse(encode(make(**WRONG[name])))

    assert reason(caught) == "ANCHORS_FORM"


def test_a_lab_may_have_one_officer() -> None:
    """For a demonstration one person will do."""
    lab = make(profile="lab", officers=(officer("olga"),), root_threshold=1)

    assert verify_genesis(*signed(lab, "olga")) == lab


def test_one_spelling() -> None:
    """Other bytes for the same document, a weaker credential, a quorum of one: refused."""
    raw = encode(GENESIS)
    for other in (
        raw.replace(b'"version":1', b'"version": 1'),
        raw + b"\n",
        raw.replace(b'"credential":"sk+uv"', b'"credential":"sk"', 1),
        raw.replace(b'"quorum":2', b'"quorum":1'),
        raw.replace(b'"schema":1', b'"schema":2'),
        b"",
        b" " * (2 << 20),
    ):
        with pytest.raises(Invalid):
            anchors.parse(other)
    assert decode(raw, TrustAnchors) == GENESIS
    with pytest.raises(Invalid, match="key"):
        anchors.parse(raw.replace(b"+530d903a+", b"+530d903b+"))


# ---- what the signer demands -------------------------------------------------------------------------------------

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


@pytest.mark.parametrize("field", TrustAnchors.__struct_fields__)
def test_every_field_is_signed(field: str) -> None:
    """Whatever field of the document is changed afterwards: refused."""
    other: dict[str, Any] = {
        "schema": None,
        "version": 2,
        "deployment": "x",
        "profile": "regulated",
        "log": "x/y",
        "officers": GENESIS.officers[::-1],
        "root_threshold": 3,
        "approvers": GENESIS.approvers[::-1],
        "lines": {},
        "log_keys": (),
        "witness_keys": GENESIS.log_keys,
        "created": NOW,
        "expires": NOW,
    }
    _, signatures = signed(GENESIS, *ALL)
    changed = structs.replace(GENESIS, **{field: other[field]})
    with pytest.raises(Invalid):
        verify_genesis(encode(changed), signatures)
