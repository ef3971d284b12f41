"""Trust anchors as three officers sign them, and the approvers that they name."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from kit.approving import LINE, NOW, Person
from kit.softkeys import SK_ECDSA, SK_ED25519, SoftKey
from sealpress.errors import Invalid
from sealpress.verify.anchors import (
    NAMESPACE,
    AnchorKey,
    LineApprover,
    LineRule,
    Officer,
    TrustAnchors,
)
from sealpress.verify.change import encode

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
