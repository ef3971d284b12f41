"""Raw signatures of direct lines, checked over a digest with a public key: what `openssl dgst -verify` would say.

Guarantees: returns only for a good signature. Does not: know lines or the log; a raw signature names neither.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from sealpress.errors import ConfigError, Invalid
from sealpress.reading import read_named
from sealpress.values import DigestAlgorithm, Format
from sealpress.verify.curves import HASHES, curve_of
from sealpress.verify.note import PublicKey, canonical_spki, public_key


def load_public_key(path: Path) -> PublicKey:
    """From PEM; ConfigError names the file."""
    try:
        return public_key(canonical_spki(read_named(path)))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="give the public key (PEM) with --public-key") from error
    except Invalid as error:
        raise ConfigError(f"{path}: {error.message}", hint="a PEM file with a public key") from error


def usual_algorithm(public: PublicKey) -> DigestAlgorithm:
    """The digest that goes with the key when nobody says otherwise."""
    curve = curve_of(public) if isinstance(public, ec.EllipticCurvePublicKey) else None
    return curve.algorithm if curve is not None else DigestAlgorithm.SHA256


def formats_of(public: PublicKey) -> tuple[Format, ...]:
    """The raw formats that a key can have."""
    if isinstance(public, rsa.RSAPublicKey):
        return (Format.RSA_PKCS1V15, Format.RSA_PSS)
    return (Format.ECDSA_DER,) if isinstance(public, ec.EllipticCurvePublicKey) else ()


def verify_direct(
    public: PublicKey, format_: Format, algorithm: DigestAlgorithm, digest: bytes, signature: bytes
) -> None:
    """Invalid (reason SIGNATURE) unless the key signed this digest in this format."""
    chosen = HASHES[algorithm]
    prehashed = utils.Prehashed(chosen)
    try:
        if format_ is Format.ECDSA_DER and isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, digest, ec.ECDSA(prehashed))
        elif format_ is Format.RSA_PKCS1V15 and isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, digest, padding.PKCS1v15(), prehashed)
        elif format_ is Format.RSA_PSS and isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, digest, padding.PSS(padding.MGF1(chosen), chosen.digest_size), prehashed)
        else:
            kind = "Ed25519" if isinstance(public, ed25519.Ed25519PublicKey) else "this"
            raise Invalid(f"{kind} key does not make {format_.value} signatures", reason="FORMAT")
    except (InvalidSignature, ValueError):
        raise Invalid("the signature does not fit this file and key", reason="SIGNATURE") from None
