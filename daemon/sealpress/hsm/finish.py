"""From a worker's answer to what may leave the signer: verified here, outside the process that made it (DESIGN L5).

Guarantees: a signature that does not verify under the pinned public key is told to the signer's log and thrown away.
Does not: talk to workers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sealpress.hsm import messages as m
from sealpress.hsm.keytable import GuardLog
from sealpress.hsm.signatures import WrongSignature
from sealpress.hsm.slot import SlotLost
from sealpress.verify import note

_log = logging.getLogger(__name__)


class Signed(NamedTuple):
    """What became of one token operation: a signature or a reason."""

    signature: bytes
    rv: int
    latency_us: int
    slot: str
    reason: str


def finish(
    results: Sequence[m.WorkerResult | SlotLost], slot: str, verify: Sequence[Callable[[bytes], bytes]]
) -> list[Signed]:
    """Verify each answer with the public key, outside the process that made it and off the loop."""
    signed = []
    for result, verified in zip(results, verify, strict=True):
        if isinstance(result, SlotLost):
            signed.append(Signed(b"", 0, 0, slot, "OUTCOME_UNKNOWN" if result.unknown else "SLOT_DOWN"))
            continue
        signature, reason = b"", ""
        if result.rv or not result.tried:
            reason = "OUTCOME_UNKNOWN" if result.tried else "SLOT_DOWN"
        else:
            try:
                signature = verified(result.signature)
            except WrongSignature:
                reason = "WRONG_SIGNATURE"
                _log.error("slot %s: a signature does not verify under the pinned key; it is not released", slot)
        signed.append(Signed(signature, result.rv, result.elapsed_ns // 1_000, slot, reason))
    return signed


def sign_log(log: GuardLog, text: bytes) -> bytes:
    """The log key's line under the text of a head."""
    signature = log.private.sign(text)
    log.public.verify(signature, text)
    return note.signature_line(log.key.name, log.key.key_id, signature)
