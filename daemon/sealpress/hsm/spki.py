"""A public key object of a token as SPKI (DER), which is what keys are pinned by.

Does not: look for the object (module.py, shelf.py).
"""

from __future__ import annotations

from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Attribute, KeyType

from sealpress.verify import note
from sealpress.verify.curves import CURVES
from sealpress.verify.lattice import PARAMETER_SETS

_CURVES = {known.oid: known.curve for known in CURVES}
_ED25519_BYTES = 32


def public_spki(key: Any) -> bytes | None:
    """Canonical SPKI (DER) of a public key object; None for a kind that we do not sign with."""
    try:
        return _public(key).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (UnsupportedAlgorithm, ValueError, KeyError):
        return None


def _public(key: Any) -> note.PublicKey:
    if key.key_type == KeyType.RSA:
        modulus, exponent = key[Attribute.MODULUS], key[Attribute.PUBLIC_EXPONENT]
        return rsa.RSAPublicNumbers(int.from_bytes(exponent), int.from_bytes(modulus)).public_key()
    if key.key_type == KeyType.ML_DSA:
        number = int(key[Attribute.PARAMETER_SET])
        known = next((one for one in PARAMETER_SETS if one.number == number), None)
        if known is None:
            raise ValueError("another parameter set")
        return known.public.from_public_bytes(bytes(key[Attribute.VALUE]))
    value = bytes(key[Attribute.EC_POINT])
    if key.key_type == KeyType.EC:
        curve = _CURVES[bytes(key[Attribute.EC_PARAMS])]
        return ec.EllipticCurvePublicKey.from_encoded_point(curve, _octets(value, 1 + 2 * ((curve.key_size + 7) // 8)))
    if key.key_type == KeyType.EC_EDWARDS:
        return ed25519.Ed25519PublicKey.from_public_bytes(_octets(value, _ED25519_BYTES))
    raise ValueError("another kind of key")


def _octets(value: bytes, bare: int) -> bytes:
    """EC_POINT is a DER octet string by the standard, and the bare point, of so many bytes, with some modules."""
    if len(value) == bare:
        return value
    for head in (2, 3):  # length in one byte, or in two
        length = len(value) - head
        if value[:head] == (bytes([4, length]) if head == 2 and length < 128 else bytes([4, 0x81, length & 0xFF])):
            return value[head:]
    return value
