"""Takes stops of keys to the signer that holds them, and the quorum's word when one may sign again.

What is in the log decides here at once; the signer hears of it right after, and again every second until it has done
it. A suspension goes to the signer only for lines whose approvers the trust anchors name: for others it could never be
lifted there, since a signer believes nobody but these. A key with a successor is stopped when its last leaves are
sealed; what ended for good is stopped for every line.

Guarantees: never raises, never forgets a stop while the process runs, and finds those that a former process left undone
(`meet`). Does not: judge evidence (the guard does), or decide what stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from sealpress.errors import Refusal, Unavailable
from sealpress.governance import facts as f
from sealpress.governance.facts import Fact
from sealpress.governance.state import Key, State
from sealpress.steps._shared import Shared
from sealpress.verify.evidence import Evidence

STOPPED = "STOPPED"
FOR_GOOD = frozenset({"deactivated", "compromised", "destroyed", "destroyed_compromised"})


class Guard(Protocol):
    """What the office needs of the signers."""

    async def stop(self, key: str) -> None:
        """No more signatures with this key."""
        ...

    async def lift(self, key: str, evidence: Evidence) -> None:
        """End a stop."""
        ...


class Escort:
    """What the signers have still to be told."""

    def __init__(self, shared: Shared, guard: Guard, state: Callable[[], State]) -> None:
        """`state`: of governance, now."""
        self._shared = shared
        self._guard = guard
        self._state = state
        self._owed: dict[str, Evidence | None] = {}  # by key; None: a stop
        self._telling: set[str] = set()  # keys whose signers are being told

    def told(self, facts: Sequence[Fact]) -> None:
        """These facts are in force."""
        for fact in facts:
            if not isinstance(fact, f.KeyMoved):
                continue
            if fact.verb in ("deactivate", "mark_compromised") or (fact.verb == "suspend" and self._anchored(fact.key)):
                self._owed[fact.key] = None
            elif fact.verb == "resume" and self._anchored(fact.key):
                self._owe_lift(fact.key, fact.change_id)

    def meet(self, statuses: dict[str, str]) -> None:
        """At start: `statuses` says per key why its guard does not sign with it; make up what differs."""
        for name, key in self._state().keys.items():
            reason = statuses.get(name)
            if reason is None:
                continue
            stopped = key.state in FOR_GOOD or (key.state == "suspended" and self._anchored(name))
            if stopped and reason != STOPPED:
                self._owed[name] = None
            elif key.state == "active" and reason == STOPPED:
                self._owe_lift(name, self._resumed_by(name))

    async def go(self) -> None:
        """Tell what is owed, together: a signer that hangs holds up nobody else's. What it cannot take stays owed."""
        await asyncio.gather(*map(self._settle, list(self._owed)))

    async def _settle(self, key: str) -> None:
        if key in self._telling or key not in self._owed or self._must_wait(key):
            return
        evidence = self._owed[key]
        self._telling.add(key)
        try:
            done = await self._tell(key, evidence)
        finally:
            self._telling.discard(key)
        if done and self._owed.get(key, evidence) is evidence:
            self._owed.pop(key, None)

    async def _tell(self, key: str, evidence: Evidence | None) -> bool:
        telemetry = self._shared.telemetry
        try:
            if evidence is None:
                await self._guard.stop(key)
            else:
                await self._guard.lift(key, evidence)
        except Unavailable as error:
            telemetry.guard_told(key, lifted=evidence is not None, reason=error.reason)
            return False
        except Refusal as error:  # it does not hold the key, or does not believe the evidence: asking again is no use
            telemetry.guard_told(key, lifted=evidence is not None, reason=error.reason)
            return True
        telemetry.guard_told(key, lifted=evidence is not None, reason="")
        return True

    def _must_wait(self, key: str) -> bool:
        """A successor took over: leaves that are durable under the old key are sealed first."""
        found = self._state().keys.get(key)
        if found is None or found.state != "deactivated":
            return False
        return any(line.key == key and line.durable for line in self._shared.keys)

    def _owe_lift(self, key: str, change_id: str) -> None:
        evidence = self._shared.evidence(change_id)
        if evidence is not None:
            self._owed[key] = evidence

    def _resumed_by(self, key: str) -> str:
        """The newest change that let it sign again."""
        for change_id, change in reversed(self._state().changes.items()):
            if change.record.kind == "key.resume" and change.state in ("executed", "closed") and (
                f'"key":"{key}"' in change.record.request
            ):  # fmt: skip
                return change_id
        return ""

    def _anchored(self, name: str) -> bool:
        """Whether the signer itself can judge who lets this key sign again."""
        key: Key | None = self._state().keys.get(name)
        anchors = self._state().anchors
        return key is not None and anchors is not None and key.proposed.line in anchors.lines
