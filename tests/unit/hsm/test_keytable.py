"""The guard's key table: half-configured worlds are refused, with the section named."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sealpress.config import load, resolve
from sealpress.errors import ConfigError
from sealpress.hsm.keytable import KeyTable, key_table

TEXT = """
schema = 1
[node]
name = "n"
data = "data"
environment = "test"
[log.main]
name = "dev.example/main"
key = "log.key"
public_key = "log.pub"
[slot.s1]
module = "m.so"
label = "l"
[key.proof]
log = "main"
slots = ["s1"]
public_key = "proof.pem"
line = "a/b/c/d/proof"
mode = "proof"
format = "tlog-proof"
class = "test"
cka_id = "a1"
[key.direct]
log = "main"
slots = ["s1"]
public_key = "direct.pem"
line = "a/b/c/d/direct"
mode = "direct"
format = "ecdsa-der"
class = "low"
cka_label = "direct"
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Key files of a table that is fine."""
    log = Ed25519PrivateKey.generate()
    (tmp_path / "log.key").write_bytes(log.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    publics: dict[str, Ed25519PublicKey | ec.EllipticCurvePublicKey] = {
        "log.pub": log.public_key(),
        "proof.pem": ec.generate_private_key(ec.SECP256R1()).public_key(),
        "direct.pem": ec.generate_private_key(ec.SECP384R1()).public_key(),
        "k1.pem": ec.generate_private_key(ec.SECP256K1()).public_key(),
        "other.pub": Ed25519PrivateKey.generate().public_key(),
    }
    for name, public in publics.items():
        (tmp_path / name).write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return tmp_path


def table_of(directory: Path, text: str) -> KeyTable:
    """As the wiring makes it."""
    path = directory / "sealpress.toml"
    path.write_text(text)
    return key_table(load(path), lambda value: resolve(path, value))


def test_a_whole_table(directory: Path) -> None:
    """Keys know their origin, scope, and what they sign."""
    table = table_of(directory, TEXT)

    assert set(table.logs) == {"dev.example/main/1"}
    assert [key.name for key in table.of_slot("s1")] == ["proof", "direct"]
    proof, direct = table.keys["proof"], table.keys["direct"]
    assert (proof.cosigner is not None, proof.scheme) == (True, None)
    assert (direct.cosigner, direct.scheme is not None) == (None, True)
    assert proof.line_key is not None
    assert proof.line_key.name == "dev.example/main/a/b/c/d/proof"


def test_a_key_that_only_verifies_is_not_looked_for(directory: Path) -> None:
    """The old key of a rotated line stays in the table and out of the token's hands."""
    table = table_of(directory, TEXT.replace('cka_id = "a1"', 'cka_id = "a1"\nstate = "verify_only"'))

    assert [key.name for key in table.of_slot("s1")] == ["direct"]


@pytest.mark.parametrize(
    ("before", "after", "where"),
    [
        ('"direct.pem"', '"proof.pem"', "[key.direct]"),
        ('"direct.pem"', '"log.pub"', "[key.direct]"),
        ('"direct.pem"', '"log.key"', "[key.direct]"),
        ('"direct.pem"', '"none.pem"', "[key.direct]"),
        ('"direct.pem"', '"k1.pem"', "[key.direct]"),
        ('"ecdsa-der"', '"rsa-pss"', "[key.direct]"),
        ('"ecdsa-der"', '"tlog-proof"', "[key.direct]"),
        ('"a/b/c/d/direct"', '"a/b/c/d/proof"', "a/b/c/d/proof"),
        ('"a/b/c/d/direct"', '"a/b/c/d"', "[key.direct]"),
        ('cka_id = "a1"', 'cka_id = "xx"', "[key.proof]"),
        ('cka_id = "a1"', "", "[key.proof]"),
        ('slots = ["s1"]\npublic_key = "proof.pem"', 'slots = ["s2"]\npublic_key = "proof.pem"', "[key.proof]"),
        ('slots = ["s1"]\npublic_key = "proof.pem"', 'slots = []\npublic_key = "proof.pem"', "[key.proof]"),
        ('class = "low"', 'class = "firmware"', "[key.direct]"),
        ('"log.pub"', '"other.pub"', "[log.main]"),
        ('"log.key"', '"none.key"', "[log.main]"),
        ('"log.key"', '"log.pub"', "[log.main]"),
    ],
)
def test_a_half_configured_world_is_refused(directory: Path, before: str, after: str, where: str) -> None:
    """Each contradiction is a configuration error that says where."""
    assert before in TEXT
    with pytest.raises(ConfigError) as caught:
        table_of(directory, TEXT.replace(before, after))
    assert where in caught.value.message
