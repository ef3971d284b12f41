"""What is asked of a token to see whether it works, and whether it works right.

Guarantees: the probe key signs what begins with CONTEXT (and for `sealpress hsm check` its text), and nothing that
begins so is signed by another key; each answer is verified. Does not: send it (slot.py), or leave the signer.
"""

from __future__ import annotations

from collections.abc import Sequence

from sealpress.hsm import messages as m
from sealpress.hsm.nonces import RecentNonces
from sealpress.hsm.signatures import Cosigner, WrongSignature
from sealpress.ports import Clock

CONTEXT = b"sealpress/probe\n"
NAME = "[probe]"  # no key of the configuration is called so: ids are bare or quoted, never with brackets


class Probe:
    """Of one slot."""

    def __init__(self, spki: bytes, clock: Clock, nonces: RecentNonces) -> None:
        """`spki` of the key meant for it, or empty: the token is only asked how it is."""
        self._key = Cosigner(spki) if spki else None
        self._spki = spki
        self._clock = clock
        self._nonces = nonces
        self._count = 0

    @property
    def signs(self) -> bool:
        """Whether there is a key for it."""
        return self._key is not None

    def job(self) -> tuple[m.WorkerJob, bytes]:
        """The next operation, and the message that its signature is over: never the same one twice."""
        assert self._key is not None
        self._count += 1
        message = CONTEXT + self._clock.now_ns().to_bytes(8) + self._count.to_bytes(8)
        return self._key.job(NAME, message), message

    def wrong(self, message: bytes, results: Sequence[m.WorkerResult]) -> str:
        """Why this is no good answer; empty if it is one."""
        assert self._key is not None
        if len(results) != 1 or results[0].rv or not results[0].tried:
            return f"CKR_{results[0].rv:#x}" if results else "CKR_NONE"
        if self._nonces.repeated(self._spki, self._key.job(NAME, message), results[0].signature):
            return "REPEATED_NONCE"
        try:
            self._key.finish(message, results[0].signature)
        except WrongSignature:
            return "WRONG_SIGNATURE"
        return ""
