"""Do trust anchors follow one another by their officers' hands only?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import structs

from kit import openssh
from kit.approving import LINE, NOW
from kit.officers import ALL, GENESIS, OFFICERS, make, officer, reason, signed
from kit.softkeys import ED25519, SoftKey
from sealpress.errors import Invalid
from sealpress.verify import anchors
from sealpress.verify.anchors import (
    NAMESPACE,
    AnchorKey,
    LineApprover,
    LineRule,
    TrustAnchors,
    verify_genesis,
    verify_next,
)
from sealpress.verify.change import decode, encode

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


def test_the_next_may_be_made_in_the_same_second() -> None:
    """Not before the former, which is all that is asked."""
    new = structs.replace(NEXT, created=GENESIS.created)

    assert verify_next(GENESIS, *signed(new, "olga", "oya")) == new


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
    "an officer twice, with two keys and names": {
        "officers": (officer("olga"), structs.replace(officer("otto"), person="person:olga"), officer("oya"))
    },
    "an approver twice, with two keys": {
        "approvers": (
            *GENESIS.approvers,
            LineApprover(person="person:alice", groups=("product-security",), keys=officer("new").keys),
        )
    },
    "a key in a file, of one of them": {
        "officers": (
            structs.replace(officer("olga"), keys=(AnchorKey(public=SOFT.line, application=""),)),
            officer("otto"),
        )
    },
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
