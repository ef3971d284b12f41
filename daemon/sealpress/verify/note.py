"""The strings of signed notes, checkpoints and cosignatures, and the names of the keys that sign them: built here only.

A log key signs the text of a checkpoint (type 0x01, its name is the origin). A line key is a C2SP cosigner named
`<log name>/<line>`: Ed25519 is type 0x04, others type 0xff with a label of ours (DESIGN 3.3).

Guarantees: one key has one canonical SPKI, one key id and one vkey; a vkey whose key id does not follow from its name
and key is refused; a signature has one encoding (ECDSA: strict DER, low s). Does not: know which key to trust, or read
proofs.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from sealpress.errors import Invalid
from sealpress.verify import lattice
from sealpress.verify.curves import HASHES, curve_of

TYPE_LOG = b"\x01"
TYPE_COSIGNER = b"\x04"
_LABEL = "sealpress/cosignature/v1/"

PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey | lattice.PublicKey


@dataclass(frozen=True, slots=True)
class LogKey:
    """An Ed25519 key that signs the heads of one log; `name` is the origin."""

    name: str
    public: bytes  # 32
    key_id: bytes  # 4
    vkey: str


@dataclass(frozen=True, slots=True)
class LineKey:
    """A cosigner: the key of one line of one log."""

    name: str
    spki: bytes
    type_bytes: bytes
    key_id: bytes  # 4
    vkey: str


def log_key(origin: str, public: bytes) -> LogKey:
    """From the 32 bytes of an Ed25519 public key."""
    key_id, vkey = _named(origin, TYPE_LOG + public)
    return LogKey(origin, public, key_id, vkey)


def line_key(name: str, spki: bytes) -> LineKey:
    """From `<log name>/<line>` and the canonical SPKI."""
    public = public_key(spki)
    if isinstance(public, ed25519.Ed25519PublicKey):
        type_bytes, material = TYPE_COSIGNER, public.public_bytes_raw()
    else:
        label = (_LABEL + _scheme(public)).encode()
        type_bytes, material = b"\xff" + bytes([len(label)]) + label, spki
    key_id, vkey = _named(name, type_bytes + material)
    return LineKey(name, spki, type_bytes, key_id, vkey)


def _scheme(public: object) -> str:
    curve = curve_of(public) if isinstance(public, ec.EllipticCurvePublicKey) else None
    if curve is not None:
        return curve.scheme
    if isinstance(public, rsa.RSAPublicKey):
        return "rsa-pss-sha256"
    if isinstance(public, lattice.PublicKey):
        return lattice.parameter_set_of(public).scheme
    raise Invalid("a line key is Ed25519, P-256, P-384, P-521, RSA or ML-DSA")


def _named(name: str, material: bytes) -> tuple[bytes, str]:
    key_id = hashlib.sha256(name.encode() + b"\n" + material).digest()[:4]
    return key_id, f"{name}+{key_id.hex()}+{base64.b64encode(material).decode()}"


def canonical_spki(key: bytes) -> bytes:
    """The one DER SPKI of a public key given as PEM or DER (named curve, uncompressed point, RFC 8410)."""
    try:
        public = load_pem_public_key(key) if key.lstrip().startswith(b"-----") else load_der_public_key(key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Invalid(f"not a public key: {error}") from None
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def checkpoint_text(origin: str, size: int, root: bytes) -> bytes:
    """The signed bytes of a checkpoint: origin, size, root, each with its newline."""
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n".encode()


def cosignature_message(text: bytes, time: int) -> bytes:
    """What a cosigner signs: the checkpoint's text under a header with the time."""
    return f"cosignature/v1\ntime {time}\n".encode() + text


def signature_line(name: str, key_id: bytes, signature: bytes) -> bytes:
    """One line below the text; for a cosigner `signature` begins with the time as eight bytes."""
    return f"\u2014 {name} {base64.b64encode(key_id + signature).decode()}\n".encode()


def public_key(spki: bytes) -> PublicKey:
    """Of a kind that may sign here; Invalid otherwise."""
    try:
        public = load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Invalid(f"not a public key: {error}", reason="KEY") from None
    if not isinstance(public, PublicKey):
        raise Invalid("a key is Ed25519, ECDSA, RSA or ML-DSA", reason="KEY")
    _scheme_known(public)
    return public


def _scheme_known(public: PublicKey) -> None:
    if not isinstance(public, ed25519.Ed25519PublicKey):
        _scheme(public)


def parse_vkey(vkey: str) -> LogKey | LineKey:
    """`name+hex8+base64(type bytes || key)` of a log (0x01) or a cosigner (0x04, 0xff of ours); Invalid otherwise."""
    try:
        name, key_id, text = vkey.split("+", 2)
        material = base64.b64decode(text, validate=True)
        found: LogKey | LineKey
        if material[:1] == TYPE_LOG and len(material) == 33:
            found = log_key(name, material[1:])
        elif material[:1] == TYPE_COSIGNER and len(material) == 33:
            raw = ed25519.Ed25519PublicKey.from_public_bytes(material[1:])
            found = line_key(name, raw.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        elif material[:1] == b"\xff":
            found = line_key(name, canonical_spki(material[2 + material[1] :]))
        else:
            raise ValueError("unknown key type")
        if not name or found.vkey != vkey:
            raise ValueError(f"the key id {key_id} or the encoding does not belong to this name and key")
    except (ValueError, IndexError) as error:
        raise Invalid(f"not a verifier key: {error}", reason="VKEY", hint="name+8 hex digits+base64") from None
    return found


def verify_log(key: LogKey, text: bytes, signature: bytes) -> None:
    """Invalid LOG_SIGNATURE unless the log key signed this text. `signature`: what follows the key id."""
    if not signed_by(ed25519.Ed25519PublicKey.from_public_bytes(key.public), text, signature):
        raise Invalid(f"the signature of the log {key.name} is wrong", reason="LOG_SIGNATURE")


def verify_line(key: LineKey, text: bytes, signature: bytes) -> int:
    """The time (Unix seconds) at which the cosigner signed this text; Invalid LINE_SIGNATURE otherwise."""
    time = int.from_bytes(signature[:8], "big")
    if not signed_by(public_key(key.spki), cosignature_message(text, time), signature[8:]):
        raise Invalid(f"the signature of {key.name} is wrong", reason="LINE_SIGNATURE")
    return time


def low_s(public: ec.EllipticCurvePublicKey, signature: bytes) -> bool:
    """Is this the one encoding of an ECDSA signature: strict DER, s in the lower half?"""
    curve = curve_of(public)
    if curve is None:
        return False
    try:
        r, s = decode_dss_signature(signature)
    except ValueError:
        return False
    return encode_dss_signature(r, s) == signature and 0 < r < curve.order and 0 < s <= curve.order // 2


def signed_by(public: PublicKey, message: bytes, signature: bytes) -> bool:
    """Whether the key signed exactly this message: Ed25519, ECDSA in its one encoding, RSA-PSS with SHA-256, ML-DSA."""
    try:
        if isinstance(public, ed25519.Ed25519PublicKey | lattice.PublicKey):
            public.verify(signature, message)
        elif isinstance(public, rsa.RSAPublicKey):
            scheme = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
            public.verify(signature, message, scheme, hashes.SHA256())
        else:
            curve = curve_of(public)
            if curve is None:
                return False
            public.verify(signature, message, ec.ECDSA(HASHES[curve.algorithm]))
            return low_s(public, signature)
    except InvalidSignature:
        return False
    return True
