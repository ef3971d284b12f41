"""The judge: does this proof say that this line signed this digest, in time and in the log?

Rules, all of them (DESIGN 3.3): the text is the one encoding of what it says; its origin is trusted; the leaf, built
here from the trusted key, its log name and line, the opening and the caller's own digest, folds to the root; the log
key and the line key signed that root; leaf time <= T <= leaf time + 300 s; limits and quorum hold.

Guarantees: returns only for a good proof; Invalid with a stable reason otherwise. Does not: read files, hash artifacts,
use the network, or take a leaf, key or line from the proof.
"""

from __future__ import annotations

from dataclasses import dataclass

from sealpress.core.leaf import leaf_hash_opened
from sealpress.core.merkle import verify_inclusion
from sealpress.core.proof import Note, Proof, parse_proof
from sealpress.errors import CoreError, Invalid
from sealpress.values import DigestAlgorithm, LeafKind
from sealpress.verify.limits import Limits
from sealpress.verify.note import LogKey, verify_line, verify_log
from sealpress.verify.policy import LINE, TrustPolicy

LEAF_AGE_S_MAX = 300


@dataclass(frozen=True, slots=True)
class Verified:
    """What a good proof says. Times are Unix seconds."""

    line: str
    log_name: str
    origin: str
    index: int
    tree_size: int
    leaf_time: int
    sealed_time: int
    security_version: int
    key_id: bytes


def verify_proof(
    policy: TrustPolicy,
    algorithm: DigestAlgorithm,
    digest: bytes,
    text: bytes,
    limits: Limits | None = None,
    age_s_max: int = LEAF_AGE_S_MAX,
) -> Verified:
    """Accept `text` for `digest` under `policy`, or raise Invalid.

    Reasons: ENCODING, ORIGIN, ALGORITHM, INCLUSION, LOG_SIGNATURE, LINE_SIGNATURE, QUORUM, TIME, NOT_AFTER, VOID,
    SECURITY_VERSION. `age_s_max` exists so that tests can state the rule; a verifier leaves it alone.
    """
    try:
        proof = parse_proof(text)
    except (CoreError, ValueError):
        raise Invalid("the proof is not in its one canonical encoding", reason="ENCODING") from None
    _trusted_log(policy, proof.note)
    _check_inclusion(policy, algorithm, digest, proof)
    sealed = verify_head(policy, proof.note)
    opening = proof.opening
    verified = Verified(
        line=policy.line,
        log_name=policy.log_name,
        origin=proof.note.origin,
        index=proof.index,
        tree_size=proof.note.size,
        leaf_time=int.from_bytes(opening[5:13], "big"),
        sealed_time=sealed,
        security_version=int.from_bytes(opening[1:5], "big"),
        key_id=policy.key_id,
    )
    check_age(verified.leaf_time, sealed, age_s_max)
    _check_limits(verified, limits)
    return verified


def verify_head(policy: TrustPolicy, note: Note) -> int:
    """The time at which the line sealed this head, signed by its log, the line and the quorum; Invalid otherwise."""
    log = _trusted_log(policy, note)
    signatures = _by_key(note)
    verify_log(log, note.text, _required(signatures, log.name, log.key_id, "LOG_SIGNATURE"))
    return _check_witnesses(policy, note, signatures)


def check_age(leaf_time: int, sealed: int, age_s_max: int = LEAF_AGE_S_MAX) -> None:
    """A leaf counts for 300 seconds: Invalid TIME if it was sealed before or after that."""
    if not leaf_time <= sealed <= leaf_time + age_s_max:
        raise Invalid(f"sealed at {sealed}, but its leaf is of {leaf_time} and counts for {age_s_max} s", reason="TIME")


def _trusted_log(policy: TrustPolicy, note: Note) -> LogKey:
    log = policy.logs.get(note.origin)
    if log is None:
        raise Invalid(f"a proof of the log {note.origin!r}, which this policy does not trust", reason="ORIGIN")
    return log


def _check_inclusion(policy: TrustPolicy, algorithm: DigestAlgorithm, digest: bytes, proof: Proof) -> None:
    if proof.opening[0] != algorithm or len(digest) != algorithm.size:
        raise Invalid(f"the proof is not over a {algorithm.label} digest", reason="ALGORITHM")
    leaf = leaf_hash_opened(LeafKind.PROOF, policy.key_id, policy.scope, proof.opening, digest)
    if not verify_inclusion(leaf, proof.index, proof.note.size, proof.hashes, proof.note.root):
        raise Invalid(
            "this artifact is not what was signed under this key, log and line",
            reason="INCLUSION",
            hint="the file changed, or the proof belongs to another file, line or log",
        )


def _by_key(note: Note) -> dict[tuple[str, bytes], bytes]:
    found: dict[tuple[str, bytes], bytes] = {}
    for line in note.lines:
        if (line.name, line.key_id) in found:
            raise Invalid(f"two signature lines of {line.name}", reason="ENCODING")
        found[line.name, line.key_id] = line.signature
    return found


def _required(signatures: dict[tuple[str, bytes], bytes], name: str, key_id: bytes, reason: str) -> bytes:
    signature = signatures.get((name, key_id))
    if signature is None:
        raise Invalid(f"the checkpoint bears no signature of {name}", reason=reason)
    return signature


def _check_witnesses(policy: TrustPolicy, note: Note, signatures: dict[tuple[str, bytes], bytes]) -> int:
    """The time of the line's signature. A known key that stands in the note must verify; strangers are ignored."""
    line = policy.line_key
    sealed = verify_line(line, note.text, _required(signatures, line.name, line.key_id, "LINE_SIGNATURE"))
    signed = {LINE}
    for name, key in policy.witnesses.items():
        signature = signatures.get((key.name, key.key_id))
        if name != LINE and signature is not None:
            verify_line(key, note.text, signature)
            signed.add(name)
    if not policy.satisfied(signed):
        raise Invalid("too few of the trusted witnesses cosigned the checkpoint", reason="QUORUM")
    return sealed


def _check_limits(verified: Verified, limits: Limits | None) -> None:
    if limits is None:
        return
    if limits.not_after_s is not None and verified.sealed_time > limits.not_after_s:
        raise Invalid("sealed after the line's end (not_after)", reason="NOT_AFTER")
    if any(void.first <= verified.index <= void.last for void in limits.void):
        raise Invalid(f"leaf {verified.index} was declared void", reason="VOID")
    if verified.security_version < limits.min_security_version:
        raise Invalid(
            f"security version {verified.security_version} is below {limits.min_security_version}",
            reason="SECURITY_VERSION",
        )
