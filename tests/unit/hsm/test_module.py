"""Is a public key read from a token whatever way its module writes the point?"""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Attribute, KeyType

from sealpress.hsm.spki import public_spki
from sealpress.verify.curves import CURVES, Curve


class Held(dict[Attribute, Any]):
    """A public key object as python-pkcs11 shows it."""

    key_type = KeyType.EC


@pytest.mark.parametrize("curve", CURVES[:2], ids=lambda curve: curve.kind)
def test_a_bare_point_is_no_octet_string(curve: Curve) -> None:
    """A point whose second byte happens to be the length of what follows it: one key in 256 begins so."""
    keys = (ec.derive_private_key(number, curve.curve).public_key() for number in range(1, 10_000))
    points = (key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) for key in keys)
    point = next(one for one in points if one[1] == len(one) - 2)
    expected = ec.EllipticCurvePublicKey.from_encoded_point(curve.curve, point)
    spki = expected.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    for value in (point, bytes([4, len(point)]) + point):
        assert public_spki(Held({Attribute.EC_PARAMS: curve.oid, Attribute.EC_POINT: value})) == spki
