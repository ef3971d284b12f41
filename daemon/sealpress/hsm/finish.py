"""From a worker's answer to what may leave the signer: verified here, outside the process that made it (DESIGN L5).

Guarantees: a signature that does not verify under the pinned public key, or that shares its ECDSA nonce with another,
is thrown away. Does not: talk to workers, or judge slots.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sealpress.hsm import work as w
from sealpress.hsm.keytable import GuardLog
from sealpress.hsm.nonces import RecentNonces
from sealpress.hsm.signatures import WrongSignature
from sealpress.hsm.turns import Answer, SlotLost
from sealpress.verify import note

WRONG_SIGNATURE = "WRONG_SIGNATURE"
REPEATED_NONCE = "REPEATED_NONCE"
LIES = frozenset({WRONG_SIGNATURE, REPEATED_NONCE})  # the slot that answered so is quarantined


class Signed(NamedTuple):
    """What became of one token operation: a signature or a reason."""

    signature: bytes
    rv: int
    latency_us: int
    slot: str
    reason: str


def finish(
    key_id: bytes,
    jobs: Sequence[w.WorkerJob],
    answer: Answer,
    verify: Sequence[Callable[[bytes], bytes]],
    nonces: RecentNonces,
) -> list[Signed]:
    """Verify each answer with the public key, outside the process that made it; any thread."""
    where = f"{answer.slot}#{answer.number}"
    signed = []
    for job, result, verified in zip(jobs, answer.results, verify, strict=True):
        signature, reason = b"", ""
        if result.rv or not result.tried:
            reason = "OUTCOME_UNKNOWN" if result.tried else "SLOT_DOWN"
        elif nonces.repeated(key_id, job, result.signature):
            reason = REPEATED_NONCE
        else:
            try:
                signature = verified(result.signature)
            except WrongSignature:
                reason = WRONG_SIGNATURE
        signed.append(Signed(signature, result.rv, result.elapsed_ns // 1_000, where, reason))
    return signed


def unsigned(lost: SlotLost, slot: str) -> Signed:
    """There is no answer."""
    reason = "OUTCOME_UNKNOWN" if lost.unknown else "SLOT_FULL" if lost.full else "SLOT_DOWN"
    return Signed(b"", 0, 0, slot, reason)


def sign_log(log: GuardLog, text: bytes) -> bytes:
    """The log key's line under the text of a head; InvalidSignature, and no line, where it was computed wrongly.

    L5 is about tokens, and this key is a file of this very process. But Ed25519 signs by key and text alone:
    a faulty one gives the key away to whoever sees it beside the right one. Tokens and disk work meanwhile.
    """
    signature = log.private.sign(text)
    log.public.verify(signature, text)
    return note.signature_line(log.key.name, log.key.key_id, signature)
