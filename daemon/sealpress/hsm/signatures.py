"""What a key's token operation is, what becomes of its answer, and whether that is right: one scheme per key.

Guarantees: the bytes for the token are built here and nowhere else; ECDSA leaves as DER with low s; `finish` returns
only a signature that verifies under the pinned public key (L5). Does not: talk to the token.
"""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from sealpress.errors import ConfigError
from sealpress.hsm.mechanisms import (
    CKM_ECDSA,
    CKM_ECDSA_SHA256,
    CKM_ECDSA_SHA384,
    CKM_ECDSA_SHA512,
    CKM_EDDSA,
    CKM_ML_DSA,
    CKM_RSA_PKCS,
    CKM_RSA_PKCS_PSS,
    CKM_SHA256_RSA_PKCS_PSS,
)
from sealpress.hsm.work import Whole, WorkerJob
from sealpress.values import DigestAlgorithm, Format, Mode
from sealpress.verify import lattice
from sealpress.verify.curves import HASHES, curve_of

_RSA_BITS_MIN = 2048
_RSA_BITS_MAX = 4096
# DER of DigestInfo up to the digest (RFC 8017, section 9.2, note 1)
_DIGEST_INFO = {
    DigestAlgorithm.SHA256: bytes.fromhex("3031300d060960864801650304020105000420"),
    DigestAlgorithm.SHA384: bytes.fromhex("3041300d060960864801650304020205000430"),
    DigestAlgorithm.SHA512: bytes.fromhex("3051300d060960864801650304020305000440"),
}


# What hashes with the algorithm of a curve, on the token
_HASHING = {
    DigestAlgorithm.SHA256: CKM_ECDSA_SHA256,
    DigestAlgorithm.SHA384: CKM_ECDSA_SHA384,
    DigestAlgorithm.SHA512: CKM_ECDSA_SHA512,
}


_ECDSA = {algorithm: ec.ECDSA(Prehashed(hash_)) for algorithm, hash_ in HASHES.items()}
_HASHLIB = {
    DigestAlgorithm.SHA256: hashlib.sha256,
    DigestAlgorithm.SHA384: hashlib.sha384,
    DigestAlgorithm.SHA512: hashlib.sha512,
}


class WrongSignature(Exception):
    """The token's answer does not verify; it is never released."""


class Scheme(Protocol):
    """How one key signs a digest."""

    def job(self, key: str, algorithm: DigestAlgorithm, digest: bytes) -> WorkerJob:
        """The token operation."""
        ...

    def finish(self, algorithm: DigestAlgorithm, digest: bytes, raw: bytes) -> bytes:
        """The signature in its format, verified; WrongSignature."""
        ...


class Ecdsa:
    """CKM_ECDSA over the leftmost bits of the digest; DER, low s."""

    def __init__(self, public: ec.EllipticCurvePublicKey) -> None:
        """P-256, P-384 or P-521."""
        curve = curve_of(public)
        if curve is None:
            raise ConfigError(f"curve {public.curve.name} is not supported", hint="use P-256, P-384 or P-521")
        self._public = public
        self._order = curve.order
        self._size = curve.width
        self.algorithm = curve.algorithm

    def job(self, key: str, algorithm: DigestAlgorithm, digest: bytes) -> WorkerJob:
        """The token operation."""
        del algorithm
        return WorkerJob(key, CKM_ECDSA, 0, 2 * self._size, digest[: self._size])

    def finish(self, algorithm: DigestAlgorithm, digest: bytes, raw: bytes) -> bytes:
        """From r and s of fixed width."""
        if len(raw) != 2 * self._size:
            raise WrongSignature
        r, s = int.from_bytes(raw[: self._size]), int.from_bytes(raw[self._size :])
        if not (0 < r < self._order and 0 < s < self._order):
            raise WrongSignature
        der = encode_dss_signature(r, min(s, self._order - s))
        try:
            self._public.verify(der, digest, _ECDSA[algorithm])
        except InvalidSignature:
            raise WrongSignature from None
        return der


class RsaPkcs1:
    """CKM_RSA_PKCS over the DigestInfo."""

    def __init__(self, public: rsa.RSAPublicKey) -> None:
        """2048 to 4096 bits."""
        self._public = _checked(public)

    def job(self, key: str, algorithm: DigestAlgorithm, digest: bytes) -> WorkerJob:
        """The token operation."""
        return WorkerJob(key, CKM_RSA_PKCS, 0, _bytes(self._public), _DIGEST_INFO[algorithm] + digest)

    def finish(self, algorithm: DigestAlgorithm, digest: bytes, raw: bytes) -> bytes:
        """As it came."""
        try:
            self._public.verify(raw, digest, padding.PKCS1v15(), Prehashed(HASHES[algorithm]))
        except InvalidSignature:
            raise WrongSignature from None
        return raw


