"""Writes logs as flow does, in virtual time and from a seed: requests, signed heads, direct signatures, refusals.

It keeps the index of known requests in memory, so that a test can compare it with what a restart rebuilds.
"""

from __future__ import annotations

import base64
import hashlib
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kit.clock import VirtualClock
from kit.entropy import SeededEntropy
from sealpress.core import leaf
from sealpress.core.segment import segment_name
from sealpress.tlog.draft import Committed, Placed
from sealpress.tlog.entry import (
    ArtifactEvent,
    GovernanceEvent,
    OutcomeEvent,
    OutcomeStatus,
    RefusalEvent,
    RequestEvent,
    RequestRef,
    Where,
)
from sealpress.tlog.known import KnownRequest
from sealpress.tlog.log import Log
from sealpress.tlog.settings import LogSettings
from sealpress.values import DigestAlgorithm, Format, Mode, RecordType

NAME = "sign.example/ci-1"
LINES = {Mode.PROOF: "acme/router/eu/prod/firmware", Mode.DIRECT: "acme/router/eu/prod/boot"}
KEY_IDS = {Mode.PROOF: b"p" * 32, Mode.DIRECT: b"d" * 32}
FORMATS = {Mode.PROOF: Format.TLOG_PROOF, Mode.DIRECT: Format.ECDSA_DER}


def request_event(**changes: Any) -> RequestEvent:
    """An ordinary REQUEST."""
    mode = changes.get("mode", Mode.PROOF)
    fields: dict[str, Any] = {
        "event_id": bytes(16),
        "request_id": "job-1",
        "identity": "uri:spiffe://acme/ci",
        "cert_sha256": bytes(32),
        "line": LINES[mode],
        "key_id": KEY_IDS[mode],
        "mode": mode,
        "format": FORMATS[mode],
        "algorithm": DigestAlgorithm.SHA256,
        "same": bytes(32),
        "security_version": 3,
        "artifact": ArtifactEvent("router.bin", "1.2", 1 << 40, "application/octet-stream"),
        "computed_by": "client",
        "policy_sha256": bytes(32),
        "rule": "ci",
        "decision": "allow",
        "governance_seq": 0,
        "batch": False,
        "source": "ipv4:127.0.0.1:4000",
    }
    return RequestEvent(**(fields | changes))


class HeadSigner:
    """A log key and one line's key, both Ed25519: signs heads as the signer does."""

    def __init__(self, origin: str, name: str, seed: int = 1) -> None:
        """Keys from a seed."""
        self._private = [Ed25519PrivateKey.from_private_bytes(bytes([seed + i]) * 32) for i in range(2)]
        self._origin = origin
        names = [origin, f"{name}/{LINES[Mode.PROOF]}"]
        self._named: list[tuple[str, bytes, Ed25519PrivateKey]] = []
        self.vkeys: list[str] = []
        for key_name, kind, private in zip(names, (1, 4), self._private, strict=True):
            material = bytes([kind]) + private.public_key().public_bytes_raw()
            key_id = hashlib.sha256(key_name.encode() + b"\n" + material).digest()[:4]
            self._named.append((key_name, key_id, private))
            self.vkeys.append(f"{key_name}+{key_id.hex()}+{base64.b64encode(material).decode()}")

    def note(self, size: int, root: bytes, time: int, *, line: bool = True) -> bytes:
        """A signed head, with the line's signature or without."""
        text = f"{self._origin}\n{size}\n{base64.b64encode(root).decode()}\n".encode()
        signed = [self._private[0].sign(text)]
        if line:
            message = b"cosignature/v1\ntime %d\n" % time + text
            signed.append(time.to_bytes(8, "big") + self._private[1].sign(message))
        lines = [
            f"\u2014 {name} {base64.b64encode(key_id + signature).decode()}\n".encode()
            for (name, key_id, _), signature in zip(self._named, signed, strict=False)
        ]
        return text + b"\n" + b"".join(lines)


