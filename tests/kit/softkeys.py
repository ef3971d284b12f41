"""Keys of OpenSSH in software, FIDO2 ones included, and the signature files that they make: for verifiers to judge.

Shares no line with sealpress.verify: the formats are written a second time, after OpenSSH's PROTOCOL.sshsig and
PROTOCOL.u2f. The tests compare both with stock `ssh-keygen`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

ED25519, RSA = "ssh-ed25519", "ssh-rsa"
SK_ED25519, SK_ECDSA = "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"
WEBAUTHN = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"
ECDSA = {"ecdsa-sha2-nistp256": ec.SECP256R1(), "ecdsa-sha2-nistp384": ec.SECP384R1(),
         "ecdsa-sha2-nistp521": ec.SECP521R1(), SK_ECDSA: ec.SECP256R1()}  # fmt: skip
TYPES = (ED25519, RSA, SK_ED25519, *ECDSA)
SK_TYPES = (SK_ED25519, SK_ECDSA)


def string(raw: bytes) -> bytes:
    """Length and bytes."""
    return struct.pack(">I", len(raw)) + raw


def mpint(number: int) -> bytes:
    """A number that is not negative."""
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big") if number else b"")


def armor(blob: bytes) -> str:
    """The lines around and in a signature file."""
    text = base64.b64encode(blob).decode()
    lines = [text[at : at + 70] for at in range(0, len(text), 70)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])


def dearmor(text: str) -> bytes:
    """What the lines hold."""
    return base64.b64decode("".join(text.split("\n")[1:-2]))


@dataclass
class SoftKey:
    """One key. `flags` and `counter` are what an authenticator would say; the counter grows."""

    type: str
    private: Any
    application: str = "ssh:sealpress"
    flags: int = 0x05
    counter: int = 0
    rsa_algorithm: str = "rsa-sha2-512"
    origin: str = field(default="", kw_only=True)  # a browser's: signs as WebAuthn does

    @classmethod
    def make(cls, type_: str = SK_ED25519, **how: Any) -> SoftKey:
        """A fresh key."""
        if type_ in (ED25519, SK_ED25519):
            return cls(type_, ed25519.Ed25519PrivateKey.generate(), **how)
        if type_ == RSA:
            return cls(type_, rsa.generate_private_key(65537, how.pop("bits", 3072)), **how)
        return cls(type_, ec.generate_private_key(ECDSA[type_]), **how)

    @property
    def sk(self) -> bool:
        """Whether it plays an authenticator."""
        return self.type in SK_TYPES

    @property
    def blob(self) -> bytes:
        """The public key in SSH's encoding."""
        public = self.private.public_key()
        if isinstance(public, ed25519.Ed25519PublicKey):
            body = string(public.public_bytes_raw())
        elif isinstance(public, rsa.RSAPublicKey):
            numbers = public.public_numbers()
            body = mpint(numbers.e) + mpint(numbers.n)
        else:
            at, size = public.public_numbers(), (public.key_size + 7) // 8
            point = b"\x04" + at.x.to_bytes(size, "big") + at.y.to_bytes(size, "big")
            body = string(f"nistp{public.key_size}".encode()) + string(point)
        return string(self.type.encode()) + body + (string(self.application.encode()) if self.sk else b"")

    @property
    def line(self) -> str:
        """The public key's line."""
        return f"{self.type} {base64.b64encode(self.blob).decode()}"

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    def sign(self, message: bytes, namespace: str, *, flags: int | None = None, **wrong: Any) -> str:
        """A signature file. `wrong`: algorithm, reserved, magic, version, tail: what an honest one never has."""
        algorithm = wrong.get("algorithm", "sha512")
        digest = hashlib.new(algorithm, message).digest()
        middle = string(namespace.encode()) + string(wrong.get("reserved", b"")) + string(algorithm.encode())
        inner = self.inner(b"SSHSIG" + middle + string(digest), self.flags if flags is None else flags)
        head = wrong.get("magic", b"SSHSIG") + struct.pack(">I", wrong.get("version", 1))
        return armor(head + string(self.blob) + middle + string(inner) + wrong.get("tail", b""))

    def inner(self, data: bytes, flags: int) -> bytes:
        """SSH's own signature over these bytes."""
        if not self.sk:
            return string((self.rsa_algorithm if self.type == RSA else self.type).encode()) + string(self.raw(data))
        self.counter += 1
        said = struct.pack(">BI", flags, self.counter)
        shown = browser_json(data, self.origin) if self.origin else data
        application = hashlib.sha256(self.application.encode()).digest()
        raw = self.raw(application + said + hashlib.sha256(shown).digest())
        if not self.origin:
            return string(self.type.encode()) + string(raw) + said
        return (
            string(WEBAUTHN.encode()) + string(raw) + said + string(self.origin.encode()) + string(shown) + string(b"")
        )

    def raw(self, data: bytes) -> bytes:
        """The signature of the key's algorithm alone."""
        if self.type in (ED25519, SK_ED25519):
            return bytes(self.private.sign(data))
        if self.type == RSA:
            hash_ = {"rsa-sha2-256": hashes.SHA256, "rsa-sha2-512": hashes.SHA512, RSA: hashes.SHA1}[self.rsa_algorithm]
            return bytes(self.private.sign(data, padding.PKCS1v15(), hash_()))
        wide: Mapping[int, hashes.HashAlgorithm] = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(wide[self.private.key_size])))
        return mpint(r) + mpint(s)


def browser_json(challenge: bytes, origin: str, *, cross_origin: bool = False) -> bytes:
    """What a browser signs instead of the bytes."""
    encoded = base64.urlsafe_b64encode(challenge).decode().rstrip("=")
    fields = {"type": "webauthn.get", "challenge": encoded, "origin": origin, "crossOrigin": cross_origin}
    return json.dumps(fields, separators=(",", ":")).encode()
