"""Makes logs and proofs from keys of our own, with the slow reference tree: for verifiers to judge.

Nothing here is taken from the code that the daemon runs but names of things; a proof is put together by hand.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

# by bits of the curve: scheme, hash, order
ECDSA: dict[int, tuple[bytes, Any, int]] = {
    256: (b"p256-sha256", hashes.SHA256(), ec.SECP256R1().group_order),
    384: (b"p384-sha384", hashes.SHA384(), ec.SECP384R1().group_order),
    521: (b"p521-sha512", hashes.SHA512(), ec.SECP521R1().group_order),
}
NUMBERS = {"sha256": 1, "sha384": 2, "sha512": 3}
MLDSA: dict[Any, bytes] = {
    mldsa.MLDSA44PrivateKey: b"ml-dsa-44",
    mldsa.MLDSA65PrivateKey: b"ml-dsa-65",
    mldsa.MLDSA87PrivateKey: b"ml-dsa-87",
}
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
TIME = 1_763_900_000
LINE = "acme/router/eu/prod/firmware"


def b64(raw: bytes) -> str:
    """Standard base64."""
    return base64.b64encode(raw).decode()


@dataclass
class LineSigner:
    """A line with its key."""

    log_name: str
    line: str
    private: Any

    @property
    def name(self) -> str:
        """Of the cosigner."""
        return f"{self.log_name}/{self.line}"

    @property
    def spki(self) -> bytes:
        """DER."""
        return bytes(self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    @property
    def material(self) -> bytes:
        """Type bytes and key."""
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return b"\x04" + self.private.public_key().public_bytes_raw()
        scheme = next((name for made, name in MLDSA.items() if isinstance(self.private, made)), b"")
        scheme = b"rsa-pss-sha256" if isinstance(self.private, rsa.RSAPrivateKey) else scheme
        scheme = scheme or b"ecdsa-" + ECDSA[self.private.curve.key_size][0]
        label = b"sealpress/cosignature/v1/" + scheme
        return b"\xff" + bytes([len(label)]) + label + self.spki

    @property
    def key_id(self) -> bytes:
        """Four bytes."""
        return hashlib.sha256(self.name.encode() + b"\n" + self.material).digest()[:4]

    @property
    def vkey(self) -> str:
        """For a policy."""
        return f"{self.name}+{self.key_id.hex()}+{b64(self.material)}"

    @property
    def scope(self) -> bytes:
        """What its leaves commit to."""
        parts = (part.encode() for part in (self.log_name, self.line))
        named = b"".join(len(part).to_bytes(2, "big") + part for part in parts)
        return hashlib.sha256(b"sealpress/scope\0" + named).digest()

    def signature(self, text: bytes, time: int, *, high: bool = False) -> bytes:
        """Time and signature; `high`: the other s."""
        message = f"cosignature/v1\ntime {time}\n".encode() + text
        if isinstance(self.private, rsa.RSAPrivateKey):
            raw = self.private.sign(message, PSS, hashes.SHA256())
        elif not isinstance(self.private, ec.EllipticCurvePrivateKey):
            raw = self.private.sign(message)
        else:
            _, hash_, order = ECDSA[self.private.curve.key_size]
            r, s = decode_dss_signature(self.private.sign(message, ec.ECDSA(hash_)))
            s = min(s, order - s)
            raw = encode_dss_signature(r, order - s if high else s)
        return time.to_bytes(8, "big") + raw


@dataclass
class LogSigner:
    """A log with its key and its leaf hashes."""

    name: str
    number: int = 1
    private: ed25519.Ed25519PrivateKey = field(default_factory=ed25519.Ed25519PrivateKey.generate)
    leaves: list[bytes] = field(default_factory=list)

    @property
    def origin(self) -> str:
        """First line of its checkpoints."""
        return f"{self.name}/{self.number}"

    @property
    def material(self) -> bytes:
        """Type byte and key."""
        return b"\x01" + self.private.public_key().public_bytes_raw()

    @property
    def key_id(self) -> bytes:
        """Four bytes."""
        return hashlib.sha256(self.origin.encode() + b"\n" + self.material).digest()[:4]

    @property
    def vkey(self) -> str:
        """For a policy."""
        return f"{self.origin}+{self.key_id.hex()}+{b64(self.material)}"

    def text(self) -> bytes:
        """The checkpoint of all leaves."""
        return f"{self.origin}\n{len(self.leaves)}\n{b64(root(self.leaves))}\n".encode()


def root(leaves: list[bytes]) -> bytes:
    """MTH over leaf hashes, RFC 6962."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + root(leaves[:split]) + root(leaves[split:])).digest()


