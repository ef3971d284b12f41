"""Requests out, answers in: nothing is handed to the caller that was not checked against the caller's own digests.

Guarantees: a proof or signature that leaves here verifies under the line's key; a compact batch expands to the bytes
that the server would have expanded. Does not: talk to the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from sealpress.client.errors import from_details
from sealpress.errors import Invalid, SealpressError
from sealpress.v1 import signing_pb2, types_pb2
from sealpress.values import Artifact, DigestAlgorithm, Format, Mode
from sealpress.verify.batch import CompactAnswer, verify_batch
from sealpress.verify.direct import verify_direct
from sealpress.verify.note import public_key
from sealpress.verify.policy import TrustPolicy, parse_policy
from sealpress.verify.proof import verify_proof


@dataclass(frozen=True, slots=True)
class LineInfo:
    """A line as the server lists it, ready to check answers with."""

    line: str
    mode: Mode
    format: Format
    key_class: str
    state: str
    key_id: bytes
    spki: bytes
    vkey: str
    algorithms: tuple[DigestAlgorithm, ...]
    log_name: str
    log_vkey: str
    policy: TrustPolicy | None

    @property
    def trust_text(self) -> str:
        """The C2SP tlog-policy file of a proof line."""
        return trust_text(self.log_vkey, self.vkey)


@dataclass(frozen=True, slots=True)
class Signed:
    """One signed digest: `proof` text (proof lines) or raw `signature` (direct lines)."""

    request_id: str
    event_id: str
    leaf_index: int
    proof: bytes
    signature: bytes
    opening: bytes

    @property
    def document(self) -> bytes:
        """What belongs beside the file."""
        return self.proof or self.signature


@dataclass(frozen=True, slots=True)
class SignedBatch:
    """N signed digests in order; `documents` are N proofs or N signatures."""

    request_id: str
    event_id: str
    first_leaf_index: int
    count: int
    tree_size: int
    documents: list[bytes]


def line_info(key: types_pb2.Key) -> LineInfo:
    """From the wire; Invalid ANSWER if it contradicts itself, or is of a kind that a later release may know."""
    try:
        mode, format_ = Mode(key.mode), Format(key.format)
        algorithms = tuple(DigestAlgorithm(number) for number in key.algorithms)
    except ValueError as error:
        hint = "the daemon may be of a later release than this client"
        raise Invalid(f"the server's listing of {key.line}: {error}", reason="ANSWER", hint=hint) from None
    policy = None
    if mode is Mode.PROOF:
        policy = parse_policy(trust_text(key.log_vkey, key.vkey).encode())
        if policy.key_id != key.key_id or policy.line != key.line:
            raise Invalid(f"the server's listing of {key.line} contradicts itself", reason="ANSWER")
    return LineInfo(
        key.line,
        mode,
        format_,
        getattr(key, "class"),
        key.state,
        key.key_id,
        key.spki,
        key.vkey,
        algorithms,
        key.log_name,
        key.log_vkey,
        policy,
    )


def trust_text(log_vkey: str, line_vkey: str) -> str:
    """The C2SP tlog-policy file of a proof line."""
    return f"log {log_vkey}\nwitness line {line_vkey}\nquorum line\n"


def wire_digest(algorithm: DigestAlgorithm, value: bytes) -> types_pb2.Digest:
    """A Digest."""
    return types_pb2.Digest(algorithm=types_pb2.DigestAlgorithm.Name(int(algorithm)), value=value)


def sign_request(
    request_id: str,
    line: str,
    algorithm: DigestAlgorithm,
    digest: bytes,
    artifact: Artifact,
    security_version: int,
    grant_id: str = "",
) -> signing_pb2.SignRequest:
    """A SignRequest."""
    return signing_pb2.SignRequest(
        request_id=request_id,
        key=line,
        digest=wire_digest(algorithm, digest),
        artifact=types_pb2.Artifact(
            name=artifact.name, version=artifact.version, size=artifact.size, media_type=artifact.media_type
        ),
        grant_id=grant_id,
        security_version=security_version,
    )


def batch_request(
    request_id: str,
    line: str,
    algorithm: DigestAlgorithm,
    digests: bytes,
    names: Sequence[str],
    sizes: Sequence[int],
    security_version: int,
    *,
    expand: bool,
    grant_id: str = "",
) -> signing_pb2.SignBatchRequest:
    """A SignBatchRequest."""
    return signing_pb2.SignBatchRequest(
        request_id=request_id,
        key=line,
        algorithm=types_pb2.DigestAlgorithm.Name(int(algorithm)),
        digests=digests,
        names=names,
        sizes=sizes,
        grant_id=grant_id,
        security_version=security_version,
        expand=expand,
    )


def check_answer(
    info: LineInfo,
    algorithm: DigestAlgorithm,
    digest: bytes,
    answer: signing_pb2.SignResponse,
    security_version: int = 0,
) -> Signed:
    """The answer to Sign, SignContent or one of SignStream; Invalid if it does not hold for this digest."""
    if info.policy is not None:
        verified = verify_proof(info.policy, algorithm, digest, answer.proof)
        _check_security_version(verified.security_version, security_version)
        if verified.index != answer.leaf_index:
            raise Invalid("the answer names another leaf than its proof", reason="ANSWER")
    else:
        verify_direct(public_key(info.spki), info.format, algorithm, digest, answer.signature)
    return Signed(answer.request_id, answer.event_id, answer.leaf_index, answer.proof, answer.signature, answer.opening)


def item_error(answer: signing_pb2.SignResponse) -> SealpressError | None:
    """The error of one item of SignStream, if it has one."""
    if not answer.HasField("error"):
        return None
    code = next((code for code in grpc.StatusCode if code.value[0] == answer.error.code), grpc.StatusCode.INTERNAL)
    return from_details(code, answer.error.message, answer.error.details) or Invalid(answer.error.message)


def _check_security_version(found: int, asked: int) -> None:
    if found != asked:
        raise Invalid(f"signed under security version {found}, {asked} was asked for", reason="ANSWER")


def check_batch(
    info: LineInfo,
    algorithm: DigestAlgorithm,
    digests: bytes,
    answer: signing_pb2.SignBatchResponse,
    security_version: int = 0,
) -> SignedBatch:
    """The answer to SignBatch, compact or expanded; Invalid if one item does not hold."""
    count = len(digests) // algorithm.size
    if answer.count != count:
        raise Invalid(f"{count} digests were sent, {answer.count} were answered", reason="ANSWER")
    if info.policy is not None:
        documents = _check_proofs(info.policy, algorithm, digests, answer)
        _check_security_version(int.from_bytes(answer.opening[1:5], "big"), security_version)
    else:
        documents = list(answer.signatures)
        if len(documents) != count:
            raise Invalid("the answer lacks signatures", reason="ANSWER")
        public = public_key(info.spki)
        for position, signature in enumerate(documents):
            item = digests[position * algorithm.size : (position + 1) * algorithm.size]
            verify_direct(public, info.format, algorithm, item, signature)
    return SignedBatch(answer.request_id, answer.event_id, answer.first_leaf_index, count, answer.tree_size, documents)


def _check_proofs(
    policy: TrustPolicy, algorithm: DigestAlgorithm, digests: bytes, answer: signing_pb2.SignBatchResponse
) -> list[bytes]:
    proofs = verify_batch(policy, algorithm, digests, compact(answer)).proofs()
    if answer.proofs and list(answer.proofs) != proofs:
        raise Invalid("the expanded proofs are not those of the compact answer", reason="ANSWER")
    return proofs


def compact(answer: signing_pb2.SignBatchResponse) -> CompactAnswer:
    """What the proofs of a batch are made from; not verified."""
    return CompactAnswer(
        answer.first_leaf_index,
        answer.tree_size,
        answer.opening,
        answer.salt_seed,
        answer.left,
        answer.right,
        answer.checkpoint,
    )
