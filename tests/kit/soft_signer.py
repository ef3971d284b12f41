"""A guard without a token: signs with keys in memory what a guard would."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kit.clock import VirtualClock
from sealpress.hsm.leaves import DirectItem, Openings
from sealpress.hsm.outcomes import DirectResult, Sealed, SealedLine
from sealpress.hsm.status import Mark, SignerStatus
from sealpress.tlog.record import NANOSECONDS
from sealpress.verify import note
from sealpress.verify.evidence import Evidence
from sealpress.verify.witness import Cosignature


class SoftSigner:
    """Signs what a guard would, with keys in memory; counts, can be held, and remembers what was stopped."""

    def __init__(self, clock: VirtualClock) -> None:
        """No keys yet."""
        self.clock = clock
        self.keys: dict[str, tuple[Ed25519PrivateKey, str]] = {}  # by id: key, cosigner's name
        self.logs: dict[str, Ed25519PrivateKey] = {}
        self.heads: dict[str, tuple[int, bytes]] = {}
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
        """The mark."""
        self.heads[origin] = (size, root)

    async def seal(self, origin: str, size: int, keys: list[str], *, hold: bool = False) -> Sealed:
        """Signature lines of log and keys; nobody holds here."""
        assert not hold
        await self.gate.wait()
        size, root = self.heads[origin]
        text = note.checkpoint_text(origin, size, root)
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
        """A stand-in for a signature for each leaf."""
        private, _ = self.keys[key]
        return [DirectResult(private.sign(item.digest), 0, 9, "a") for item in items]

    async def mark(self, origin: str) -> Mark | None:
        """Of one log."""
        return (await self.status()).logs.get(origin)

    async def status(self) -> SignerStatus:
        """Marks only."""
        return SignerStatus("", {name: Mark(size, root, 0) for name, (size, root) in self.heads.items()}, {}, {}, {})

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
