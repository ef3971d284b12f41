"""A node whose token fails: every function that signing needs, every answer it may give, once, in a burst, for good.

A case disturbs the token of a running node while callers sign, on a proof and on a direct line. What it demands does
not depend on the fault: whatever is answered verifies or may be asked again; nobody waits beyond his deadline; once the
fault is over the node signs again without help; and no session is left behind. `make hsm-matrix` runs all cases, the
suite a sample.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from kit.node import DIRECT, PROOF_P256, Node
from kit.shim import ALWAYS, ONCE, Kind, Shim, answer, burst, nth
from sealpress.client import AsyncClient, Signed
from sealpress.errors import Busy, OutcomeUnknown, TimedOut, TransportError, Unavailable

CODES = {
    "HOST_MEMORY": 0x2,
    "GENERAL_ERROR": 0x5,
    "FUNCTION_FAILED": 0x6,
    "DEVICE_ERROR": 0x30,
    "DEVICE_MEMORY": 0x31,
    "DEVICE_REMOVED": 0x32,
    "KEY_HANDLE_INVALID": 0x60,
    "OBJECT_HANDLE_INVALID": 0x82,
    "OPERATION_ACTIVE": 0x90,
    "SESSION_CLOSED": 0xB0,
    "SESSION_HANDLE_INVALID": 0xB3,
    "TOKEN_NOT_PRESENT": 0xE0,
    "USER_NOT_LOGGED_IN": 0x101,
    "CRYPTOKI_NOT_INITIALIZED": 0x190,
}
# The first four are called only to come back from a loss, so there is one: all sessions of the slot are closed.
COMING_BACK = ("C_GetSessionInfo", "C_OpenSession", "C_Login", "C_FindObjectsInit")
FUNCTIONS = (*COMING_BACK, "C_SignInit", "C_Sign")
WHEN = {"once": ONCE, "burst": burst(5), "persistent": ALWAYS}

SESSIONS = 3
CALLERS = 4
DEADLINE_S = 1.0
FAULT_S = 0.3
BACK_S = 10.0
SETTINGS = {
    "signer": {"worker_backoff_ms": 50, "worker_backoff_ms_max": 1_000},
    "slot": {"soft": {"sessions": SESSIONS, "deadline_ms": 800}},
}


@dataclass(frozen=True)
class Case:
    """One fault."""

    code: str
    function: str
    when: str

    def __str__(self) -> str:
        """For the report."""
        return f"{self.function}-{self.code}-{self.when}"


def cases() -> list[Case]:
    """All of them, or a sample with a fixed seed."""
    every = [Case(*parts) for parts in itertools.product(CODES, FUNCTIONS, WHEN)]
    return random.Random(6).sample(every, int(os.environ.get("SEALPRESS_HSM_CASES", "60")))


@pytest.fixture(scope="module")
def disturbed() -> Iterator[Node]:
    """One node for all cases: what a case leaves behind, the next one finds."""
    with Node(shim=True, settings=SETTINGS) as node:
        yield node


class Callers:
    """Several at a time, on both lines; every answer is judged."""

    def __init__(self, client: AsyncClient) -> None:
        """The client checks what it gets: a wrong signature is its error Invalid, and fails the test."""
        self._client = client
        self._number = itertools.count()
        self.signed = 0
        self.refused: list[str] = []
        self.waited_s_max = 0.0

    async def ask(self, line: str) -> Signed | None:
        """One request; None if it may be asked again."""
        digest = hashlib.sha256(f"{os.urandom(8)!r}".encode()).digest()
        began = time.monotonic()
        try:
            return await self._client.sign(digest, line=line)
        except (Busy, OutcomeUnknown, TimedOut, TransportError, Unavailable) as error:
            self.refused.append(error.reason)
            return None
        finally:
            self.waited_s_max = max(self.waited_s_max, time.monotonic() - began)

    async def go_on(self, over: Callable[[], bool]) -> None:
        """Ask without a pause until it is over."""

        async def one(line: str) -> None:
            while not over():
                if await self.ask(line) is not None:
                    self.signed += 1
                else:
                    await asyncio.sleep(0.01)

        await asyncio.gather(*(one((PROOF_P256, DIRECT)[number % 2]) for number in range(CALLERS)))

    async def back(self) -> float:
        """Seconds until both lines have signed."""
        began = time.monotonic()
        for line in (PROOF_P256, DIRECT):
            while await self.ask(line) is None:
                assert time.monotonic() - began < BACK_S, self.refused[-5:]
                await asyncio.sleep(0.02)
        return time.monotonic() - began


async def settled(shim: Shim) -> None:
    """The pool is whole: the anchor and every session, none more."""
    until = time.monotonic() + BACK_S
    while shim.sessions_open != SESSIONS + 1:
        assert time.monotonic() < until, shim.sessions_open
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("case", cases(), ids=str)
async def test_a_fault_passes(disturbed: Node, case: Case) -> None:
    """No wrong signature, no caller kept waiting, no session lost, and the service is back when the fault is over."""
    shim = disturbed.shim
    async with disturbed.aclient(attempts_max=1, timeout_s=DEADLINE_S) as client:
        callers = Callers(client)
        await callers.back()
        await settled(shim)
        callers.refused.clear()
        rule = shim.inject(case.function, answer(CODES[case.code]), WHEN[case.when])
        if case.function in COMING_BACK:
            shim.inject("C_SignInit", Kind.CLOSE_SESSIONS, ONCE)
        until = time.monotonic() + FAULT_S
        await callers.go_on(lambda: time.monotonic() > until)
        met = rule.met
        shim.clear()
        back_s = await callers.back()
        await settled(shim)

        refused = len(callers.refused)
        print(f"{case}: met {met}, signed {callers.signed}, refused {refused}, back after {back_s:.2f} s")  # noqa: T201
        assert met > 0
        assert callers.waited_s_max < DEADLINE_S + 0.1


async def test_a_login_lost_under_load_makes_one_login(disturbed: Node) -> None:
    """Of a node at work: one C_Login, and what is refused meanwhile may be asked again."""
    shim = disturbed.shim
    async with disturbed.aclient(attempts_max=1, timeout_s=5 * DEADLINE_S) as client:
        callers = Callers(client)
        await callers.back()
        await settled(shim)
        logins = shim["C_Login"]
        for fault in (Kind.LOGOUT, Kind.CLOSE_SESSIONS, answer(CODES["USER_NOT_LOGGED_IN"])):
            signed, until = callers.signed, time.monotonic() + FAULT_S
            rule = shim.inject("C_SignInit", fault, nth(5))
            await callers.go_on(lambda: time.monotonic() > until and rule.met)  # noqa: B023 - it is over when this returns
            await settled(shim)
            logins += 1
            assert shim["C_Login"] == logins
            assert callers.signed > signed
        shim.clear()
