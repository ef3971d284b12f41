"""Decides whether a leaf may have its direct signature, and sees to it that it is released once.

Guarantees: the leaf that the opening and the digest make, under this key and scope, stands in an accepted head at this
index; it is fresh; no second signature of an index is released by this process, and none for an index that an earlier
one may have served. Does not: sign, or keep time.
"""

from __future__ import annotations

from dataclasses import dataclass

from sealpress.core import leaf
from sealpress.core.merkle import verify_inclusion
from sealpress.errors import Conflict, CoreError, Malformed, OutcomeUnknown
from sealpress.hsm.heads import HeadLimits, check_time
from sealpress.hsm.messages import DirectAsk
from sealpress.values import DigestAlgorithm, LeafKind

_TIME = slice(5, 13)  # of an opening
_CHUNK_BITS = 12


@dataclass(frozen=True, slots=True)
class Opened:
    """A leaf that may be signed."""

    index: int
    algorithm: DigestAlgorithm
    digest: bytes
    time: int


def open_leaf(
    ask: DirectAsk, key_id: bytes, scope: bytes, size: int, root: bytes, now: int, limits: HeadLimits
) -> Opened:
    """Build the leaf and find it in the head of this size; refuse with a reason."""
    try:
        algorithm = DigestAlgorithm(ask.opening[0])
    except ValueError:
        raise Malformed("unknown digest algorithm in the opening", reason="DIGEST_LENGTH") from None
    if len(ask.digest) != algorithm.size:
        raise Malformed(f"a {algorithm.label} digest has {algorithm.size} bytes", reason="DIGEST_LENGTH")
    if len(ask.path) % 32:
        raise Malformed("an inclusion path is whole hashes", reason="BAD_REQUEST")
    time = int.from_bytes(ask.opening[_TIME])
    check_time(time, now, limits)
    try:
        hashed = leaf.leaf_hash_opened(LeafKind.DIRECT, key_id, scope, ask.opening, ask.digest)
        included = verify_inclusion(hashed, ask.index, size, ask.path, root)
    except CoreError:
        included = False
    if not included:
        raise Malformed("no such leaf in the accepted head", reason="NOT_IN_LOG")
    return Opened(ask.index, algorithm, ask.digest, time)


class Released:
    """Which leaf indices of a log have had their signature: one bit each, kept as long as a leaf is young enough."""

    def __init__(self, first: int) -> None:
        """Indices below `first` were there before this process: nobody knows what became of them."""
        self._first = first
        self._flying: set[int] = set()
        self._chunks: dict[int, bytearray] = {}
        self._newest: dict[int, int] = {}  # per chunk: the latest leaf time in it
        self._before = 0  # leaves of an earlier time may be forgotten

    def reserve(self, opened: Opened) -> None:
        """Before signing. OUTCOME_UNKNOWN, LEAF_TOO_OLD, IN_FLIGHT or ALREADY_SIGNED."""
        index = opened.index
        if opened.time < self._before:
            raise Malformed("the leaf was too old already; the clock has gone back since", reason="LEAF_TOO_OLD")
        if index < self._first:
            raise OutcomeUnknown("the leaf is older than this signer's start; ask again with a new request")
        if index in self._flying:
            raise Conflict("this leaf is being signed", reason="IN_FLIGHT")
        chunk = self._chunks.get(index >> _CHUNK_BITS)
        at = index & ((1 << _CHUNK_BITS) - 1)
        if chunk is not None and chunk[at >> 3] >> (at & 7) & 1:
            raise Conflict("this leaf has had its signature", reason="ALREADY_SIGNED")
        self._flying.add(index)

    def give_back(self, index: int) -> None:
        """Nothing was released."""
        self._flying.discard(index)

    def done(self, opened: Opened) -> None:
        """The signature leaves now."""
        self._flying.discard(opened.index)
        number, at = opened.index >> _CHUNK_BITS, opened.index & ((1 << _CHUNK_BITS) - 1)
        chunk = self._chunks.setdefault(number, bytearray(1 << _CHUNK_BITS - 3))
        chunk[at >> 3] |= 1 << (at & 7)
        self._newest[number] = max(self._newest.get(number, 0), opened.time)

    def forget(self, before: int) -> None:
        """Drop what is older than this time: such leaves are refused for their age, whatever the clock says later."""
        self._before = max(self._before, before)
        for number in [number for number, newest in self._newest.items() if newest < before]:
            del self._newest[number], self._chunks[number]
