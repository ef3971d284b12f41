"""All slots of a signer: which of them does an operation, and what becomes of its answer.

Replicas of one key on several tokens share its work: each turn goes to the slot where it would be done first, by what
waits there and by how long an operation takes there. A slot that goes down hands its waiting turns to the others.

Guarantees: a cosignature that one slot did not make is asked of another, once: the same message under the same key does
no harm, whatever became of the first; a direct signature is never tried again. A slot whose answer is wrong, or repeats
an ECDSA nonce, is quarantined before anybody hears of the answer. Does not: decide what may be signed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from sealpress.config import Config
from sealpress.errors import CannotStart, Damaged
from sealpress.hsm import messages as m
from sealpress.hsm import work as w
from sealpress.hsm.accounts import Accounts
from sealpress.hsm.direct import Opened
from sealpress.hsm.finish import LIES, Signed, finish, unsigned
from sealpress.hsm.keytable import GuardKey, KeyTable
from sealpress.hsm.nonces import RecentNonces
from sealpress.hsm.probe import Probe
from sealpress.hsm.slot import QUEUE_DEADLINES, Slot
from sealpress.hsm.state import State
from sealpress.hsm.succession import Around
from sealpress.hsm.turns import Answer, SlotLost, Turn
from sealpress.ports import Clock
from sealpress.telemetry import Telemetry

Told = Callable[[Signed], None]


class Tokens:
    """Of one guard."""

    def __init__(
        self,
        config: Config,
        path_of: Callable[[str], Path],
        table: KeyTable,
        state: State,
        clock: Clock,
        telemetry: Telemetry,
        accounts: Accounts,
        on_change: Callable[[], None],
        on_failure: Callable[[Damaged], None],
    ) -> None:
        """A slot for each section that an active key names. `on_failure`: no more signatures, this signer ends."""
        self._state = state
        self._clock = clock
        self._telemetry = telemetry
        self._accounts = accounts
        self._nonces = RecentNonces()
        backoff_ms = (config.signer.worker_backoff_ms, config.signer.worker_backoff_ms_max)
        around = Around(state, clock, telemetry, accounts, backoff_ms, on_change, on_failure, self._homeless)
        self._keys = [key for key in table.keys.values() if key.active]
        used = {slot for key in self._keys for slot in key.slots}
        self._wait_s = {
            name: QUEUE_DEADLINES * section.deadline_ms / 1000 for name, section in config.slot.items() if name in used
        }
        self._slots = {
            name: Slot(
                name,
                config.slot[name],
                _opener(name, config, path_of, table, state, accounts),
                Probe(table.probes[name].spki if name in table.probes else b"", clock, self._nonces),
                around,
            )
            for name in self._wait_s
        }

    async def start(self) -> None:
        """Every key has a slot with a worker, or that will have one; CannotStart if a person has to do something first.

        A slot that a person has to do something about goes on trying, where other tokens have its keys.
        """
        slots = list(self._slots.values())
        outcomes = await asyncio.gather(*(slot.start() for slot in slots), return_exceptions=True)
        failed: dict[str, CannotStart] = {}
        for slot, outcome in zip(slots, outcomes, strict=True):
            if isinstance(outcome, CannotStart):
                failed[slot.name] = outcome
            elif outcome is not None:
                raise outcome
        for key in self._keys:
            if failed.keys() >= set(key.slots):
                raise failed[key.slots[0]]
        for name, failure in failed.items():
            self._telemetry.slot_failed(name, failure.reason, failure.message, failure.hint)

    async def close(self) -> None:
        """Kill the workers."""
        await asyncio.gather(*(slot.close() for slot in self._slots.values()))

    def look(self) -> None:
        """Every worker looks at its token's keys again."""
        for slot in self._slots.values():
            slot.look()

    def slot_of(self, key: GuardKey) -> str:
        """The slot that would do the key's next operation; empty if none can."""
        slot = self._best(self._accounts.usable(key))
        return slot.name if slot is not None else ""

    # ---- operations ----

    def cosign(self, key: GuardKey, message: bytes, told: Told) -> None:
        """A proof key's signature over a cosignature message; `told` hears what became of it, once, now or later."""
        assert key.cosigner is not None
        job = key.cosigner.job(key.name, message)
        usable = self._accounts.usable(key)
        slot = self._best(usable)
        if slot is None:
            told(unsigned(SlotLost(unknown=False), ""))
            return

        def first(signed: Signed) -> None:
            other = None if signed.signature else self._best([name for name in usable if name != slot.name])
            if other is None:
                told(signed)
            else:
                self._cosign(key, other, job, message, usable, told)

        self._cosign(key, slot, job, message, usable, first)

    def _cosign(
        self, key: GuardKey, slot: Slot, job: w.WorkerJob, message: bytes, usable: tuple[str, ...], told: Told
    ) -> None:
        def answered(answer: asyncio.Future[Answer]) -> None:
            try:
                signed = self._cosigned(key, job, message, answer.result())
            except SlotLost as lost:
                signed = unsigned(lost, slot.name)
            except Exception as error:  # our bug: without a signature, but not without an answer
                self._telemetry.internal(f"a signature of slot {slot.name}", error)
                signed = Signed(b"", 0, 0, slot.name, "INTERNAL")
            told(signed)

        self._operate(key, slot, [job], usable).add_done_callback(answered)

    def _cosigned(self, key: GuardKey, job: w.WorkerJob, message: bytes, answer: Answer) -> Signed:
        cosigner = key.cosigner
        assert cosigner is not None
        # On the loop: one verification costs less than the way to a thread and back.
        verify = [lambda raw: cosigner.finish(message, raw)]
        return self._judged(key, answer.slot, finish(key.key_id, [job], answer, verify, self._nonces))[0]

    async def sign_leaves(self, key: GuardKey, leaves: Sequence[Opened]) -> list[Signed]:
        """A direct key's signatures, in order, as many at a time as one turn should have."""
        slot = self._best(self._accounts.usable(key))
        size = slot.turn_jobs() if slot is not None else len(leaves)
        parts = [leaves[at : at + size] for at in range(0, len(leaves), size)]
        if len(parts) == 1:
            return await self._sign_part(key, leaves)
        return [one for part in await asyncio.gather(*(self._sign_part(key, part) for part in parts)) for one in part]

    async def _sign_part(self, key: GuardKey, leaves: Sequence[Opened]) -> list[Signed]:
        usable = self._accounts.usable(key)
        scheme, slot = key.scheme, self._best(usable)
        assert scheme is not None
        jobs = [scheme.job(key.name, leaf.algorithm, leaf.digest) for leaf in leaves]
        if slot is None:
            return [unsigned(SlotLost(unknown=False), "")] * len(leaves)
        try:
            answer = await self._operate(key, slot, jobs, usable)
        except SlotLost as lost:
            return [unsigned(lost, slot.name)] * len(leaves)
        verify = [lambda raw, leaf=leaf: scheme.finish(leaf.algorithm, leaf.digest, raw) for leaf in leaves]
        signed = await asyncio.to_thread(finish, key.key_id, jobs, answer, verify, self._nonces)
        return self._judged(key, answer.slot, signed)

    def _operate(
        self, key: GuardKey, slot: Slot, jobs: Sequence[w.WorkerJob], usable: tuple[str, ...]
    ) -> asyncio.Future[Answer]:
        """The turn's answer, or SlotLost."""
        expires = asyncio.get_running_loop().time() + self._wait_s[slot.name]
        turn = Turn(key.tenant, key.name, jobs, usable, lambda: not self._state.stopped(key.name), expires)
        slot.put(turn)
        return turn.answer

    def _judged(self, key: GuardKey, slot: str, signed: list[Signed]) -> list[Signed]:
        lies = [one.reason for one in signed if one.reason in LIES]
        for reason in lies:
            self._telemetry.slot_lied(slot, key.name, reason)
            self._slots[slot].quarantine(reason)
        if all(one.signature for one in signed):
            self._slots[slot].proved()
        return signed

    def _best(self, names: Sequence[str]) -> Slot | None:
        up = [slot for name in names if (slot := self._slots.get(name)) is not None and slot.up]
        if len(up) < 2:
            return up[0] if up else None
        return min(up, key=lambda slot: slot.load_ns)

    def _homeless(self, turns: Sequence[Turn]) -> None:
        for turn in turns:
            slot = self._best(turn.slots)
            if slot is None:
                turn.fail(unknown=False)
            else:
                slot.put(turn)

    # ---- how they are ----

    async def probe(self) -> dict[str, int]:
        """Per slot how long its worker took to answer, in microseconds; -1 if it did not."""

        async def one(slot: Slot) -> int:
            began_ns = self._clock.monotonic_ns()
            return (self._clock.monotonic_ns() - began_ns) // 1_000 if await slot.ping() else -1

        names = list(self._slots)
        return dict(zip(names, await asyncio.gather(*(one(self._slots[name]) for name in names)), strict=True))

    def views(self) -> dict[str, m.SlotView]:
        """For `status`."""
        return {
            name: m.SlotView(
                slot.up,
                slot.sessions,
                slot.operations,
                max(0, slot.restarts),
                slot.reason,
                self._accounts.strangers(name),
                slot.breaker.phase,
                slot.breaker.opened,
                slot.waiting,
                slot.each_ns // 1_000,
                len(self._accounts.counts(name) or {}),
                self._accounts.unmanaged(name),
                self._accounts.counts(name),
                slot.limit,
            )
            for name, slot in self._slots.items()
        }


def _opener(
    slot: str, config: Config, path_of: Callable[[str], Path], table: KeyTable, state: State, accounts: Accounts
) -> Callable[[], w.WorkerOpen]:
    section = config.slot[slot]
    keys = tuple(w.WorkerKey(key.name, key.cka_id, key.cka_label, key.spki) for key in table.of_slot(slot))
    if slot in table.probes:
        keys = (*keys, table.probes[slot])

    def ask() -> w.WorkerOpen:
        accounts.ask(slot)
        return w.WorkerOpen(
            slot=slot,
            module=section.module,
            reserved=section.reserved,
            serial=section.serial,
            label=section.label,
            pin_file=str(path_of(section.pin_file)) if section.pin_file else "",
            sessions=section.sessions,
            tag_key=state.tag_key,
            rejected=state.rejected(slot),
            keys=keys,
            known=table.known.get(slot, ()),
            operations_attribute=section.operations_attribute,
        )

    return ask
