"""Messages to values and back: every field of a request is checked here, once.

Guarantees: a SignAsk that leaves here has a well-formed id and line, digests of the right length, and strings and
counts within the limits; each refusal says which field, what is wrong and what to do. Does not: know rights or keys.
"""

from __future__ import annotations

from collections.abc import Sequence

from sealpress.config import Limits
from sealpress.core.answer import Answers
from sealpress.errors import Malformed, Refusal
from sealpress.rpc import status
from sealpress.steps import _answers
from sealpress.steps._ids import ulid_text
from sealpress.steps._request import Settled
from sealpress.steps._ticket import Line
from sealpress.v1 import signing_pb2, types_pb2
from sealpress.values import NO_ARTIFACT, Artifact, DigestAlgorithm, SignAsk, check_line, check_request_id

_ALGORITHMS = {int(algorithm): algorithm for algorithm in DigestAlgorithm}
INT_MAX = 2**63 - 1  # sizes: what the records hold


def sign_ask(request: signing_pb2.SignRequest, limits: Limits) -> SignAsk:
    """A Sign or SignStream request."""
    digest = request.digest
    algorithm, value = algorithm_of(digest.algorithm), digest.value
    if len(value) != algorithm.size:
        raise _digest_length(f"digest.value has {len(value)} bytes", algorithm)
    return _ask(request, algorithm, value, limits, "client")


def content_ask(
    header: signing_pb2.SignRequest, algorithm: DigestAlgorithm, digest: bytes, size: int, limits: Limits
) -> SignAsk:
    """A SignContent request whose content was hashed here."""
    expected = header.digest.value
    if expected and expected != digest:
        raise Malformed(
            "the content does not have the digest of the header",
            reason="DIGEST_MISMATCH",
            hint="the content was changed on its way, or the digest is of something else",
        )
    if header.artifact.size and header.artifact.size != size:
        raise Malformed(f"artifact.size says {header.artifact.size}, the content has {size} bytes")
    return _ask(header, algorithm, digest, limits, "daemon")


def content_algorithm(header: signing_pb2.SignRequest, limits: Limits) -> DigestAlgorithm:
    """How SignContent is to hash, of a header with which its content can be asked for."""
    algorithm = algorithm_of(header.digest.algorithm)
    if header.digest.value and len(header.digest.value) != algorithm.size:
        raise _digest_length(f"digest.value has {len(header.digest.value)} bytes", algorithm)
    _ask(header, algorithm, header.digest.value, limits, "daemon")
    return algorithm


def batch_ask(request: signing_pb2.SignBatchRequest, limits: Limits) -> SignAsk:
    """A SignBatch request: N digests end to end."""
    algorithm = algorithm_of(request.algorithm)
    digests = request.digests
    count, rest = divmod(len(digests), algorithm.size)
    if rest or not count:
        raise _digest_length(f"digests has {len(digests)} bytes", algorithm)
    if count > limits.digests_per_request_max:
        raise _too_large(f"{count} digests", limits.digests_per_request_max, "send several requests")
    if request.expand and count > limits.expand_items_max:
        hint = "send several requests, or leave expand out: our client library expands"
        raise _too_large(f"{count} digests with expand", limits.expand_items_max, hint)
    names, sizes = _columns(request.names, request.sizes, count, limits)
    _text(request.grant_id, "grant_id", limits)
    return SignAsk(
        request_id=check_request_id(_text(request.request_id, "request_id", limits)),
        line=check_line(_text(request.key, "key", limits)),
        algorithm=algorithm,
        digests=digests,
        names=names,
        sizes=sizes,
        grant_id=request.grant_id,
        security_version=request.security_version,
        batch=True,
    )


def sign_response(settled: Settled, answers: Answers) -> bytes:
    """Sign's answer, a SignResponse, as it goes over the wire; proofs are written there by the core."""
    act = settled.act
    if not settled.signatures:
        return answers.proof(
            settled.log.tree, settled.tree_size, settled.checkpoint, act.request_id, act.event_id, act.first_leaf,
            act.spec, act.salt_seed,
        )  # fmt: skip
    event = act.event
    response = signing_pb2.SignResponse(
        request_id=event.request_id,
        event_id=ulid_text(event.event_id),
        leaf_index=act.first_leaf,
        signature=settled.signatures[0],
        opening=act.item_opening(0),
    )
    return response.SerializeToString()


