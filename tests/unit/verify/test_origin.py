"""The statement of a key's birth: one spelling, signed by the key it is about."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealpress.errors import Invalid
from sealpress.verify.origin import Birth, check, parse, prove, render

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
SPKI = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
BIRTH = Birth(
    "01JD8W6Q2N0K3M7T9V5X1Z4B6C",
    "5f" * 32,
    "fw-1",
    "acme/router/eu/prod/firmware",
    hashlib.sha256(SPKI).hexdigest(),
    (("extractable", False), ("sensitive", True)),
    1_800_000_000,
    "person:ida",
)
TEXT = f"""sealpress key origin v1
change-id: 01JD8W6Q2N0K3M7T9V5X1Z4B6C
change-sha256: {"5f" * 32}
key: fw-1
line: acme/router/eu/prod/firmware
spki-sha256: {BIRTH.spki_sha256}
attributes: extractable=false sensitive=true
time: 1800000000
operator: person:ida
""".encode()


def test_the_text_is_fixed() -> None:
    """As it is written down here, and read back from it."""
    assert render(BIRTH) == TEXT
    assert parse(TEXT) == BIRTH
    assert check(prove(TEXT, KEY.sign(TEXT)), SPKI) == BIRTH


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        TEXT[:-1],
        TEXT + b"\n",
        TEXT.replace(b"v1", b"v2"),
        TEXT.replace(b"key:", b"Key:"),
        TEXT.replace(b"\n", b"\r\n"),
        TEXT.replace(b"1800000000", b"01800000000"),
        TEXT.replace(b"1800000000", b"now"),
        TEXT.replace(b"extractable=false", b"extractable=no"),
        TEXT.replace(b"extractable=false sensitive=true", b"sensitive=true extractable=false"),
        TEXT.replace(b"operator: person:ida\n", b""),
        TEXT.replace(b"ida", b"ida\xff"),
    ],
)
def test_any_other_spelling_is_refused(raw: bytes) -> None:
    """One text for one birth."""
    assert raw != TEXT
    with pytest.raises(Invalid) as caught:
        parse(raw)
    assert caught.value.reason == "ORIGIN_STATEMENT"


@pytest.mark.parametrize("change", [{"operator": "a\nb"}, {"key": "a\x1bb"}, {"line": "a\rb"}])
def test_nothing_hides_in_a_field(change: dict[str, str]) -> None:
    """No line ends and no control characters."""
    with pytest.raises(Invalid):
        render(replace(BIRTH, **change))  # type: ignore[arg-type]


def test_the_key_itself_must_have_signed() -> None:
    """Another key's signature, another text's, another key's statement, or no proof at all: refused."""
    other = Ed25519PrivateKey.from_private_bytes(b"1" * 32)
    other_spki = other.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    wrong = [
        (prove(TEXT, other.sign(TEXT)), SPKI, "ORIGIN_SIGNATURE"),
        (prove(TEXT, KEY.sign(TEXT + b" ")), SPKI, "ORIGIN_SIGNATURE"),
        (prove(TEXT, other.sign(TEXT)), other_spki, "ORIGIN_KEY"),
        (base64.b64encode(TEXT).decode(), SPKI, "ORIGIN_SIGNATURE"),
        ("!", SPKI, "ORIGIN_STATEMENT"),
        ("", SPKI, "ORIGIN_STATEMENT"),
    ]
    for proof, spki, reason in wrong:
        with pytest.raises(Invalid) as caught:
            check(proof, spki)
        assert caught.value.reason == reason
