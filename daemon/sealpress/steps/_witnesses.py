"""Others who see to it that each log has one history: they are shown its heads, and cosign what is consistent.

A round shows one head of one log to every witness that is free, and ends when the quorum has cosigned, or when all have
answered. Whoever answers later still adds his line to the published head. There are two occasions:

    hold    a line with hold = "witnessed" has durable leaves: the log key signs the newest head, a round is made with
            it, and only then the line key signs that very head (seal.seal_proof)
    else    once per interval, the newest signed head of a log, if it is news; no answer ever waits for it

A witness that stands at more leaves than the log has, or finds our head inconsistent with what it saw, has seen another
history: this log was rolled back, or is signed elsewhere. That ends the node (Damaged), whichever is right.

Guarantees: a cosignature counts only after it was verified; at most one call to a witness per log is under way; rounds
of a log follow one another, so its heads reach a witness in growing order. Does not: know HTTP, or go on waiting for a
witness beyond its time-out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from sealpress.core.merkle import Tree
from sealpress.errors import Damaged, Invalid, SealpressError, Unavailable
from sealpress.ports import Clock
from sealpress.steps import seal
from sealpress.steps._head import Witnessed
from sealpress.steps._signer import Heads, Signer
from sealpress.steps._ticket import LogState
from sealpress.telemetry import Telemetry
from sealpress.tlog.log import Log
from sealpress.tlog.record import NANOSECONDS
from sealpress.verify.note import checkpoint_text
from sealpress.verify.policy import WitnessPolicy
from sealpress.verify.witness import Cosignature, check_cosignature, cosignature_line, read_cosignatures

TRIES = 3  # of one witness in one round: its size is learned from its first answer
HINT = (
    "nothing is signed any more: this directory or the signer's state may be an older copy, or another machine signs "
    "with the same keys; find out which history is the true one before anything else"
)


@dataclass(frozen=True, slots=True)
class Cosigned:
    """It says that it has cosigned: signature lines, nothing verified."""

    lines: bytes


@dataclass(frozen=True, slots=True)
class Stands:
    """It has cosigned another size than we believed."""

    size: int


@dataclass(frozen=True, slots=True)
class Inconsistent:
    """Our head does not go on from what it has seen."""


class Port(Protocol):
    """What asks a witness (rpc/witness.py)."""

    async def add_checkpoint(
        self, name: str, old: int, consistency: bytes, checkpoint: bytes
    ) -> Cosigned | Stands | Inconsistent:
        """Unavailable if there is no answer, or a useless one; bounded in time."""
        ...


@dataclass(slots=True)
class Round:
    """A head under the log's signature, and who cosigned it so far (by policy name)."""

    size: int
    text: bytes
    log_note: bytes
    cosigned: dict[str, Cosignature] = field(default_factory=dict)


