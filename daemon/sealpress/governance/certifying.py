"""Attaching a certificate chain to a key, which an authority outside made for its public half.

Guarantees: the first certificate is for this very key; what is attached is recorded whole. Does not: judge the chain:
its verifiers know which roots they trust.
"""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealpress.errors import Invalid, Malformed, Precondition
from sealpress.governance import facts as f
from sealpress.governance.desk import Actor, Desk, person_of
from sealpress.governance.roles import Role
from sealpress.verify.note import canonical_spki

CERTIFICATES_MAX = 8
STATES = frozenset({"pre_active", "active", "suspended"})


def certify(desk: Desk, actor: Actor, key: str, chain: str) -> list[f.Fact]:
    """An issuance operator attaches the chain."""
    person = person_of(actor, "certify a key")
    found = desk.state.keys.get(key)
    if found is None:
        raise Precondition(f"there is no key {key}", reason="NO_SUCH_KEY", hint="`sealpress key list`")
    desk.need(actor, found.proposed.line, {Role.ISSUANCE_OPERATOR})
    if found.state not in STATES:
        raise Precondition(
            f"the key is {found.state}", reason="ILLEGAL_MOVE", hint="only a key that may still sign is certified"
        )
    try:
        certificates = x509.load_pem_x509_certificates(chain.encode())
        public = certificates[0].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        key_id = hashlib.sha256(canonical_spki(public)).hexdigest()
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, Invalid) as error:
        raise Malformed(
            f"the chain: {error}", reason="CHAIN_INVALID", hint="PEM, the key's certificate first"
        ) from None
    if len(certificates) > CERTIFICATES_MAX:
        raise Malformed(f"a chain has at most {CERTIFICATES_MAX} certificates", reason="CHAIN_INVALID")
    if key_id != found.key_id:
        raise Malformed("the first certificate is for another key", reason="CHAIN_INVALID", hint="the key's own first")
    sha256 = hashlib.sha256(chain.encode()).hexdigest()
    return [f.KeyCertified(key=key, chain_sha256=sha256, chain=chain, operator=person)]