def path(index: int, leaves: list[bytes]) -> list[bytes]:
    """Inclusion path, leaf sibling first."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*path(index, leaves[:split]), root(leaves[split:])]
    return [*path(index - split, leaves[split:]), root(leaves[:split])]


@dataclass(frozen=True)
class Parts:
    """A proof before it is written down; tests change one thing and write it."""

    opening: bytes
    index: int
    path: tuple[bytes, ...]
    text: bytes
    signatures: tuple[tuple[str, bytes], ...]  # name; key id and signature

    def write(self) -> bytes:
        """The proof."""
        rows = ["c2sp.org/tlog-proof@v1", f"extra {b64(self.opening)}", f"index {self.index}", *map(b64, self.path)]
        signed = "".join(f"\u2014 {name} {b64(raw)}\n" for name, raw in self.signatures)
        return ("\n".join(rows) + "\n\n").encode() + self.text + b"\n" + signed.encode()

    def but(self, **changes: Any) -> Parts:
        """The same with something else."""
        return replace(self, **changes)


@dataclass
class World:
    """A log and a line that signs in it."""

    log: LogSigner
    line: LineSigner

    @classmethod
    def make(
        cls, kind: str = "ed25519", line: str = "acme/router/eu/prod/firmware", log: str = "sign.example/ci"
    ) -> World:
        """With fresh keys; `kind` is ed25519, p256, p384, p521, rsa, or of MLDSA."""
        kinds: dict[str, Callable[[], Any]] = {
            "ed25519": ed25519.Ed25519PrivateKey.generate,
            "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
            "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
            "rsa": lambda: rsa.generate_private_key(65537, 3072),
        } | {name.decode(): made.generate for made, name in MLDSA.items()}
        private = kinds[kind]()
        return cls(LogSigner(log), LineSigner(log, line, private))

    @property
    def policy(self) -> str:
        """Trust in this line."""
        return f"log {self.log.vkey}\nwitness line {self.line.vkey}\nquorum line\n"

    def prove(
        self,
        digest: bytes,
        algorithm: str = "sha256",
        *,
        size: int = 11,
        index: int = 5,
        kind: int = 1,
        time: int = TIME,
        sealed: int | None = None,
        version: int = 7,
        signer: LineSigner | None = None,
        high: bool = False,
    ) -> Parts:
        """A log of `size` leaves with the digest's at `index`, its head signed by log and line."""
        opening = bytes([NUMBERS[algorithm]]) + version.to_bytes(4, "big") + time.to_bytes(8, "big")
        opening += hashlib.sha256(b"record").digest() + hashlib.sha256(b"salt").digest()[:16]
        head = b"sealpress/leaf\0\x01" + bytes([kind, 0]) + hashlib.sha256(self.line.spki).digest() + self.line.scope
        others = [hashlib.sha256(b"leaf %d" % number).digest() for number in range(size)]
        others[index] = hashlib.sha256(b"\0" + head + opening + digest).digest()
        self.log.leaves = others
        text = self.log.text()
        by = signer or self.line
        cosigned = by.key_id + by.signature(text, time if sealed is None else sealed, high=high)
        signatures = ((self.log.origin, self.log.key_id + self.log.private.sign(text)), (by.name, cosigned))
        return Parts(opening, index, tuple(path(index, others)), text, signatures)
