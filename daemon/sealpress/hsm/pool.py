"""The sessions of one slot: an anchor that holds the login, and one session per thread that signs.

Threads of the worker bring jobs; one more, the mender, puts right what an error shows to be wrong: it looks at the
anchor, logs in and finds the keys again where they are lost, and opens sessions for those that failed. As it is one
thread, a lost login makes one C_Login, and nobody else ever waits in the token for it.

Guarantees: a session that answered with an error is closed before another takes its place; handles of a generation
that has ended are never used; a job is tried again once at most, and only if the token did not begin to sign by its
own answer; none is begun after its deadline. Does not: survive a module that needs C_Finalize: `lost` then says why,
and the guard starts another worker.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from sealpress.core import p11
from sealpress.errors import CannotStart, CoreError, TokenError
from sealpress.hsm.mechanisms import MECHANISMS, chosen
from sealpress.hsm.module import LASTING, Token, TokenName
from sealpress.hsm.shelf import find_keys
from sealpress.hsm.work import WorkerJob, WorkerOpen, WorkerResult
from sealpress.ports import Clock

_UNKNOWN_KEY = 0x60  # CKR_KEY_HANDLE_INVALID
_S = 1_000_000_000
_PAUSES_S = (0.05, 0.25)  # between attempts to mend; then a new process has to
_FILL_S = (0.2, 5.0)  # until a session that could not be opened is asked for again: at first, at most
_FRUITLESS_MAX = 8  # mends in a row after which nothing was signed
_LEAVING_POLLS = (100, 0.01)  # so often, after so many seconds, is asked for sessions that a token has in hand
_MENDING_NS_MAX = 15 * _S


class Fault(IntEnum):
    """What an answer of the token puts in doubt; each with all before it."""

    NONE = 0
    SESSION = 1
    KEYS = 2
    LOGIN = 3


_FAULTS = {0x60: Fault.KEYS, 0x82: Fault.KEYS, 0x101: Fault.LOGIN}


@dataclass(frozen=True, slots=True)
class _Handles:
    """The keys of a generation, by name."""

    generation: int
    keys: dict[str, int]


class SlotPool:
    """Everything that a worker holds of its slot."""

    def __init__(self, ask: WorkerOpen, clock: Clock) -> None:
        """Find the token, log in, find the keys, open the sessions. CannotStart says what is missing."""
        self._ask = ask
        self._clock = clock
        self._token = Token(TokenName(ask.module, ask.reserved, ask.serial, ask.label))
        self._login()
        self._handles = _Handles(0, self._find_keys())
        self._mechanisms = self._token.mechanisms
        count = 1 if p11.single_threaded() else min(ask.sessions, self._token.sessions_max or ask.sessions)
        self._sessions: list[Any] = [None] * count
        self._pool = p11.Pool([0] * count)
        self.desk = p11.Desk(self._pool, [one for one in MECHANISMS if one in self._mechanisms])
        self._tell_desk()
        self._changed = threading.Condition()  # guards what follows
        self._fault = Fault.NONE  # seen by a job, not yet by the mender
        self._looking = False
        self._chore: Callable[[], None] | None = None
        self._failing = False
        self._fruitless = 0
        self._signed_at_desk = 0  # of them, what was seen by the last mend
        self._fill_at_ns, self._fill_wait_s = 0, _FILL_S[0]
        self._broken_since_ns = 0  # 0: it is not
        self._never = threading.Event()  # to wait with
        self._tell: Callable[[], None] = lambda: None
        self.lost: CannotStart | None = None
        self._fill(clock.monotonic_ns() + _S)

    def start(self, tell: Callable[[], None]) -> None:
        """Mend from now on, and call `tell` from that thread whenever `sessions` or `lost` may have changed."""
        self._tell = tell
        threading.Thread(target=self._mend_always, name="mender", daemon=True).start()

    @property
    def token(self) -> Token:
        """What the sessions are of."""
        return self._token

    @property
    def count(self) -> int:
        """How many sessions there are at most."""
        return self._pool.count

    @property
    def sessions(self) -> int:
        """How many may be used. While the mender has not failed yet there is at least one to hope for."""
        with self._changed:
            return self._pool.living or int(self.lost is None and not self._failing)

    @property
    def limit(self) -> int:
        """So many of them work at a time, as the token bears."""
        return self._pool.limit

    @property
    def stuck(self) -> bool:
        """Whether the mender waits in the token for longer than anybody should."""
        since_ns = self._broken_since_ns
        return since_ns > 0 and self._clock.monotonic_ns() - since_ns > _MENDING_NS_MAX

    def chore(self, work: Callable[[], None]) -> None:
        """Have the mender do this when nothing is to be mended: the anchor is its session, and nobody else's."""
        with self._changed:
            self._chore = work
            self._changed.notify_all()

    # ---- jobs ----

    def sign(
        self, jobs: Sequence[WorkerJob], deadline_ns: int = 0, attempt: p11.Attempt | None = None
    ) -> tuple[WorkerResult, ...]:
        """Every job done or failed; any number of threads may call. `deadline_ns` as of core.p11.Pool.sign.

        `attempt`: the desk has tried the only job, and this came of it.
        """
        results = [WorkerResult(b"", _UNKNOWN_KEY, 0, False)] * len(jobs)
        waiting = list(range(len(jobs)))
        refused: set[int] = set()
        while waiting:
            handles = self._handles
            waiting = [at for at in waiting if jobs[at].key in handles.keys]
            if attempt is not None:
                (generation, outcome), attempt = attempt, None
                outcomes = [outcome]
            else:
                generation = handles.generation
                asked = [_job(chosen(jobs[at], self._mechanisms), handles.keys[jobs[at].key]) for at in waiting]
                outcomes = self._pool.sign(asked, generation=generation, deadline_ns=deadline_ns)
            self._judge(generation, outcomes)
            again = []
            for at, outcome in zip(waiting, outcomes, strict=True):
                results[at] = _result(outcome)
                if outcome.may_have_signed or outcome.rv == p11.LATE or at in refused:
                    continue
                if outcome.session is not None:
                    refused.add(at)
                again.append(at)
            waiting = again if again and self._await_mended(deadline_ns) else []
        return tuple(results)

    def refresh(self, jobs: Sequence[WorkerJob], idle_ns: int, deadline_ns: int = 0) -> tuple[WorkerResult, ...]:
        """Use each session that is at rest and was idle for so long: one of the jobs on each, the first ones.

        A session that was lost meanwhile is mended, and its job done on any: each result is of one that was needed.
        """
        handles = self._handles
        asked = [_job(chosen(job, self._mechanisms), handles.keys[job.key]) for job in jobs]
        outcomes = self._pool.refresh(asked, idle_ns, generation=handles.generation, deadline_ns=deadline_ns)
        self._judge(handles.generation, outcomes)
        results = [_result(outcome) for outcome in outcomes]
        refused = [at for at, result in enumerate(results) if not result.tried]
        for at, result in zip(refused, self.sign([jobs[at] for at in refused], deadline_ns), strict=True):
            results[at] = result
        return tuple(results)

    def _judge(self, generation: int, outcomes: Sequence[p11.Outcome]) -> None:
        faults = [_FAULTS.get(one.rv, Fault.SESSION) for one in outcomes if one.rv and one.session is not None]
        if any(one.rv == 0 for one in outcomes):
            self._fruitless = 0
        if faults:
            with self._changed:
                if generation == self._handles.generation:  # what failed in an earlier one is mended already
                    self._fault = max(self._fault, *faults)
                    self._broken_since_ns = self._broken_since_ns or self._clock.monotonic_ns()
                    self._changed.notify_all()

    def _await_mended(self, deadline_ns: int) -> bool:
        """Whether there is a session to try on, before the deadline."""
        timeout = (deadline_ns - self._clock.monotonic_ns()) / _S if deadline_ns else None
        with self._changed:
            self._changed.wait_for(lambda: self.lost is not None or self._usable(), timeout)
            return self.lost is None and self._usable()

    def _usable(self) -> bool:
        return not self._fault and not self._looking and self._pool.living > 0

    def look(self) -> int:
        """What the token answers when it is asked how it is (C_GetTokenInfo, which needs no session): 0 is well."""
        try:
            p11.token_flags(self._token.slot_id)
        except TokenError as error:
            return error.rv
        return 0

    # ---- the mender ----

    def _mend_always(self) -> None:
        while self.lost is None:
            with self._changed:
                self._changed.wait_for(lambda: self._fault or self._chore, self._nap_s())
                self._looking = self._fault > Fault.NONE
                fault, self._fault = self._fault, Fault.NONE
                chore, self._chore = (None, self._chore) if fault else (self._chore, None)
            if chore is not None:
                chore()
            self._mend(fault)
            with self._changed:
                self._looking = False
                self._broken_since_ns = 0 if not self._fault else self._clock.monotonic_ns()
                self._changed.notify_all()
            self._tell()

    def _nap_s(self) -> float | None:
        if all(self._pool.alive()):
            return None
        return max(0.02, (self._fill_at_ns - self._clock.monotonic_ns()) / _S)

    def _mend(self, fault: Fault) -> None:
        if self._signed_at_desk != self.desk.signed:
            self._signed_at_desk, self._fruitless = self.desk.signed, 0
        self._fruitless += fault > Fault.NONE
        if self._fruitless > _FRUITLESS_MAX:
            self._lose(CannotStart("the token signs nothing, on new sessions either", reason="TOKEN_FAILED"))
            return
        for pause_s in (*_PAUSES_S, None):
            try:
                if fault:
                    fault = self._look(fault)
                self._fill()
            except (CannotStart, CoreError) as error:
                failure = error if isinstance(error, CannotStart) else CannotStart(error.message, reason="TOKEN_FAILED")
                if failure.reason in LASTING or pause_s is None:
                    self._lose(failure)
                    return
                self._failing = True
                self._tell()
                self._never.wait(pause_s)
            else:
                self._failing = False
                return

    def _look(self, fault: Fault) -> Fault:
        """Login and keys are there when this returns; what is left in doubt if it fails later."""
        stands = self._token.logged_in()
        if stands is None:
            self._reopen()
        if stands and fault is Fault.SESSION and self._handles.generation == self._pool.generation:
            self._looked()
            return Fault.NONE
        generation = self._pool.retire()
        if not stands or fault is Fault.LOGIN:
            self._login()
        keys = self._find_keys()
        with self._changed:
            self._handles = _Handles(generation, keys)
            self._tell_desk()
            self._fault = Fault.NONE  # of the generation before
        self._looked()
        return Fault.NONE

    def _looked(self) -> None:
        """Those who wait may go on as soon as there is a session; the rest are opened behind their backs."""
        with self._changed:
            self._looking = False
            self._changed.notify_all()

    def _reopen(self) -> None:
        """The anchor is gone, and all sessions with it as far as anybody can tell."""
        self._pool.retire()
        polls, pause_s = _LEAVING_POLLS
        for _ in range(polls):
            if len(self._pool.dead()) == self._pool.count:
                break
            self._never.wait(pause_s)
        for position in self._pool.dead():
            self._close(position)
        self._sessions = [None] * self._pool.count  # what a thread still has in hand: its number may be given out again
        self._token.reopen()

    def _fill(self, until_ns: int | None = None) -> None:
        """A session for each that failed, or as many as the token gives; CannotStart if there is none at all.

        At the start those that are not open after a second come later.
        """
        for position in self._pool.dead():
            self._close(position)
            try:
                session = self._token.open_session()
            except CannotStart:
                if not any(self._pool.alive()):
                    raise
                self._fill_at_ns = self._clock.monotonic_ns() + round(self._fill_wait_s * _S)
                self._fill_wait_s = min(2 * self._fill_wait_s, _FILL_S[1])
                return
            self._sessions[position] = session
            self._pool.replace(position, int(session.handle), generation=self._handles.generation)
            with self._changed:
                self._broken_since_ns = self._broken_since_ns and self._clock.monotonic_ns()  # slow is not stuck
                self._changed.notify_all()
            if until_ns is not None and self._clock.monotonic_ns() > until_ns:
                return
        self._fill_wait_s = _FILL_S[0]

    def _close(self, position: int) -> None:
        session, self._sessions[position] = self._sessions[position], None
        if session is not None:
            with contextlib.suppress(Exception):  # it is broken: whatever closing it answers changes nothing
                session.close()

    def _lose(self, failure: CannotStart) -> None:
        self._pool.retire()
        with self._changed:
            self.lost = failure
            self._changed.notify_all()

    # ---- the token ----

    def _login(self) -> None:
        if self._ask.pin_file:
            self._token.login(self._ask.pin_file, self._ask.tag_key, self._ask.rejected)

    def _tell_desk(self) -> None:
        handles = self._handles
        self.desk.keys(handles.generation, [handles.keys[key.name] for key in self._ask.keys])

    def _find_keys(self) -> dict[str, int]:
        return find_keys(self._token, self._ask.keys)


def _job(job: WorkerJob, handle: int) -> p11.Job:
    return p11.Job(handle, job.mechanism, job.parameter, job.size, job.data)


def _result(outcome: p11.Outcome) -> WorkerResult:
    return WorkerResult(outcome.signature, outcome.rv, outcome.elapsed_ns, outcome.may_have_signed)
