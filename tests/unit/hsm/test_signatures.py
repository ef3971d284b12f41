"""Schemes: what comes back is verified, and ECDSA leaves with low s."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealpress.errors import ConfigError
from sealpress.hsm.mechanisms import CKM_ECDSA, chosen
from sealpress.hsm.signatures import Cosigner, Ecdsa, RsaPkcs1, RsaPss, WrongSignature, direct_scheme
from sealpress.hsm.work import WorkerJob
from sealpress.values import DigestAlgorithm, Format, Mode
from sealpress.verify.curves import CURVES
from sealpress.verify.lattice import PARAMETER_SETS, ParameterSet

DIGEST = hashlib.sha256(b"x").digest()
SHA256 = DigestAlgorithm.SHA256


def spki_of(
    private: Any,
) -> bytes:
    """DER of the public half."""
    return bytes(private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_ecdsa_leaves_with_low_s(curve: ec.EllipticCurve) -> None:
    """Whichever s the token chose, DER with the low one comes out, and it verifies."""
    private = ec.generate_private_key(curve)
    scheme = Ecdsa(private.public_key())
    size = (curve.key_size + 7) // 8
    seen = set()
    for _ in range(16):
        r, s = decode_dss_signature(private.sign(DIGEST, ec.ECDSA(Prehashed(hashes.SHA256()))))
        der = scheme.finish(SHA256, DIGEST, r.to_bytes(size) + s.to_bytes(size))
        _, low = decode_dss_signature(der)
        assert low <= scheme._order // 2
        private.public_key().verify(der, DIGEST, ec.ECDSA(Prehashed(hashes.SHA256())))
        seen.add(low == s)
    assert seen == {True, False}


@pytest.mark.parametrize("raw", [b"", bytes(64), bytes(63), b"\xff" * 64, bytes(range(64))])
def test_a_wrong_ecdsa_answer_is_not_released(raw: bytes) -> None:
    """Zero, out of range, of another length, or simply not a signature."""
    scheme = Ecdsa(ec.generate_private_key(ec.SECP256R1()).public_key())

    with pytest.raises(WrongSignature):
        scheme.finish(SHA256, DIGEST, raw)


def test_a_wrong_answer_of_any_kind_is_not_released() -> None:
    """Ed25519, PKCS#1 and PSS are verified as well."""
    key = rsa.generate_private_key(65537, 2048)
    for format_ in (Format.RSA_PKCS1V15, Format.RSA_PSS):
        scheme = direct_scheme(Mode.DIRECT, format_, spki_of(key))
        assert scheme is not None
        with pytest.raises(WrongSignature):
            scheme.finish(SHA256, DIGEST, bytes(256))
    with pytest.raises(WrongSignature):
        Cosigner(spki_of(ed25519.Ed25519PrivateKey.generate())).finish(b"message", bytes(64))


@pytest.mark.parametrize("bits", [2048, 3071])
def test_an_rsa_signature_has_room_whatever_its_modulus(bits: int) -> None:
    """Some tokens make moduli that are a bit shorter than was asked for: their signatures are no byte shorter."""
    public = rsa.generate_private_key(65537, bits).public_key()

    assert [scheme(public).job("k", SHA256, DIGEST).size for scheme in (RsaPkcs1, RsaPss)] == [(bits + 7) // 8] * 2


@pytest.mark.parametrize("kind", PARAMETER_SETS, ids=lambda kind: kind.kind)
def test_ml_dsa_signs_the_message_itself(kind: ParameterSet) -> None:
    """CKM_ML_DSA of PKCS#11 3.2 without parameters, room for its signature; what does not verify is not released."""
    private = {
        "mldsa44": mldsa.MLDSA44PrivateKey,
        "mldsa65": mldsa.MLDSA65PrivateKey,
        "mldsa87": mldsa.MLDSA87PrivateKey,
    }[kind.kind].generate()
    cosigner = Cosigner(spki_of(private))
    job = cosigner.job("k", b"message")

    assert job == WorkerJob("k", 0x1D, 0, kind.signature_bytes, b"message")
    raw = private.sign(job.data)
    assert len(raw) == job.size
    assert cosigner.finish(b"message", raw) == raw
    for wrong in (private.sign(b"other"), private.sign(b"message", b"a context"), raw[:-1], b""):
        with pytest.raises(WrongSignature):
            cosigner.finish(b"message", wrong)


@pytest.mark.parametrize(("curve", "hashing"), [("p256", 0x1044), ("p384", 0x1045), ("p521", 0x1046)])
def test_a_token_that_hashes_gets_the_message(curve: str, hashing: int) -> None:
    """Where it offers the mechanism; another one gets the digest. Either way it is the same signature."""
    private = ec.generate_private_key(next(known.curve for known in CURVES if known.kind == curve))
    job = Cosigner(spki_of(private)).job("k", b"message")

    whole = chosen(job, {CKM_ECDSA, hashing})
    assert (whole.mechanism, whole.data, whole.size) == (hashing, b"message", job.size)
    plain = chosen(job, {CKM_ECDSA})
    assert plain.mechanism == CKM_ECDSA
    assert plain.data == hashlib.new({"p256": "sha256", "p384": "sha384", "p521": "sha512"}[curve], b"message").digest()


@pytest.mark.parametrize(
    ("mode", "format_"),
    [
        (Mode.PROOF, Format.ECDSA_DER),
        (Mode.DIRECT, Format.TLOG_PROOF),
        (Mode.DIRECT, Format.RSA_PSS),
    ],
)
def test_key_mode_and_format_must_go_together(mode: Mode, format_: Format) -> None:
    """A half-configured key is refused at start."""
    with pytest.raises(ConfigError):
        direct_scheme(mode, format_, spki_of(ec.generate_private_key(ec.SECP256R1())))
