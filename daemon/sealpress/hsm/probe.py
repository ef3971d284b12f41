"""What is asked of a token to see whether it works, and whether it works right.

Guarantees: the probe key signs what begins with CONTEXT (and for `sealpress hsm check` its text), and nothing that
begins so is signed by another key; each answer is verified. Does not: send it (slot.py), or leave the signer.
"""

from __future__ import annotations

from collections.abc import Sequence

from sealpress.hsm import work as w
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

    def jobs(self, count: int) -> tuple[tuple[w.WorkerJob, ...], list[bytes]]:
        """The next operations, and the messages that their signatures are over: never the same one twice."""
        messages = [self._message() for _ in range(count)]
        return tuple([self._job(message) for message in messages]), messages

    def wrong(self, messages: Sequence[bytes], results: Sequence[w.WorkerResult]) -> str:
        """Why these are no good answers; empty if they are. A lie among them says more than an error."""
        if len(results) != len(messages):
            return "CKR_NONE"
        found = [self._wrong(message, result) for message, result in zip(messages, results, strict=True)]
        lies = [one for one in found if one and not one.startswith("CKR_")]
        return next(iter(lies), "") or next(filter(None, found), "")

    def _wrong(self, message: bytes, result: w.WorkerResult) -> str:
        assert self._key is not None
        if result.rv or not result.tried:
            return f"CKR_{result.rv:#x}"
        if self._nonces.repeated(self._spki, self._job(message), result.signature):
            return "REPEATED_NONCE"
        try:
            self._key.finish(message, result.signature)
        except WrongSignature:
            return "WRONG_SIGNATURE"
        return ""

    def _message(self) -> bytes:
        self._count += 1
        return CONTEXT + self._clock.now_ns().to_bytes(8) + self._count.to_bytes(8)

    def _job(self, message: bytes) -> w.WorkerJob:
        assert self._key is not None
        return self._key.job(NAME, message)
