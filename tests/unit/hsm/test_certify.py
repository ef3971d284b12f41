"""Is a certificate chain that cannot be judged refused in words, at the custodian and at the daemon alike?"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kit.town import Town
from kit.townsfolk import uri
from sealpress.errors import Invalid, Malformed
from sealpress.governance import certifying
from sealpress.governance.desk import Desk
from sealpress.hsm.certify import CHAIN_MAX, attach

P256 = bytes.fromhex("06082a8648ce3d030107")
VERSION_3 = bytes.fromhex("a003020102")
KEY = ec.generate_private_key(ec.SECP256R1())
SPKI = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
MANGLED: dict[str, Callable[[bytes], bytes]] = {
    "an unknown curve": lambda body: body.replace(P256, P256[:-1] + b"\x7f"),
    "an unknown version": lambda body: body.replace(VERSION_3, VERSION_3[:-1] + b"\x09"),
}


def certificate() -> bytes:
    """In DER, self-signed."""
    name = x509.Name.from_rfc4514_string("CN=acme")
    day = timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, KEY.public_key(), 5, NOW - day, NOW + day)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


def pem(body: bytes) -> bytes:
    """As a file has it."""
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(body) + b"-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("what", MANGLED)
def test_a_certificate_of_another_world_is_refused(what: str) -> None:
    """Of the key itself or of an issuer: a refusal with a reason, no traceback and no INTERNAL."""
    town = Town()
    wrong, good = pem(MANGLED[what](certificate())), pem(certificate())
    desk = Desk(town.state, town.policy, town.now, lambda: "id")
    key = next(name for name, one in town.state.keys.items() if one.state in certifying.STATES)
    for chain in (wrong, good + wrong):
        with pytest.raises(Invalid, match="the chain"):
            attach("k1", SPKI, chain, "person:ines", int(NOW.timestamp()))
    with pytest.raises(Malformed, match="the chain"):
        certifying.certify(desk, desk.actor(uri("ines")), key, wrong.decode())


def test_the_custodian_bears_no_longer_chain_than_the_daemon() -> None:
    """What it calls good the governance log takes."""
    assert CHAIN_MAX == certifying.CERTIFICATES_MAX