def error_response(request_id: str, refusal: Refusal, limits: Limits) -> bytes:
    """The answer about an item of a SignStream that failed, as it goes over the wire."""
    error = status.to_status(refusal)
    return signing_pb2.SignResponse(request_id=request_id[: limits.name_bytes_max], error=error).SerializeToString()


def batch_response(request_id: str, settled: Settled, proofs: Sequence[bytes]) -> signing_pb2.SignBatchResponse:
    """SignBatch's answer."""
    answer, act = _answers.batch(settled), settled.act
    return signing_pb2.SignBatchResponse(
        request_id=request_id,
        event_id=ulid_text(act.event_id),
        first_leaf_index=act.first_leaf,
        count=act.count,
        tree_size=settled.tree_size,
        opening=answer.opening,
        salt_seed=act.salt_seed,
        left=answer.left,
        right=answer.right,
        checkpoint=settled.checkpoint,
        proofs=proofs,
        signatures=settled.signatures,
    )


def key_message(line: Line, class_: str, algorithms: frozenset[DigestAlgorithm], state: str) -> types_pb2.Key:
    """A line as its users see it; `state` is that of its key."""
    return types_pb2.Key(
        line=line.name,
        key_id=line.key_id,
        spki=line.spki,
        vkey=line.vkey,
        mode=line.section.mode,
        **{"class": class_},
        state=state,
        format=line.section.format,
        algorithms=[types_pb2.DigestAlgorithm.Name(algorithm) for algorithm in sorted(algorithms)],
        log_name=line.log.log.name,
        log_vkey=line.log.log_vkey,
    )


def line_name(name: str, limits: Limits) -> str:
    """A `key` field alone."""
    return check_line(_text(name, "key", limits))


def algorithm_of(number: int) -> DigestAlgorithm:
    """A DigestAlgorithm field."""
    try:
        return _ALGORITHMS[number]
    except KeyError:
        raise Malformed(
            f"digest algorithm {number} is not known" if number else "the digest algorithm is missing",
            hint="use DIGEST_ALGORITHM_SHA256, _SHA384 or _SHA512",
        ) from None


def _ask(
    request: signing_pb2.SignRequest, algorithm: DigestAlgorithm, digest: bytes, limits: Limits, computed_by: str
) -> SignAsk:
    artifact = NO_ARTIFACT
    if request.HasField("artifact"):
        given = request.artifact
        artifact = Artifact(
            _text(given.name, "artifact.name", limits),
            _text(given.version, "artifact.version", limits),
            _size(given.size, "artifact.size"),
            _text(given.media_type, "artifact.media_type", limits),
        )
    return SignAsk(
        request_id=check_request_id(request.request_id),
        line=check_line(_text(request.key, "key", limits)),
        algorithm=algorithm,
        digests=digest,
        artifact=artifact,
        grant_id=_text(request.grant_id, "grant_id", limits),
        security_version=request.security_version,
        computed_by=computed_by,
    )


def _columns(
    names: Sequence[str], sizes: Sequence[int], count: int, limits: Limits
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names and sizes: both empty, or both N."""
    for field, given in (("names", len(names)), ("sizes", len(sizes))):
        if given not in (0, count):
            raise Malformed(f"{field} has {given} entries, digests has {count}", hint=f"send {count} or none")
    if not names and not sizes:
        return (), ()
    for name in names:
        _text(name, "names", limits)
    for size in sizes:
        _size(size, "sizes")
    return tuple(names) or ("",) * count, tuple(sizes) or (0,) * count


def _text(value: str, field: str, limits: Limits) -> str:
    """A caller's string: bounded; protobuf made sure that it is UTF-8."""
    # No character has more than four bytes: short ones need no counting.
    if 4 * len(value) > limits.name_bytes_max and len(value.encode()) > limits.name_bytes_max:
        raise _too_large(f"{field} with {len(value.encode())} bytes", limits.name_bytes_max, "shorten it")
    return value


def _size(value: int, field: str) -> int:
    if value > INT_MAX:
        raise Malformed(f"{field} {value} is larger than {INT_MAX}")
    return value


def _digest_length(what: str, algorithm: DigestAlgorithm) -> Malformed:
    return Malformed(
        f"{what}; {algorithm.label} digests have {algorithm.size} each",
        reason="DIGEST_LENGTH",
        hint="send raw digest bytes, not hex or base64, and name the algorithm that made them",
    )


def _too_large(what: str, limit: int, hint: str) -> Malformed:
    return Malformed(f"{what} is more than {limit}", reason="TOO_LARGE", hint=hint)
