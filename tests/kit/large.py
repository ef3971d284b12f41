"""A large log, written as a daemon writes it, in a process of its own that goes on until it is killed.

    write_and_kill(Plan(directory, leaves=10_000_000, unary=2_000_000))

Composition: `unary` requests for one digest, 64 to a commit, every tenth of a direct line; the other leaves in
batches of 10,000, spread evenly among them. Each commit also holds the outcome of the one before: a signed head, or the
signatures. Every digest follows from the seed, so that whoever knows it can ask.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.scribe import KEY_IDS, LINES, NAME, HeadSigner, request_event
from sealpress.clock import SystemClock
from sealpress.entropy import SystemEntropy
from sealpress.tlog.draft import Draft, Placed
from sealpress.tlog.entry import OutcomeEvent, OutcomeStatus, RequestRef
from sealpress.tlog.log import Log
from sealpress.tlog.settings import LogSettings
from sealpress.values import Mode, RecordType

BATCH = 10_000
TOGETHER = 64
DIRECT_EVERY = 10


@dataclass(frozen=True)
class Plan:
    """What is written, and where it is asked for."""

    directory: Path
    leaves: int
    unary: int
    segment_bytes: int = 64 << 20

    @property
    def batches(self) -> int:
        """Requests for 10,000 digests."""
        return (self.leaves - self.unary) // BATCH

    @property
    def settings(self) -> LogSettings:
        """How to open it."""
        return LogSettings(self.directory, NAME, 1, self.segment_bytes, "auto", governance=True)

    def digests(self, number: int) -> bytes:
        """Of batch `number`."""
        return hashlib.shake_128(b"batch %d" % number).digest(32 * BATCH)

    def question(self, rng: random.Random) -> tuple[str, bytes]:
        """Something that can be asked for, each kind as often as the others."""
        kind = rng.choice(("batch", "unary", "signature", "absent"))
        if kind == "batch":
            at = 32 * rng.randrange(BATCH)
            return kind, self.digests(rng.randrange(self.batches))[at : at + 32]
        if kind == "unary":
            return kind, unary_digest(rng.randrange(self.unary))
        if kind == "signature":
            return kind, hashlib.sha256(signature(rng.randrange(self.unary // DIRECT_EVERY) * DIRECT_EVERY)).digest()
        return kind, rng.randbytes(32)

    def commits(self) -> Iterator[tuple[int | None, range]]:
        """For each commit: the batch in it, if any, and its unary requests; for ever."""
        rounds = -(-self.unary // TOGETHER)
        done = 0
        for round_ in range(rounds):
            due = self.batches * (round_ + 1) // rounds
            while done < due:
                yield done, range(0)
                done += 1
            yield None, range(round_ * TOGETHER, min(self.unary, (round_ + 1) * TOGETHER))
        more = self.unary
        while True:
            yield None, range(more, more + TOGETHER)
            more += TOGETHER


def unary_digest(number: int) -> bytes:
    """Of unary request `number`."""
    return hashlib.sha256(b"unary %d" % number).digest()


def signature(number: int) -> bytes:
    """Of a direct request; nobody verifies it."""
    return hashlib.shake_128(b"signature %d" % number).digest(70)


class _Writer:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.log = Log.open(plan.settings, SystemClock(), SystemEntropy())
        self.log.start(asyncio.get_running_loop())
        self.signer = HeadSigner(plan.settings.origin, NAME)
        self.proofs: list[RequestRef] = []
        self.directs: list[tuple[RequestRef, int]] = []

    async def run(self) -> None:
        for batch, unary in self.plan.commits():
            draft = self.log.draft()
            self._outcomes(draft)
            if batch is not None:
                self._request(draft, f"b{batch}", Mode.PROOF, self.plan.digests(batch))
            for number in unary:
                mode = Mode.PROOF if number % DIRECT_EVERY else Mode.DIRECT
                placed = self._request(draft, f"u{number}", mode, unary_digest(number))
                if mode is Mode.DIRECT:
                    self.directs.append((self.proofs.pop(), number))
                assert placed.count == 1
            await self.log.commit(draft)
            if self.log.size >= self.plan.leaves and unary and unary[0] >= self.plan.unary:
                sys.stdout.write("written\n")
                sys.stdout.flush()

    def _request(self, draft: Draft, id_: str, mode: Mode, digests: bytes) -> Placed:
        event_id = hashlib.sha256(id_.encode()).digest()[:16]
        event = request_event(mode=mode, request_id=id_, event_id=event_id)
        placed = draft.request(event, None, hashlib.sha256(event_id).digest(), b"", digests, len(digests) // 32)
        self.proofs.append(RequestRef(placed.seq, placed.first_leaf, placed.count))
        return placed

    def _outcomes(self, draft: Draft) -> None:
        size = self.log.size
        if self.proofs:
            note = self.signer.note(size, self.log.root(), draft.time)
            draft.event(RecordType.OUTCOME, _outcome(Mode.PROOF, tuple(self.proofs), size, note, b""))
        for ref, number in self.directs:
            draft.event(RecordType.OUTCOME, _outcome(Mode.DIRECT, (ref,), size, b"", signature(number)))
        self.proofs, self.directs = [], []


def _outcome(mode: Mode, refs: tuple[RequestRef, ...], size: int, note: bytes, signed: bytes) -> OutcomeEvent:
    status = OutcomeStatus.SEALED if note else OutcomeStatus.SIGNED
    signatures, hashes = ((signed,), hashlib.sha256(signed).digest()) if signed else ((), b"")
    return OutcomeEvent(refs, LINES[mode], KEY_IDS[mode], status, 0, 80, "a", size, note, signatures, hashes, 0)


def write(directory: str, leaves: str, unary: str, segment_bytes: str) -> None:
    """The process that is killed."""
    plan = Plan(Path(directory), int(leaves), int(unary), int(segment_bytes))

    async def run() -> None:
        await _Writer(plan).run()

    asyncio.run(run())


def write_and_kill(plan: Plan) -> None:
    """When this returns the log is there, and its writer was killed in the middle of what it did."""
    program = f"import sys; sys.path[:] = {sys.path!r}; from kit.large import write; write(*sys.argv[1:])"
    words = [plan.directory, plan.leaves, plan.unary, plan.segment_bytes]
    with subprocess.Popen([sys.executable, "-c", program, *map(str, words)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        child.kill()
    assert line == b"written\n"
