"""Has a token used one ECDSA nonce for two different messages? Whoever sees both signatures has the key.

Guarantees: among the last `most` signatures of all keys together an `r` that comes back for another message is seen;
the same message signed twice is no alarm (RFC 6979 tokens give the same signature). Does not: verify, or look back
further: a repeat after that is not seen. Any thread may call.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from hashlib import sha256

from sealpress.hsm.messages import WorkerJob

RECENT = 65_536  # some 12 MB
_ECDSA = range(0x1041, 0x104B)  # CKM_ECDSA and those that hash first


class RecentNonces:
    """The `r` of recent signatures, each with what it signed; 16 bytes of hash for either."""

    def __init__(self, most: int = RECENT) -> None:
        """Empty."""
        self._most = most
        self._seen: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def repeated(self, key_id: bytes, job: WorkerJob, raw: bytes) -> bool:
        """Whether this signature shares its `r` with one of the same key over something else; it is remembered."""
        if job.mechanism not in _ECDSA or not raw:
            return False
        r = sha256(key_id + raw[: len(raw) // 2]).digest()[:16]
        signed = sha256(job.data).digest()[:16]
        with self._lock:
            before = self._seen.pop(r, signed)
            self._seen[r] = before
            if len(self._seen) > self._most:
                self._seen.popitem(last=False)
        return before != signed
