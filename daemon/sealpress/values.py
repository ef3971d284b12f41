"""The words of the domain as frozen values; no I/O, no wire types.

Guarantees: a value that exists is valid. Does not: know policy, keys or time.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import msgspec

from sealpress.errors import Malformed

LINE_PART = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
LINE = re.compile(f"{LINE_PART.pattern}(?:/{LINE_PART.pattern}){{4}}", re.ASCII)
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
LINES_REMEMBERED = 4_096  # names that were good; a node has few, and each request bears one
LOG_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,252}/[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)


class DigestAlgorithm(enum.IntEnum):
    """Numbers as in the leaf (DESIGN 3.2) and on the wire."""

    SHA256 = 1
    SHA384 = 2
    SHA512 = 3

    size: int  # digest length in bytes
    label: str  # hashlib's and openssl's name: "sha256"

    def __init__(self, number: int) -> None:
        self.size = (32, 48, 64)[number - 1]
        self.label = ("sha256", "sha384", "sha512")[number - 1]

    @classmethod
    def parse(cls, label: str) -> DigestAlgorithm:
        """From "sha256" and so on; Malformed otherwise."""
        try:
            return cls[label.upper()]
        except KeyError:
            raise Malformed(f"unknown digest algorithm {label!r}", hint="use sha256, sha384 or sha512") from None


class LeafKind(enum.IntEnum):
    """Byte 16 of a leaf."""

    PROOF = 1
    EVENT = 2
    DIRECT = 3


class RecordType(enum.IntEnum):
    """Frame types of the journal."""

    REQUEST = 1
    OUTCOME = 2
    REFUSAL = 3
    GOVERNANCE = 4
    RECOVERY = 5
    COMMIT = 6
    SEAL = 7


class Mode(enum.StrEnum):
    """How a line signs: fixed at issuance."""

    PROOF = "proof"
    DIRECT = "direct"


class Format(enum.StrEnum):
    """What a line's answers are: fixed at issuance."""

    TLOG_PROOF = "tlog-proof"
    ECDSA_DER = "ecdsa-der"
    RSA_PKCS1V15 = "rsa-pkcs1v15"
    RSA_PSS = "rsa-pss"


KeyKind = Literal["ed25519", "p256", "p384", "p521", "rsa2048", "rsa3072", "rsa4096", "mldsa44", "mldsa65", "mldsa87"]
"""What a key that is made here may be."""


class KeyClass(enum.StrEnum):
    """Risk tier of a line."""

    TEST = "test"
    LOW = "low"
    RELEASE = "release"
    FIRMWARE = "firmware"
    ROOT = "root"

    @property
    def opened(self) -> bool:
        """Whether the signer looks at every leaf of such a line's log, and verifies the approvals itself."""
        return self in (KeyClass.FIRMWARE, KeyClass.ROOT)


@lru_cache(maxsize=LINES_REMEMBERED)
def check_line(name: str) -> str:
    """A line name: exactly five components `organisation/product/region/environment/purpose`."""
    if LINE.fullmatch(name) is None:
        raise Malformed(
            "a key is named by its line: five components organisation/product/region/environment/purpose, "
            "each of a-z 0-9 . _ - and at most 63 long",
            hint="ListKeys, in Python `client.keys()`, names the lines that you may request",
        )
    return name


def check_request_id(request_id: str) -> str:
    """1 to 64 of `[A-Za-z0-9._:-]`."""
    if not REQUEST_ID.fullmatch(request_id):
        raise Malformed("request_id must be 1 to 64 characters of A-Z a-z 0-9 . _ : -", hint="use a UUID or a job id")
    return request_id


def tenant_of(line: str) -> str:
    """The first two components: whose queue a request stands in."""
    return "/".join(line.split("/", 2)[:2])


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks: `uri:<URI SAN>`, `spki:sha256:<hex>` or `oidc:<issuer>#<subject>`; never a common name."""

    id: str
    certificate_sha256: bytes  # empty for a token
    not_after: int  # Unix seconds
    issuer: str = ""  # of a token
    subject: str = ""
    claims: tuple[tuple[str, str], ...] = ()  # of a token, in Fulcio's vocabulary, sorted by name
    token_sha256: bytes = b""
    jti: str = ""
    signed_sha256: bytes = b""  # of what the token's signature covers

    @property
    def credential(self) -> bytes:
        """What tells one job from another: a token in whatever form its signature has, or the certificate; SHA-256."""
        return self.signed_sha256 or self.token_sha256 or self.certificate_sha256


@dataclass(frozen=True, slots=True)
class Artifact:
    """What the requester says about the artifact; recorded, never trusted."""

    name: str = ""
    version: str = ""
    size: int = 0
    media_type: str = ""


NO_ARTIFACT = Artifact()


class SignAsk(msgspec.Struct, frozen=True, gc=False):
    """One request to sign, from Sign, SignStream, SignContent (one digest) or SignBatch (N): digests end to end."""

    request_id: str
    line: str
    algorithm: DigestAlgorithm
    digests: bytes
    artifact: Artifact = NO_ARTIFACT
    names: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    grant_id: str = ""
    security_version: int = 0
    computed_by: str = "client"
    batch: bool = False  # asked by SignBatch
    count: int = 0  # how many digests; follows from them, whatever is given

    def __post_init__(self) -> None:
        """Counted once: every step asks."""
        msgspec.structs.force_setattr(self, "count", len(self.digests) // self.algorithm.size)
