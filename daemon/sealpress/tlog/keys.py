"""Public keys that sign heads, from their vkeys: the log's (0x01) and lines' (0x04, and our 0xff types).

Guarantees: a vkey whose key id does not follow from its name and key is refused. Does not: know which key to trust.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from sealpress.errors import Invalid

PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey
_LOG, _COSIGNER, _LONG = 0x01, 0x04, 0xFF


@dataclass(frozen=True, slots=True)
class HeadKey:
    """A key that may sign heads."""

    name: str
    key_id: bytes
    cosigner: bool  # signs `cosignature/v1` with a time, not the text itself
    public: PublicKey

    def verify(self, text: bytes, signature: bytes) -> int | None:
        """Invalid unless it signed; the time of a cosignature. `signature`: what follows the key id in the line."""
        time: int | None = None
        if self.cosigner:
            time = int.from_bytes(signature[:8], "big")
            text = b"cosignature/v1\ntime %d\n" % time + text
            signature = signature[8:]
        try:
            self._verify(text, signature)
        except InvalidSignature as error:
            raise Invalid(f"the signature of {self.name} does not verify", reason="SIGNATURE") from error
        return time

    def _verify(self, message: bytes, signature: bytes) -> None:
        if isinstance(self.public, ed25519.Ed25519PublicKey):
            self.public.verify(signature, message)
        elif isinstance(self.public, rsa.RSAPublicKey):
            scheme = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
            self.public.verify(signature, message, scheme, hashes.SHA256())
        else:
            wide = self.public.curve.key_size > 256
            self.public.verify(signature, message, ec.ECDSA(hashes.SHA384() if wide else hashes.SHA256()))


def parse_head_key(vkey: str) -> HeadKey:
    """`name+hex8+base64(type bytes || key)`; Invalid otherwise."""
    try:
        name, key_id, material_text = vkey.split("+", 2)
        material = base64.b64decode(material_text, validate=True)
        expected = hashlib.sha256(name.encode() + b"\n" + material).digest()[:4]
        if bytes.fromhex(key_id) != expected:
            raise ValueError("the key id does not belong to this name and key")
        if material[0] in (_LOG, _COSIGNER) and len(material) == 33:
            public: object = ed25519.Ed25519PublicKey.from_public_bytes(material[1:])
        elif material[0] == _LONG:
            public = load_der_public_key(material[2 + material[1] :])
        else:
            raise ValueError("unknown key type")
        if not isinstance(public, PublicKey):
            raise ValueError("unknown kind of key")
        return HeadKey(name, expected, material[0] != _LOG, public)
    except (ValueError, IndexError) as error:
        raise Invalid(f"not a verification key: {error}", reason="VKEY", hint="name+8 hex digits+base64") from error
