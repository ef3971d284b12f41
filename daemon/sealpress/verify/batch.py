"""The compact answer of SignBatch, judged as a whole: N leaves of one request under one head.

Guarantees: what `proofs` gives are the texts that the server would have expanded, byte for byte, each of which
`verify_proof` accepts. Does not: trust a digest or an index of the answer beyond what folds to the signed root.
"""

from __future__ import annotations

from dataclasses import dataclass

from sealpress.core.leaf import LeafSpec, leaf_hashes
from sealpress.core.merkle import Range
from sealpress.core.proof import Note, parse_note, write_proofs
from sealpress.errors import CoreError, Invalid
from sealpress.values import DigestAlgorithm, LeafKind
from sealpress.verify.policy import TrustPolicy
from sealpress.verify.proof import check_age, verify_head

OPENING_SHARED_SIZE = 45


@dataclass(frozen=True, slots=True)
class CompactAnswer:
    """What the server says: opening without salt, seed of the salts, range proof, signed checkpoint."""

    first: int
    tree_size: int
    opening: bytes
    salt_seed: bytes
    left: bytes
    right: bytes
    checkpoint: bytes


@dataclass(frozen=True, slots=True)
class VerifiedBatch:
    """A batch that holds. Times are Unix seconds."""

    answer: CompactAnswer
    range: Range
    sealed_time: int
    leaf_time: int

    def proofs(self) -> list[bytes]:
        """The `tlog-proof` text of each item, in order."""
        return write_proofs(self.range, self.answer.opening, self.answer.salt_seed, self.answer.checkpoint)


def verify_batch(
    policy: TrustPolicy, algorithm: DigestAlgorithm, digests: bytes, answer: CompactAnswer
) -> VerifiedBatch:
    """Accept the answer for these digests (end to end), or raise Invalid with the reasons of `verify_proof`."""
    opening = answer.opening
    if len(opening) != OPENING_SHARED_SIZE or len(answer.salt_seed) != 32:
        raise Invalid("the answer's opening or seed has a wrong length", reason="ENCODING")
    if opening[0] != algorithm or not digests or len(digests) % algorithm.size:
        raise Invalid(f"the answer is not over {algorithm.label} digests", reason="ALGORITHM")
    leaf_time = int.from_bytes(opening[5:13], "big")
    spec = LeafSpec(
        LeafKind.PROOF,
        algorithm,
        policy.key_id,
        policy.scope,
        security_version=int.from_bytes(opening[1:5], "big"),
        time=leaf_time,
        record=opening[13:45],
    )
    hashes = leaf_hashes(spec, answer.salt_seed, digests, len(digests) // algorithm.size)
    note = _note(answer)
    try:
        found = Range(hashes, answer.first, answer.tree_size, answer.left, answer.right, note.root)
    except CoreError:
        raise Invalid("these digests are not what was signed", reason="INCLUSION") from None
    sealed = verify_head(policy, note)
    check_age(leaf_time, sealed)
    return VerifiedBatch(answer, found, sealed, leaf_time)


def _note(answer: CompactAnswer) -> Note:
    try:
        note = parse_note(answer.checkpoint)
    except (CoreError, ValueError):
        raise Invalid("the checkpoint is not in its one canonical encoding", reason="ENCODING") from None
    if note.size != answer.tree_size:
        raise Invalid("the checkpoint is not of the size that the answer names", reason="INCLUSION")
    return note
