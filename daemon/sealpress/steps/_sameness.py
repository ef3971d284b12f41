"""Whether two requests with one id are the same: the hash of all that was asked for (DESIGN 6).

Guarantees: other fields, another hash; digests are never copied. Does not: know who asks, or when.
"""

from __future__ import annotations

import hashlib
import struct
from functools import lru_cache

from sealpress.values import LINES_REMEMBERED, NO_ARTIFACT, Artifact, DigestAlgorithm, SignAsk


def sameness(ask: SignAsk, names: bytes) -> bytes:
    """SHA-256 over the length-prefixed fields that make two requests the same (DESIGN 6)."""
    if ask.count == 1 and ask.artifact is NO_ARTIFACT and not (names or ask.security_version or ask.grant_id):
        return hashlib.sha256(_begin_one(ask.line, ask.algorithm.label) + ask.digests + _END_ONE).digest()
    digests, grant_id = ask.digests, ask.grant_id.encode()
    begin = _begin(ask.line, ask.algorithm.label) + _LENGTH(len(digests))
    named = _named(ask) if names else _NOT_NAMED
    artifact = _NO_ARTIFACT_FIELDS if ask.artifact is NO_ARTIFACT else _artifact_fields(ask.artifact)
    end = _LAST(4, ask.security_version, len(grant_id))
    if len(digests) <= _ONE_DIGEST:
        return hashlib.sha256(begin + digests + named + artifact + end + grant_id).digest()
    digest = hashlib.sha256(begin)
    digest.update(digests)  # never copied
    digest.update(named + artifact + end + grant_id)
    return digest.digest()


@lru_cache(maxsize=LINES_REMEMBERED)
def _begin(line: str, algorithm: str) -> bytes:
    return _prefixed(line.encode()) + _prefixed(algorithm.encode())


@lru_cache(maxsize=LINES_REMEMBERED)
def _begin_one(line: str, algorithm: str) -> bytes:
    """Up to the only digest."""
    return _begin(line, algorithm) + _LENGTH(DigestAlgorithm.parse(algorithm).size)


def _named(ask: SignAsk) -> bytes:
    names = b"".join([_prefixed(name.encode()) for name in ask.names])
    return _prefixed(names) + _prefixed(struct.pack(f">{len(ask.sizes)}Q", *ask.sizes))


def _prefixed(field: bytes) -> bytes:
    return _LENGTH(len(field)) + field


def _artifact_fields(artifact: Artifact) -> bytes:
    texts = artifact.name.encode(), artifact.version.encode(), struct.pack(">Q", artifact.size)
    return b"".join(map(_prefixed, (*texts, artifact.media_type.encode())))


_LENGTH = struct.Struct(">Q").pack
_LAST = struct.Struct(">QIQ").pack  # security_version as a field, and the length of the last one
_ONE_DIGEST = 64  # bytes of the longest
_NOT_NAMED = bytes(16)  # two fields of no length
_NO_ARTIFACT_FIELDS = _artifact_fields(NO_ARTIFACT)
_END_ONE = _NOT_NAMED + _NO_ARTIFACT_FIELDS + _LAST(4, 0, 0)  # after a digest of which nothing more is said
