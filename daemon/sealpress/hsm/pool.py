"""The sessions of one slot: an anchor that holds the login, and one session per thread that signs.

Guarantees: a session that answered with an error is closed and another one takes its place, or it stays out; the anchor
is neither used to sign nor closed. Does not: log in again or find keys again: a token that lost the login needs a new
worker, and `lost` says so.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from sealpress.core import p11
from sealpress.errors import CannotStart, CoreError
from sealpress.hsm.messages import WorkerJob, WorkerOpen, WorkerResult
from sealpress.hsm.module import Token, TokenName

# Answers after which no session of this process will work again: keys, login or token are gone.
_LOST = frozenset({0x02, 0x05, 0x30, 0x32, 0x60, 0x82, 0xE0, 0x101, 0x190})
_CLOSED = 0xB0


class SlotPool:
    """Everything that a worker holds of its slot."""

    def __init__(self, ask: WorkerOpen) -> None:
        """Find the token, log in, find the keys, open the sessions. CannotStart says what is missing."""
        self._token = Token(TokenName(ask.module, ask.reserved, ask.serial, ask.label))
        if ask.pin_file:
            self._token.login(ask.pin_file, ask.tag_key, ask.rejected)
        self._keys = {key.name: self._token.find_key(key.name, key.cka_id, key.cka_label, key.spki) for key in ask.keys}
        count = 1 if p11.single_threaded() else min(ask.sessions, self._token.sessions_max or ask.sessions)
        self._sessions: list[Any] = [self._token.open_session() for _ in range(count)]
        self._pool = p11.Pool([int(session.handle) for session in self._sessions])
        self._repair = threading.Lock()
        self.lost = False

    @property
    def sessions(self) -> int:
        """How many may be used."""
        return sum(self._pool.alive())

    def sign(self, jobs: tuple[WorkerJob, ...]) -> tuple[WorkerResult, ...]:
        """Every job done or failed; any number of threads may call."""
        known = [job for job in jobs if job.key in self._keys]
        outcomes = iter(
            self._pool.sign(
                [p11.Job(self._keys[job.key], job.mechanism, job.parameter, job.size, job.data) for job in known]
            )
        )
        results = []
        for job in jobs:
            if job.key not in self._keys:
                results.append(WorkerResult(b"", _CLOSED, 0, False))
                continue
            outcome = next(outcomes)
            results.append(WorkerResult(outcome.signature, outcome.rv, outcome.elapsed_ns, outcome.session is not None))
        if any(result.rv for result in results):
            self._mend([result.rv for result in results])
        return tuple(results)

    def _mend(self, answers: list[int]) -> None:
        if not _LOST.isdisjoint(answers):
            self.lost = True
            return
        with self._repair:
            for position, alive in enumerate(self._pool.alive()):
                if alive:
                    continue
                try:
                    fresh = self._token.open_session()
                    self._pool.replace(position, int(fresh.handle))
                except (CannotStart, CoreError):
                    self.lost = True
                    return
                with contextlib.suppress(Exception):  # it is broken: whatever closing it answers changes nothing
                    self._sessions[position].close()
                self._sessions[position] = fresh