class RsaPss:
    """CKM_RSA_PKCS_PSS; MGF1 with the same hash, salt as long as the hash."""

    def __init__(self, public: rsa.RSAPublicKey) -> None:
        """2048 to 4096 bits."""
        self._public = _checked(public)

    def job(self, key: str, algorithm: DigestAlgorithm, digest: bytes) -> WorkerJob:
        """The token operation."""
        return WorkerJob(key, CKM_RSA_PKCS_PSS, int(algorithm), _bytes(self._public), digest)

    def finish(self, algorithm: DigestAlgorithm, digest: bytes, raw: bytes) -> bytes:
        """As it came."""
        hashed = HASHES[algorithm]
        try:
            self._public.verify(raw, digest, padding.PSS(padding.MGF1(hashed), algorithm.size), Prehashed(hashed))
        except InvalidSignature:
            raise WrongSignature from None
        return raw


class Cosigner:
    """A proof key: signs cosignature messages, which are short, so that they may go to the token whole."""

    def __init__(self, spki: bytes) -> None:
        """Ed25519, P-256, P-384, P-521, RSA (PSS with SHA-256), or ML-DSA."""
        public = load_der_public_key(spki)
        self._whole: tuple[int, int] | None = None  # mechanism and size where nothing but the message is signed
        self._algorithm = DigestAlgorithm.SHA256
        self._hashing = CKM_SHA256_RSA_PKCS_PSS
        self._scheme: Scheme | None = None
        if isinstance(public, ec.EllipticCurvePublicKey):
            scheme = Ecdsa(public)
            self._scheme, self._algorithm = scheme, scheme.algorithm
            self._hashing = _HASHING[scheme.algorithm]
        elif isinstance(public, rsa.RSAPublicKey):
            self._scheme = RsaPss(public)
        elif isinstance(public, ed25519.Ed25519PublicKey):
            self._whole = CKM_EDDSA, 64
        elif isinstance(public, lattice.PublicKey):
            self._whole = CKM_ML_DSA, lattice.parameter_set_of(public).signature_bytes
        else:
            raise ConfigError("a proof key is Ed25519, P-256, P-384, P-521, RSA or ML-DSA")
        self._public: Any = public

    def job(self, key: str, message: bytes) -> WorkerJob:
        """The token operation: over the digest, or over the message where the token hashes itself."""
        if self._whole is not None:
            mechanism, size = self._whole
            return WorkerJob(key, mechanism, 0, size, message)
        assert self._scheme is not None
        job = self._scheme.job(key, self._algorithm, self._digest(message))
        return WorkerJob(key, job.mechanism, job.parameter, job.size, job.data, Whole(self._hashing, message))

    def finish(self, message: bytes, raw: bytes) -> bytes:
        """The signature, verified; WrongSignature."""
        if self._scheme is not None:
            return self._scheme.finish(self._algorithm, self._digest(message), raw)
        try:
            self._public.verify(raw, message)
        except InvalidSignature:
            raise WrongSignature from None
        return raw

    def _digest(self, message: bytes) -> bytes:
        return _HASHLIB[self._algorithm](message).digest()


def direct_scheme(mode: Mode, format_: Format, spki: bytes) -> Scheme | None:
    """The scheme of a direct key; None for a proof key. ConfigError if format and key do not go together."""
    if (mode is Mode.PROOF) != (format_ is Format.TLOG_PROOF):
        raise ConfigError(f"mode {mode} and format {format_} do not go together")
    if mode is Mode.PROOF:
        return None
    public = load_der_public_key(spki)
    if format_ is Format.ECDSA_DER and isinstance(public, ec.EllipticCurvePublicKey):
        return Ecdsa(public)
    if format_ is Format.RSA_PKCS1V15 and isinstance(public, rsa.RSAPublicKey):
        return RsaPkcs1(public)
    if format_ is Format.RSA_PSS and isinstance(public, rsa.RSAPublicKey):
        return RsaPss(public)
    raise ConfigError(f"a key of this kind cannot make {format_}")


def _checked(public: rsa.RSAPublicKey) -> rsa.RSAPublicKey:
    if not _RSA_BITS_MIN <= public.key_size <= _RSA_BITS_MAX:
        raise ConfigError(f"RSA with {public.key_size} bits is not supported", hint="use 2048 to 4096 bits")
    return public


def _bytes(public: rsa.RSAPublicKey) -> int:
    """Of a signature. Not every modulus has a whole number of bytes."""
    return (public.key_size + 7) // 8
