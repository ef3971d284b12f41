"""Has a token used one ECDSA nonce for two different messages? Whoever sees both signatures has the key.

Guarantees: among the last `most` signatures of all keys together an `r` that comes back for another message is seen;
the same message signed twice is no alarm (RFC 6979 tokens give the same signature). Does not: verify, or look back
further: a repeat after that is not seen. Any thread may call.
"""

from __future__ import annotations

import threading
from array import array
from hashlib import sha256

from sealpress.hsm.work import WorkerJob

RECENT = 65_536  # 3 MiB
HASH_BYTES = 16
PAIR_BYTES = 2 * HASH_BYTES
_ECDSA = range(0x1041, 0x104B)  # CKM_ECDSA and those that hash first


class RecentNonces:
    """The `r` of recent signatures, each with what it signed; 16 bytes of hash for either.

    A ring that is filled from the start, so that a signer does not grow while it signs its first thousands. Signatures
    are numbered; a chain leads from the newest of a bucket to older ones, and ends where the ring was written anew.
    """

    def __init__(self, most: int = RECENT) -> None:
        """Empty."""
        self._most = self._count = most  # numbers begin behind the ring's length: none up to it was given
        self._pairs = bytearray(b"\xff") * (PAIR_BYTES * most)
        self._newest = array("Q", [0]) * most  # of each bucket
        self._older = array("Q", [0]) * most  # than each in the ring, in its bucket
        self._lock = threading.Lock()

    def repeated(self, key_id: bytes, job: WorkerJob, raw: bytes) -> bool:
        """Whether this signature shares its `r` with one of the same key over something else; it is remembered."""
        if job.mechanism not in _ECDSA or not raw:
            return False
        r = sha256(key_id + raw[: len(raw) // 2]).digest()[:HASH_BYTES]
        signed = sha256(job.data).digest()[:HASH_BYTES]
        bucket = hash(r) % self._most
        with self._lock:
            before = self._signed(r, bucket) or signed
            self._count += 1
            place = self._count % self._most
            self._pairs[place * PAIR_BYTES : (place + 1) * PAIR_BYTES] = r + before
            self._older[place] = self._newest[bucket]
            self._newest[bucket] = self._count
        return before != signed

    def _signed(self, r: bytes, bucket: int) -> bytes | None:
        """What was signed with this one; None if nothing that is still in the ring."""
        number = self._newest[bucket]
        while number > self._count - self._most:
            at = number % self._most * PAIR_BYTES
            if self._pairs.startswith(r, at):
                return bytes(self._pairs[at + HASH_BYTES : at + PAIR_BYTES])
            number = self._older[number % self._most]
        return None
