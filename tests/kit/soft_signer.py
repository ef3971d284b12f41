"""A guard without a token: signs with keys in memory what a guard would, and holds the flow to the guard's contract.

Guarantees: a head grows from the one before it by its own path, what is sealed is the accepted head, each key is named
once, no stopped key signs, and no leaf twice. Who breaks that hears the guard's Refusal; `broken` has its reason, and a
governed node of the kit fails with it when it closes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec.structs import replace

from kit.clock import VirtualClock
from sealpress.core.merkle import Tree
from sealpress.errors import Conflict, Malformed, NotPermitted, Refusal, Unavailable
from sealpress.hsm.heads import HeadLimits, accept
from sealpress.hsm.leaves import DirectItem, Openings
from sealpress.hsm.mark import HeadMark
from sealpress.hsm.outcomes import DirectResult, Sealed, SealedLine
from sealpress.hsm.status import Mark, SignerStatus
from sealpress.tlog.record import NANOSECONDS
from sealpress.verify import note
from sealpress.verify.evidence import Evidence
from sealpress.verify.witness import Cosignature

ANY_AGE = HeadLimits(
    1 << 60, 1 << 60, 1 << 60
)  # virtual time leaps; what becomes of old leaves the guard's own tests say


class SoftSigner:
    """Signs what a guard would, with keys in memory; counts, can be held, and remembers what was stopped."""

    def __init__(self, clock: VirtualClock) -> None:
        """No keys yet."""
        self.clock = clock
        self.keys: dict[str, tuple[Ed25519PrivateKey, str]] = {}  # by id: key, cosigner's name
        self.logs: dict[str, Ed25519PrivateKey] = {}
        self.heads: dict[str, HeadMark] = {}
        self.released: dict[str, set[int]] = {}  # leaves that a direct key has signed
        self.broken: list[str] = []
        self.stopped: set[str] = set()
        self.barred: dict[str, str] = {}  # keys that are not ready, and why
        self.signed: dict[str, int] = {}  # heads by key
        self.told: list[str] = []
        self.gate = asyncio.Event()  # cleared: no seal comes back
        self.gate.set()

    def ready(self, key: str) -> bool:
        """As the real link says it."""
        return key in self.keys and key not in self.stopped and key not in self.barred

    def why(self, key: str) -> str:
        """As the real link says it."""
        return self.barred.get(key, "")

    async def advance(
        self,
        origin: str,
        size: int,
        root: bytes,
        consistency: bytes,
        newest_leaf_time: int,
        opened: Openings | None = None,
    ) -> None:
        """The mark. Leaves that are opened are believed: where they lead is not asked."""
        mark = self.heads[origin]
        if opened is not None:
            self.heads[origin] = replace(mark, size=size, root=root, time=newest_leaf_time)
            return
        try:
            self.heads[origin] = accept(mark, size, root, consistency, newest_leaf_time, 0, ANY_AGE)
        except Malformed as error:
            raise self._breach(error) from None

    def known(self, origin: str, tree: Tree) -> None:
        """The signer has accepted this log's head before."""
        mark = HeadMark(origin)
        if tree.size:
            mark = accept(mark, tree.size, tree.root(), tree.growth(0, tree.size), 0, 0, ANY_AGE)
        self.heads[origin] = mark

    def _breach(self, error: Refusal) -> Refusal:
        self.broken.append(error.reason)
        return error

    async def seal(self, origin: str, size: int, keys: list[str], *, hold: bool = False) -> Sealed:
        """Signature lines of log and keys; nobody holds here."""
        assert not hold
        mark = self.heads[origin]
        if size != mark.size or not size:
            raise self._breach(Unavailable("this is not the last accepted head", reason="HEAD_NOT_CURRENT"))
        if len(set(keys)) != len(keys):
            raise self._breach(Malformed("a key is named twice"))
        await self.gate.wait()
        text = note.checkpoint_text(origin, size, mark.root)
        time = self.clock.now_ns() // NANOSECONDS
        of_log = self.logs[origin]
        log_id = note.log_key(origin, of_log.public_key().public_bytes_raw()).key_id
        lines = {}
        for key in keys:
            if key in self.stopped:
                lines[key] = SealedLine(b"", 0, 0, "", "STOPPED")
                continue
            private, name = self.keys[key]
            raw = time.to_bytes(8, "big") + private.sign(note.cosignature_message(text, time))
            lines[key] = SealedLine(
                note.signature_line(name, note.line_key(name, spki(private)).key_id, raw), 0, 9, "a"
            )
            self.signed[key] = self.signed.get(key, 0) + 1
        return Sealed(size, time, note.signature_line(origin, log_id, of_log.sign(text)), lines)

    async def cosigned(self, origin: str, size: int, cosignatures: Sequence[Cosignature]) -> None:
        """Never asked."""
        raise NotImplementedError

    async def direct(self, key: str, items: list[DirectItem], size: int) -> list[DirectResult]:
        """A stand-in for a signature for each leaf, once."""
        private, cosigner = self.keys[key]
        if key in self.stopped:
            raise NotPermitted(f"key {key} is stopped", reason="STOPPED")
        released = self.released.setdefault(cosigner.rpartition("/")[0], set())
        for item in items:
            if item.index in released or item.index >= size:
                raise self._breach(Conflict("the leaf is signed, or in no such head", reason="ALREADY_SIGNED"))
            released.add(item.index)
        return [DirectResult(private.sign(item.digest), 0, 9, "a") for item in items]

    async def mark(self, origin: str) -> Mark | None:
        """Of one log."""
        return (await self.status()).logs.get(origin)

    async def status(self) -> SignerStatus:
        """Marks only."""
        return SignerStatus("", {name: Mark(mark.size, mark.root, 0) for name, mark in self.heads.items()}, {}, {}, {})

    async def stop(self, key: str) -> None:
        """As the guard's."""
        self.stopped.add(key)
        self.told.append(f"stop {key}")

    async def lift(self, key: str, evidence: Evidence) -> None:
        """Believes everything."""
        self.stopped.discard(key)
        self.told.append(f"lift {key}")


def spki(private: Ed25519PrivateKey) -> bytes:
    """DER of its public half."""
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
