"""Is a key that nobody here can vouch for refused wherever one is read, and told from a broken file?"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kit.fabricate import World, b64
from sealpress.errors import ConfigError, Invalid
from sealpress.verify import direct, note

OTHERS: dict[str, Any] = {
    "P-224": ec.generate_private_key(ec.SECP224R1()),
    "Bitcoin's curve": ec.generate_private_key(ec.SECP256K1()),
    "a curve of Brainpool": ec.generate_private_key(ec.BrainpoolP256R1()),
    "X25519": x25519.X25519PrivateKey.generate(),
    "Ed448": ed448.Ed448PrivateKey.generate(),
}
NAME = "sign.example/ci/acme/router/eu/prod/firmware"
SAID = "(not a public key|a (line )?key is Ed25519)"


def vkey(name: str, material: bytes) -> str:
    """With the key id that belongs to it."""
    key_id = hashlib.sha256(name.encode() + b"\n" + material).digest()[:4]
    return f"{name}+{key_id.hex()}+{b64(material)}"


def spki_of(private: Any) -> bytes:
    """DER."""
    return bytes(private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


@pytest.mark.parametrize("kind", OTHERS)
def test_a_key_of_a_kind_that_signs_nothing_here(kind: str, tmp_path: Path) -> None:
    """As a line's, in a policy, or for raw signatures: a curve or kind of no table is not believed."""
    spki = spki_of(OTHERS[kind])
    path = tmp_path / "public.pem"
    path.write_bytes(OTHERS[kind].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    label = b"sealpress/cosignature/v1/ecdsa-p256-sha256"
    material = b"\xff" + bytes([len(label)]) + label + spki

    for read in (note.public_key, lambda der: note.line_key(NAME, der)):
        with pytest.raises(Invalid, match=SAID):
            read(spki)
    with pytest.raises(Invalid, match=SAID):
        note.parse_vkey(vkey(NAME, material))
    with pytest.raises(ConfigError, match=rf"public\.pem: {SAID}"):
        direct.load_public_key(path)


@pytest.mark.parametrize("raw", [b"", b"nonsense", b"-----BEGIN PUBLIC KEY-----\nnonsense\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_key_is_said(raw: bytes, tmp_path: Path) -> None:
    """Neither as DER nor as PEM: refused by name, and never with another error."""
    (tmp_path / "public.pem").write_bytes(raw)

    for read in (note.canonical_spki, note.public_key):
        with pytest.raises(Invalid, match="not a public key"):
            read(raw)
    with pytest.raises(ConfigError, match=r"public\.pem"):
        direct.load_public_key(tmp_path / "public.pem")


@pytest.mark.parametrize("kind", ["ed25519", "p256", "p384", "p521", "rsa", "ml-dsa-44"])
def test_a_vkey_is_of_its_own_scheme(kind: str) -> None:
    """A key under the label of another scheme, of another length, or without its label is none, whatever its id."""
    line = World.make(kind).line
    label = b"sealpress/cosignature/v1/ml-dsa-65"
    labelled = b"\xff" + bytes([len(label)]) + label + line.spki

    assert note.line_key(line.name, line.spki).vkey == line.vkey == vkey(line.name, line.material)
    for material in (labelled, b"\xff", b"\xff" + line.spki, b"\x02" + line.spki, line.material + b"\0"):
        with pytest.raises(Invalid, match=r"not a (verifier|public) key"):
            note.parse_vkey(vkey(line.name, material))
    for raw in (bytes(31), bytes(33), b""):
        for type_ in (b"\x01", b"\x04"):
            with pytest.raises(Invalid, match="not a verifier key"):
                note.parse_vkey(vkey("sign.example/ci/1", type_ + raw))
