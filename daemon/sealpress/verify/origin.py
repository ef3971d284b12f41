"""The statement of a key's birth: what the custodian saw on the token, signed by the new key itself (GR-03, GR-05).

It proves that whoever reported these attributes held the private key at that time, for that change. That the key was
born in hardware it does not prove: the token's own attestation or a witnessed ceremony does.

The proof in the record is `base64(statement).base64(signature)`: Ed25519, ECDSA (SHA-256 or SHA-384 by curve, DER,
low s), or RSA-PSS with SHA-256.

Guarantees: `parse(render(birth)) == birth`, and no other bytes give that birth. Does not: know which attributes are
demanded.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from sealpress.errors import Invalid
from sealpress.verify import note

TITLE = "sealpress key origin v1"
_FIELDS = ("change-id", "change-sha256", "key", "line", "spki-sha256", "attributes", "time", "operator")


@dataclass(frozen=True, slots=True)
class Birth:
    """What the statement says. `time` is Unix seconds."""

    change_id: str
    change_sha256: str
    key: str
    line: str
    spki_sha256: str
    attributes: tuple[tuple[str, bool], ...]  # by name
    time: int
    operator: str


def render(birth: Birth) -> bytes:
    """The bytes that the key signs."""
    attributes = " ".join(f"{name}={'true' if value else 'false'}" for name, value in sorted(birth.attributes))
    values = (birth.change_id, birth.change_sha256, birth.key, birth.line, birth.spki_sha256, attributes)
    lines = zip(_FIELDS, (*values, str(birth.time), birth.operator), strict=True)
    text = "\n".join([TITLE, *(f"{name}: {value}" for name, value in lines), ""])
    if text.count("\n") != len(_FIELDS) + 1 or not text.replace("\n", "").isprintable():
        raise _invalid("a field cannot stand in it")
    return text.encode()


def parse(raw: bytes) -> Birth:
    """The birth of a statement; Invalid ORIGIN_STATEMENT for any other bytes."""
    try:
        lines = raw.decode().split("\n")
        named = [line.partition(": ") for line in lines[1:-1]]
        if tuple(name for name, _, _ in named) != _FIELDS:
            raise ValueError
        values = [value for _, _, value in named]
        pairs = tuple((one.partition("=")[0], one.endswith("=true")) for one in values[5].split(" ") if one)
        change_id, change_sha256, key, line, spki_sha256, _, time, operator = values
        birth = Birth(change_id, change_sha256, key, line, spki_sha256, pairs, int(time), operator)
    except ValueError:
        raise _invalid("not a statement of this kind") from None
    if render(birth) != raw:
        raise _invalid("not its only spelling")
    return birth


def prove(statement: bytes, signature: bytes) -> str:
    """The text of the record."""
    return f"{base64.b64encode(statement).decode()}.{base64.b64encode(signature).decode()}"


def check(proof: str, spki: bytes) -> Birth:
    """The birth that this key signed; Invalid ORIGIN_… otherwise. The caller compares it with what was approved."""
    statement, _, signature = proof.partition(".")
    try:
        raw, signed = (base64.b64decode(part, validate=True) for part in (statement, signature))
    except (binascii.Error, ValueError):
        raise _invalid("the proof is not two base64 texts") from None
    birth = parse(raw)
    if birth.spki_sha256 != hashlib.sha256(spki).hexdigest():
        raise Invalid("the proof is of another key", reason="ORIGIN_KEY")
    if not note.signed_by(note.public_key(spki), raw, signed):
        raise Invalid("the key did not sign this statement", reason="ORIGIN_SIGNATURE")
    return birth


def _invalid(message: str) -> Invalid:
    return Invalid(f"key origin: {message}", reason="ORIGIN_STATEMENT", hint="`sealpress custodian generate` makes it")
