"""The NIST curves that keys here may be on, and the hash that goes with each: one table for signer and verifier.

Guarantees: a curve that is not in the table is not signed with, nor believed. Does not: sign or verify.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from sealpress.values import DigestAlgorithm

HASHES: dict[DigestAlgorithm, hashes.SHA256 | hashes.SHA384 | hashes.SHA512] = {
    DigestAlgorithm.SHA256: hashes.SHA256(),
    DigestAlgorithm.SHA384: hashes.SHA384(),
    DigestAlgorithm.SHA512: hashes.SHA512(),
}


@dataclass(frozen=True, slots=True)
class Curve:
    """`kind` as a key request names it; `oid` the DER of its name, as in CKA_EC_PARAMS (RFC 5480)."""

    kind: str
    curve: ec.EllipticCurve
    algorithm: DigestAlgorithm  # as strong as the curve
    oid: bytes

    @property
    def scheme(self) -> str:
        """As it stands in a line key's type (DESIGN 3.3), for example ecdsa-p256-sha256."""
        return f"ecdsa-{self.kind}-{self.algorithm.label}"

    @property
    def order(self) -> int:
        """Of the group: r and s are below it."""
        return self.curve.group_order

    @property
    def width(self) -> int:
        """Bytes of r, and of s, in a token's answer."""
        return (self.curve.key_size + 7) // 8


CURVES = (
    Curve("p256", ec.SECP256R1(), DigestAlgorithm.SHA256, bytes.fromhex("06082a8648ce3d030107")),
    Curve("p384", ec.SECP384R1(), DigestAlgorithm.SHA384, bytes.fromhex("06052b81040022")),
    Curve("p521", ec.SECP521R1(), DigestAlgorithm.SHA512, bytes.fromhex("06052b81040023")),
)
_BY_NAME = {known.curve.name: known for known in CURVES}


def curve_of(public: ec.EllipticCurvePublicKey) -> Curve | None:
    """The curve that a key is on; None if it is none of ours."""
    return _BY_NAME.get(public.curve.name)
