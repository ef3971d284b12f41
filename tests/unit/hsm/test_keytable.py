"""The guard's key table: half-configured worlds are refused, with the section named."""

from __future__ import annotations

from collections.abc import Collection
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


def table_of(directory: Path, text: str, anchored: Collection[str] | None = None) -> KeyTable:
    """As the wiring makes it."""
    path = directory / "sealpress.toml"
    path.write_text(text)
    return key_table(load(path), lambda value: resolve(path, value), anchored)


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
        ('slots = ["s1"]\npublic_key = "proof.pem"', 'slots = ["s1", "s1"]\npublic_key = "proof.pem"', "[key.proof]"),
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


@pytest.mark.parametrize(("name", "other"), [("log.pub", "other.pub"), ("log.key", "none.key"), ("log.key", "log.pub")])
def test_who_has_no_log_key_hears_how_one_is_made(directory: Path, name: str, other: str) -> None:
    """It is the one key that no token makes and no custodian: whoever sets up a node makes it."""
    with pytest.raises(ConfigError) as caught:
        table_of(directory, TEXT.replace(f'"{name}"', f'"{other}"'))

    assert "openssl genpkey -algorithm ed25519" in caught.value.hint


def test_a_token_has_one_slot(directory: Path) -> None:
    """Two sections of one token would show it a wrong PIN twice; another serial, or `reserved`, is another token."""
    text = TEXT.replace('slots = ["s1"]\npublic_key = "direct.pem"', 'slots = ["s1", "s2"]\npublic_key = "direct.pem"')
    second = '[slot.s2]\nmodule = "m.so"\nlabel = "l"\n'
    for serial in ("", 'serial = "2"\n'):
        with pytest.raises(ConfigError) as caught:
            table_of(directory, f"{text}{second}{serial}")
        assert caught.value.message == "[slot.s1] and [slot.s2] are the same token"
    first = text.replace('label = "l"\n', 'label = "l"\nserial = "1"\n')
    assert table_of(directory, f'{first}{second}serial = "2"\n').keys
    assert table_of(directory, f"{text}{second}reserved = \"configdir='sql:/two'\"\n").keys


FIRMWARE = TEXT[: TEXT.index("[key.direct]")].replace('class = "test"', 'class = "firmware"')
ROTATED = FIRMWARE + FIRMWARE[FIRMWARE.index("[key.proof]") :].replace("[key.proof]", "[key.next]").replace(
    '"proof.pem"', '"next.pem"'
)
OTHER_LOG = """
[log.other]
name = "dev.example/other"
key = "other.key"
public_key = "other.pub"
"""
ANCHORED = {"a/b/c/d/proof"}
GOVERNED = 'cka_id = "a1"\nstate = "governed"'


@pytest.fixture
def more(directory: Path) -> Path:
    """A second log's key and a second key of the line."""
    other = Ed25519PrivateKey.generate()
    (directory / "other.key").write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    for name, public in (("other.pub", other.public_key()), ("next.pem", Ed25519PrivateKey.generate().public_key())):
        (directory / name).write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return directory


def test_a_firmware_line_is_held_alone(directory: Path) -> None:
    """With anchors, in a log of its own that opens its leaves; other logs do not."""
    for class_ in ("firmware", "root"):
        table = table_of(directory, FIRMWARE.replace('"firmware"', f'"{class_}"'), ANCHORED)
        assert [log.opens for log in table.logs.values()] == [True]
    assert [log.opens for log in table_of(directory, TEXT, ANCHORED).logs.values()] == [False]


def test_a_rotated_firmware_line_has_both_keys(more: Path) -> None:
    """The old key only verifies, or governance says which one signs; leaves of both are opened."""
    old = ROTATED.replace('cka_id = "a1"', 'cka_id = "a1"\nstate = "verify_only"', 1)
    assert [key.name for key in table_of(more, old, ANCHORED).of_slot("s1")] == ["next"]
    table = table_of(more, ROTATED.replace('cka_id = "a1"', GOVERNED), ANCHORED)
    assert [key.name for key in table.of_slot("s1")] == ["proof", "next"]
    assert len(table.of_log("dev.example/main/1")) == 2


@pytest.mark.parametrize(
    ("text", "anchored", "says"),
    [
        (FIRMWARE, None, "anchors of the signer's own"),
        (FIRMWARE, {"a/b/c/d/other"}, "a quorum in the signer's anchors"),
        (TEXT.replace('class = "low"', 'class = "firmware"'), {"a/b/c/d/direct"}, "alone in its log"),
        (FIRMWARE + OTHER_LOG, ANCHORED, "holds 2 logs"),
        (FIRMWARE.replace("[slot.s1]", "governance = true\n[slot.s1]"), ANCHORED, "governance log"),
        (ROTATED, ANCHORED, "two active keys"),
        (ROTATED.replace('cka_id = "a1"', GOVERNED, 1), ANCHORED, "two active keys"),
        (ROTATED.replace('cka_id = "a1"', GOVERNED).replace('"firmware"', '"root"', 1), ANCHORED, "two classes"),
    ],
)
def test_nothing_stands_beside_a_firmware_line(more: Path, text: str, anchored: set[str] | None, says: str) -> None:
    """Each is refused with what to do instead."""
    with pytest.raises(ConfigError) as caught:
        table_of(more, text, anchored)
    assert says in caught.value.message
    assert caught.value.hint


def test_governed_keys_share_a_line(directory: Path) -> None:
    """On a governed node several keys of one line may be at the signer, if all of them are governed."""
    text = TEXT.replace('"a/b/c/d/direct"', '"a/b/c/d/proof"').replace('class = "low"', 'class = "test"')
    for key in ('cka_id = "a1"', 'cka_label = "direct"'):
        text = text.replace(key, f'{key}\nstate = "governed"')
    assert [key.active for key in table_of(directory, text).keys.values()] == [True, True]


def test_a_log_of_another_signer_is_not_ours(directory: Path) -> None:
    """Neither it nor its keys are read, so a file may name all logs of a node; our own socket is ours."""
    table = table_of(directory, TEXT.replace("[slot.s1]", 'signer = "run/firmware.sock"\n[slot.s1]'))
    assert (dict(table.logs), dict(table.keys)) == ({}, {})
    ours = TEXT.replace("[slot.s1]", 'signer = "./run/../run/signer.sock"\n[slot.s1]')
    assert len(table_of(directory, ours).keys) == 2
