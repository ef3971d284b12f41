"""Signs of life of a slot: of its worker at each heartbeat, and of its token where nothing else was asked of it.

Guarantees: of each kind one question at a time is under way, so that a worker which hangs gathers none; an answer of a
worker that was replaced says nothing of its successor, unless it is a lie. Does not: start workers (succession.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from sealpress.config import SlotSection
from sealpress.hsm import work as w
from sealpress.hsm.breaker import Breaker
from sealpress.hsm.child import Child
from sealpress.hsm.probe import Probe
from sealpress.ports import Clock

_KEPT_LOOKS = 4  # at least, at how long each session was idle, in the time that none shall be idle for


class Watched(Protocol):
    """The slot."""

    breaker: Breaker
    operations: int

    @property
    def child(self) -> Child | None:
        """The worker that gets the calls."""
        ...

    def rested(self) -> None:
        """A heartbeat passed without an operation."""
        ...

    def proved(self) -> None:
        """Signatures of its token verified."""
        ...

    def quarantine(self, reason: str) -> None:
        """The token lied."""
        ...


class Pulse:
    """Of one slot."""

    def __init__(self, watched: Watched, settings: SlotSection, probe: Probe, clock: Clock) -> None:
        """`watch` does the rest."""
        self._watched = watched
        self._settings = settings
        self._probe = probe
        self._clock = clock
        self._probing: Child | None = None
        self._keeping: Child | None = None
        self._pinged: Child | None = None

    async def watch(self) -> None:
        """A heartbeat of the worker; and one of the token, where nothing else was asked of it for some time.

        Where a firewall ends idle connections each session is used now and then, for it may have one of its own.
        """
        probe_s, keep_s = self._settings.probe_ms / 1000, self._settings.keepalive_ms / 1000
        silence_s = min(probe_s, keep_s or probe_s)
        step_s = min(self._settings.heartbeat_ms / 1000, silence_s, keep_s / _KEPT_LOOKS or silence_s)
        while True:
            await asyncio.sleep(step_s)
            child = self._watched.child
            if child is None or not child.up:
                continue
            if self._pinged is not child:
                self._pinged = child
                child.ping(self._ponged)
            silent_s = asyncio.get_running_loop().time() - child.touched
            if silent_s >= self._settings.heartbeat_ms / 1000:
                self._watched.rested()
            if keep_s and self._probe.signs and self._watched.breaker.trusts:
                self._keep_alive(child, keep_s / 2)  # those left out are looked at twice more before it is all of it
            if silent_s >= silence_s:
                self.attempt(child)

    def _ponged(self, answer: w.WorkerSigned | w.WorkerPong | None) -> None:
        if answer is not None:
            self._pinged = None

    def attempt(self, child: Child) -> None:
        """Have the token do something that costs nothing: sign with the probe key, or tell of itself."""
        if self._probing is child:
            return
        self._probing = child
        if self._probe.signs:
            jobs, messages = self._probe.jobs(1)
            child.sign(jobs, lambda answer: self._tried(child, messages, answer))
        else:
            child.ping(lambda answer: self._tried(child, (), answer), token=True)

    def _keep_alive(self, child: Child, idle_s: float) -> None:
        """A signature of the probe key on each session that was idle for so long; those at work need none."""
        if self._keeping is child:
            return
        self._keeping = child
        jobs, messages = self._probe.jobs(child.sessions)
        child.keep(jobs, idle_s, lambda answer: self._kept(child, messages, answer))

    def _kept(self, child: Child, messages: Sequence[bytes], answer: w.WorkerSigned | w.WorkerPong | None) -> None:
        if answer is not None and self._keeping is child:
            self._keeping = None
        if isinstance(answer, w.WorkerSigned) and answer.results:
            self._heard(child, messages[: len(answer.results)], answer)

    def _tried(self, child: Child, messages: Sequence[bytes], answer: w.WorkerSigned | w.WorkerPong | None) -> None:
        if answer is None:
            return  # it is late, and replaced
        if self._probing is child:
            self._probing = None
        self._heard(child, messages, answer)

    def _heard(self, child: Child, messages: Sequence[bytes], answer: w.WorkerSigned | w.WorkerPong) -> None:
        child.touched = asyncio.get_running_loop().time()
        wrong = self._wrong(messages, answer)
        if wrong and not wrong.startswith("CKR_"):
            self._watched.quarantine(wrong)
        elif self._watched.child is not child:
            return  # its successor is judged by answers of its own
        elif wrong:
            self._watched.breaker.failed(self._clock.monotonic_ns(), wrong)
        elif isinstance(answer, w.WorkerSigned):  # half open, and without a probe key, an operation of a line decides
            self._watched.proved()
            if not self._watched.breaker.trusts:
                self.attempt(child)

    def _wrong(self, messages: Sequence[bytes], answer: w.WorkerSigned | w.WorkerPong) -> str:
        if isinstance(answer, w.WorkerPong):
            return f"CKR_{answer.rv:#x}" if answer.rv else ""
        self._watched.operations += sum(result.tried for result in answer.results)
        return self._probe.wrong(messages, answer.results)
