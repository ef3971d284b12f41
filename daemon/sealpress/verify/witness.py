"""Cosignatures of witnesses under a head (C2SP tlog-cosignature, Ed25519): read from signature lines, and counted.

Guarantees: a witness counts only by its own name, key id and signature over exactly this text, and by a time that is
not ahead of the clock by more than allowed; lines of strangers are ignored, and no witness counts twice. Does not: ask
a witness, or judge how old a cosignature is: it says what the witness has seen by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sealpress.core.proof import parse_note
from sealpress.errors import CoreError, Invalid
from sealpress.verify.note import LineKey, signature_line, verify_line

SIGNATURE_SIZE = 64
LINES_MAX = 16  # looked at in one answer
_DASH = "\u2014 ".encode()


@dataclass(frozen=True, slots=True)
class Cosignature:
    """Who (4 bytes of key id), when (Unix seconds), and the Ed25519 signature over time and text."""

    key_id: bytes
    time: int
    signature: bytes


def cosignature_line(key: LineKey, cosignature: Cosignature) -> bytes:
    """The signature line as it stands below a checkpoint."""
    return signature_line(key.name, key.key_id, cosignature.time.to_bytes(8) + cosignature.signature)


def read_cosignatures(text: bytes, lines: bytes, key: LineKey) -> list[Cosignature]:
    """What an answer holds of this key under a checkpoint's text; other lines are ignored. Nothing is verified yet."""
    found = []
    for line in lines.splitlines(keepends=True)[:LINES_MAX]:
        if not line.startswith(_DASH):
            continue
        try:
            (one,) = parse_note(text + b"\n" + line).lines
        except (CoreError, ValueError):
            continue
        if (one.name, one.key_id) == (key.name, key.key_id) and len(one.signature) == 8 + SIGNATURE_SIZE:
            found.append(Cosignature(one.key_id, int.from_bytes(one.signature[:8]), one.signature[8:]))
    return found


def check_cosignature(text: bytes, cosignature: Cosignature, key: LineKey, now: int, ahead_s_max: int) -> None:
    """Invalid COSIGNATURE unless this witness signed this text, at a time that is set and not ahead of ours."""
    if not 0 < cosignature.time <= now + ahead_s_max:
        raise Invalid(
            f"{key.name} cosigned at {cosignature.time}, our clock says {now}",
            reason="COSIGNATURE",
            hint="compare the clocks of both machines",
        )
    try:
        verify_line(key, text, cosignature.time.to_bytes(8) + cosignature.signature)
    except Invalid:
        raise Invalid(f"the cosignature of {key.name} is wrong", reason="COSIGNATURE") from None


def cosigners(
    text: bytes, cosignatures: Iterable[Cosignature], witnesses: Mapping[str, LineKey], now: int, ahead_s_max: int
) -> set[str]:
    """The names of the witnesses who signed this text; Invalid COSIGNATURE if a known key's signature is wrong."""
    by_key_id = {key.key_id: (name, key) for name, key in witnesses.items()}
    names = set()
    for one in cosignatures:
        name, key = by_key_id.get(one.key_id, ("", None))
        if key is not None:
            check_cosignature(text, one, key, now, ahead_s_max)
            names.add(name)
    return names