class Witnesses:
    """The witnesses of a node. Owned by one event loop."""

    def __init__(
        self, policy: WitnessPolicy, port: Port, clock: Clock, telemetry: Telemetry, clock_ahead_s_max: int
    ) -> None:
        """`on_damaged` hears of another history, with the log's id, if that is found out after a round's end."""
        self.policy = policy
        self._port = port
        self._clock = clock
        self._telemetry = telemetry
        self._ahead_s_max = clock_ahead_s_max
        self._stands: dict[tuple[str, str], int] = {}  # by origin and name: what the witness has cosigned last
        self._asking: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._turn: dict[str, asyncio.Lock] = {}
        self._made: dict[str, Round] = {}  # the last round of each log
        self._held: dict[str, Round] = {}  # the last that the signer heard of
        self._said: dict[tuple[str, str], str] = {}
        self.on_damaged: Callable[[str, Damaged], None] = lambda _id, _error: None

    async def compare(self, log: Log, id_: str, size: int, log_note: bytes) -> None:
        """Before a start: show the head at the mark. Damaged if a witness has seen another history.

        Who does not answer is told, and asked again while the node runs.
        """
        made = Round(size, checkpoint_text(log.origin, size, log.root(size)), log_note)
        asks = (self._ask(id_, log.origin, log.tree, size, made, name) for name in self.policy.witnesses)
        for outcome in await asyncio.gather(*asks, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def show(self, log: LogState) -> None:
        """A round with the newest signed head, if it is news and nobody else makes one now."""
        turn = self._turn.setdefault(log.log.origin, asyncio.Lock())
        if turn.locked() or not log.signed_size or (log.signed_size == log.sealed_size and log.quorum):
            return
        async with turn:
            await self._round(log, log.signed_size, log.signed_note)

    async def hold(self, heads: Heads, signer: Signer, log: LogState, least: int) -> Witnessed:
        """A head of at least this size that the quorum has cosigned, as the signer knows.

        Unavailable NOT_COSIGNED if it cannot be had now.
        """
        origin = log.log.origin
        async with self._turn.setdefault(origin, asyncio.Lock()):
            known = self._held.get(origin)
            if known is not None and known.size >= least:
                return self._witnessed(known)
            made = await self._round(log, *await seal.propose(heads, signer, log))
            if not self.policy.satisfied(made.cosigned):
                names = ", ".join(sorted(made.cosigned)) or "nobody"
                raise Unavailable(
                    f"the quorum of witnesses has not cosigned a head of {made.size} leaves ({names} has)",
                    reason="NOT_COSIGNED",
                    retry_after_ms=1_000,
                )
            await signer.cosigned(origin, made.size, list(made.cosigned.values()))
            self._held[origin] = made
            return self._witnessed(made)

    def forget(self, log: LogState) -> None:
        """The signer does not know what it was told: the next hold begins anew."""
        self._held.pop(log.log.origin, None)

    def _witnessed(self, made: Round) -> Witnessed:
        return Witnessed(made.size, made.text, self._lines(made))

    def _lines(self, made: Round) -> bytes:
        """The signature lines of those who cosigned so far, in the order of the policy."""
        keys = self.policy.witnesses
        return b"".join(cosignature_line(keys[name], made.cosigned[name]) for name in keys if name in made.cosigned)

    async def close(self) -> None:
        """Ask nobody any more."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- a round ----

    async def _round(self, log: LogState, size: int, log_note: bytes) -> Round:
        """Until the quorum has cosigned, or everybody who was free has answered; nobody is asked twice for one head."""
        origin = log.log.origin
        made = self._made.get(origin)
        if made is None or made.size != size:
            made = self._made[origin] = Round(size, checkpoint_text(origin, size, log.log.root(size)), log_note)
        free = [name for name in self.policy.witnesses if (origin, name) not in self._asking]
        open_ = {self._begin(log, made, name) for name in free if name not in made.cosigned}
        while open_ and not (made.cosigned and self.policy.satisfied(made.cosigned)):
            done, open_ = await asyncio.wait(open_, return_when=asyncio.FIRST_COMPLETED)
            _raise_first(done)
        self._publish(log, made)
        return made

    def _begin(self, log: LogState, made: Round, name: str) -> asyncio.Task[None]:
        key = (log.log.origin, name)
        work = self._ask(log.id, log.log.origin, log.log.tree, log.log.size, made, name)
        task = self._asking[key] = asyncio.get_running_loop().create_task(work, name=f"witness {name}")

        def ended(done: asyncio.Task[None]) -> None:
            del self._asking[key]
            error = None if done.cancelled() else done.exception()
            if isinstance(error, Damaged):
                self.on_damaged(log.id, error)
            elif error is not None:
                self._telemetry.internal("witness", error)
            elif made.size == log.sealed_size:
                self._publish(log, made)  # he came after the round's end

        task.add_done_callback(ended)
        return task

    def _publish(self, log: LogState, made: Round) -> None:
        log.show(made.size, made.log_note, self._lines(made), quorum=self.policy.satisfied(made.cosigned))
        self._telemetry.witnessed(log.id, made.size, len(made.cosigned))

    # ---- one witness ----

    async def _ask(self, id_: str, origin: str, tree: Tree, known: int, made: Round, name: str) -> None:
        """Have one witness cosign, as far as it will. `known`: no head of ours is larger. Damaged: another history."""
        try:
            made.cosigned[name] = await self._cosignature(origin, tree, known, made, name)
            said = message = ""
        except SealpressError as error:
            if isinstance(error, Damaged):
                self._telemetry.witness_answered(id_, name, error.reason)
                raise
            said, message = error.reason, error.message
        self._telemetry.witness_answered(id_, name, said or "COSIGNED")
        if said != self._said.get((origin, name), ""):
            self._telemetry.witness_changed(id_, name, said, message)
        self._said[origin, name] = said

    async def _cosignature(self, origin: str, tree: Tree, known: int, made: Round, name: str) -> Cosignature:
        key, place = self.policy.witnesses[name], (origin, name)
        for _ in range(TRIES):
            old = self._stands.get(place, 0)
            if old > made.size:
                raise Unavailable("it has cosigned a newer head of ours already", reason="WITNESS_NEWER")
            path = tree.consistency(old, made.size) if 0 < old < made.size else b""
            answer = await self._port.add_checkpoint(name, old, path, made.log_note)
            same_size = isinstance(answer, Stands) and answer.size == old == made.size  # C2SP: then roots differ
            if same_size or isinstance(answer, Inconsistent):
                raise Damaged(
                    f"{origin}: the witness {name} has seen another history: our head of {made.size} leaves does not "
                    f"go on from its head of {old}",
                    reason="WITNESS_DISAGREES",
                    hint=HINT,
                )
            if isinstance(answer, Cosigned):
                self._stands[place] = made.size
                found = read_cosignatures(made.text, answer.lines, key)
                for one in found:
                    check_cosignature(made.text, one, key, self._clock.now_ns() // NANOSECONDS, self._ahead_s_max)
                if not found:
                    raise Invalid(f"the answer holds no cosignature of {key.name}", reason="COSIGNATURE")
                return found[0]
            if answer.size > known:
                raise Damaged(
                    f"{origin}: the witness {name} has seen {answer.size} leaves, we know of {known}: records or the "
                    "mark are lost",
                    reason="WITNESS_AHEAD",
                    hint=HINT,
                )
            self._stands[place] = answer.size
        raise Unavailable("it does not stand where it says", reason="WITNESS_REFUSED")


def _raise_first(done: Iterable[asyncio.Task[None]]) -> None:
    for task in done:
        if not task.cancelled() and isinstance(error := task.exception(), Damaged):
            raise error