@dataclass(frozen=True)
class Act:
    """A committed REQUEST."""

    event: RequestEvent
    placed: Placed
    where: Where
    record: bytes  # the 32 bytes that its leaves commit to

    @property
    def ref(self) -> RequestRef:
        """How an OUTCOME names all of it."""
        return RequestRef(self.placed.seq, self.placed.first_leaf, self.placed.count)


class Scribe:
    """One log and who writes it."""

    def __init__(self, directory: Path, seed: int = 0, **settings: Any) -> None:
        """Nothing is opened yet."""
        self.random = random.Random(seed)
        self.clock = VirtualClock()
        self.entropy = SeededEntropy(seed)
        options: dict[str, Any] = {"segment_bytes": 64 << 10, "write": "pwrite", "governance": True} | settings
        self.settings = LogSettings(directory, NAME, 1, **options)
        self.signer = HeadSigner(self.settings.origin, NAME)
        self.log: Log
        self.ids = 0

    def open(self, disk: Any = None) -> Log:
        """Open and start, without a loop."""
        self.log = Log.open(self.settings, self.clock, self.entropy, disk=disk)
        self.log.start(None)
        return self.log

    def reopen(self) -> Log:
        """Stop cleanly and start again."""
        self.log.close()
        return self.open()

    def wait_for_files(self) -> None:
        """Until the log's helper has made the next segment and the reserve: no file of it comes or goes by itself."""
        names = {"reserve", segment_name(self.log.reader.end.segment + 1)}
        deadline = time.monotonic() + 60  # only a helper that hangs takes so long
        while not names <= {path.name for path in (self.settings.directory / "journal").iterdir()}:
            assert time.monotonic() < deadline, names
            time.sleep(0.002)

    def event(self, mode: Mode = Mode.PROOF, **changes: Any) -> RequestEvent:
        """A REQUEST with an id of its own."""
        self.ids += 1
        fields = {"event_id": self.entropy.bytes(16), "request_id": f"r{self.ids}", "same": self.entropy.bytes(32)}
        return request_event(mode=mode, **(fields | changes))

    def digests(self, count: int) -> bytes:
        """Fresh SHA-256 digests, end to end."""
        return self.entropy.bytes(32 * count)

    def request(self, *counts: int, mode: Mode = Mode.PROOF, names: bool = False, **changes: Any) -> list[Act]:
        """One commit with a request for each count."""
        draft = self.log.draft()
        drafted = []
        for count in counts:
            event = self.event(mode, **changes)
            block = leaf.pack_names([f"f{i}" for i in range(count)], list(range(count))) if names else b""
            digests = self.digests(count)
            drafted.append((event, draft.request(event, None, self.entropy.bytes(32), block, digests, count)))
        committed = self.log.commit_now(draft)
        acts = [Act(event, placed, committed.where(placed), committed.record(placed)) for event, placed in drafted]
        for act in acts:
            self.log.recovered.known.request(
                act.event,
                act.where,
                seq=act.placed.seq,
                first_leaf=act.placed.first_leaf,
                count=act.placed.count,
                time_ns=act.placed.time_ns,
            )
        return acts

    def outcome(self, event: OutcomeEvent) -> Committed:
        """Write an OUTCOME and tell the index."""
        draft = self.log.draft()
        placed = draft.event(RecordType.OUTCOME, event)
        committed = self.log.commit_now(draft)
        self.log.recovered.known.outcome(event, committed.where(placed))
        return committed

    def seal(self, *acts: Act, status: OutcomeStatus = OutcomeStatus.SEALED, size: int = 0) -> bytes:
        """Sign the newest head, or that of `size` leaves, for these proof requests and record it."""
        size = size or self.log.size
        time = self.clock.now_ns() // 1_000_000_000
        note = self.signer.note(size, self.log.root(size), time) if status is OutcomeStatus.SEALED else b""
        refs = tuple(act.ref for act in acts)
        self.outcome(
            OutcomeEvent(refs, LINES[Mode.PROOF], KEY_IDS[Mode.PROOF], status, 0, 800, "a", size, note, (), b"", 0)
        )
        return note

    def sign(self, act: Act, signatures: list[bytes], status: OutcomeStatus = OutcomeStatus.SIGNED) -> None:
        """Record direct signatures; empty ones failed."""
        hashes = b"".join(hashlib.sha256(each).digest() if each else bytes(32) for each in signatures)
        line, key_id = LINES[Mode.DIRECT], KEY_IDS[Mode.DIRECT]
        size = self.log.size
        self.outcome(
            OutcomeEvent((act.ref,), line, key_id, status, 0, 80, "a", size, b"", tuple(signatures), hashes, 0)
        )

    def refuse(self, **changes: Any) -> RefusalEvent:
        """Record a refusal."""
        fields: dict[str, Any] = {
            "event_id": self.entropy.bytes(16), "request_id": "x", "identity": "uri:stranger", "cert_sha256": bytes(32),
            "line": "no/such/line", "reason": "NOT_PERMITTED", "digest": self.digests(1), "count": 1, "suppressed": 0,
            "policy_sha256": bytes(32), "governance_seq": 0, "source": "ipv4:10.0.0.9:1",
        }  # fmt: skip
        event = RefusalEvent(**(fields | changes))
        draft = self.log.draft()
        draft.event(RecordType.REFUSAL, event)
        self.log.commit_now(draft)
        return event

    def fact(self, body: bytes) -> GovernanceEvent:
        """A GOVERNANCE event: a policy with these bytes."""
        return GovernanceEvent("policy", body, hashlib.sha256(body).digest())

    def policy(self, body: bytes) -> int:
        """Record a policy; its seq."""
        draft = self.log.draft()
        placed = draft.event(RecordType.GOVERNANCE, self.fact(body))
        self.log.commit_now(draft)
        return placed.seq

    def known(self, log: Log | None = None) -> dict[str, KnownRequest]:
        """What the log, or another one with the same records, knows now of each id that was ever used."""
        known, identity = (log or self.log).recovered.known, request_event().identity
        found = {f"r{id_}": known.get(identity, f"r{id_}", self.clock.now_ns()) for id_ in range(1, self.ids + 1)}
        return {id_: each for id_, each in found.items() if each is not None}

    def history(self, steps: int) -> None:
        """Something random, `steps` times: requests of both modes, seals, partial and full signatures, lapses."""
        proofs: list[Act] = []
        directs: list[Act] = []
        for _ in range(steps):
            self.clock.advance(self.random.choice((0, 0.1, 3, 40)))
            choice = self.random.random()
            if choice < 0.35 or not (proofs or directs):
                counts = [self.random.randint(1, 9) for _ in range(self.random.randint(1, 4))]
                proofs += self.request(*counts, names=self.random.random() < 0.3)
            elif choice < 0.5:
                directs += self.request(self.random.randint(1, 4), mode=Mode.DIRECT)
            elif choice < 0.75 and proofs:
                self.seal(*proofs, status=self._fate(proofs))
                proofs = []
            elif choice < 0.95 and directs:
                act = directs.pop(self.random.randrange(len(directs)))
                self._sign_some(act)
            else:
                self.refuse()

    def _fate(self, acts: list[Act]) -> OutcomeStatus:
        now_ns = self.clock.now_ns()
        if any(now_ns - act.placed.time_ns > 250_000_000_000 for act in acts):
            return self.random.choice((OutcomeStatus.LAPSED, OutcomeStatus.UNKNOWN))
        return OutcomeStatus.SEALED

    def _sign_some(self, act: Act) -> None:
        count = act.placed.count
        signatures = [self.entropy.bytes(70) if self.random.random() < 0.7 else b"" for _ in range(count)]
        if all(signatures):
            self.sign(act, signatures)
        elif self.random.random() < 0.3:
            self.sign(act, signatures, OutcomeStatus.UNKNOWN)
        else:
            self.sign(act, signatures, OutcomeStatus.PARTIAL)
            self.sign(act, [b"" if done else self.entropy.bytes(70) for done in signatures])
