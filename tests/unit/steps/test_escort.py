"""Do the signers hear of every stop, and of the word that ends one, however often and in whatever order they come?"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from sealpress.errors import NotPermitted, Refusal, Unavailable
from sealpress.governance import facts as f
from sealpress.steps._escort import FOR_GOOD, STOPPED, Escort

ANCHORED, OTHER = "fw", "app"  # keys: the trust anchors name the approvers of the first one's line


class Guard:
    """What signers were told; they answer with what is in `fails` first, and not before they are `open`."""

    def __init__(self) -> None:
        """Well."""
        self.told: list[str] = []
        self.fails: list[Refusal] = []
        self.open = asyncio.Event()
        self.open.set()

    async def stop(self, key: str) -> None:
        """No more signatures with this key."""
        await self._hear(f"stop {key}")

    async def lift(self, key: str, evidence: Any) -> None:
        """End a stop."""
        await self._hear(f"lift {key} by {evidence}")

    async def _hear(self, what: str) -> None:
        self.told.append(what)
        await self.open.wait()
        if self.fails:
            raise self.fails.pop()


class Town:
    """Two keys, and an escort."""

    def __init__(self) -> None:
        """Both sign."""
        self.guard = Guard()
        lines = (SimpleNamespace(state="active", proposed=SimpleNamespace(line=name)) for name in (ANCHORED, OTHER))
        keys = dict(zip((ANCHORED, OTHER), lines, strict=True))
        self.state = SimpleNamespace(keys=keys, anchors=SimpleNamespace(lines={ANCHORED}), changes={})
        self.lines = [SimpleNamespace(key=name, durable=[]) for name in keys]
        shared: Any = SimpleNamespace(
            keys=self.lines, evidence=lambda change_id: change_id or None,
            telemetry=SimpleNamespace(guard_told=lambda *_, **__: None),
        )  # fmt: skip
        self.escort = Escort(shared, self.guard, lambda: self.state)  # type: ignore[arg-type, return-value]

    def moved(self, key: str, verb: str, change_id: str = "") -> None:
        """A fact in force."""
        state = {"deactivate": "deactivated", "suspend": "suspended", "mark_compromised": "compromised"}
        self.state.keys[key].state = state.get(verb, "active")
        self.escort.told([f.KeyMoved(key=key, verb=verb, actor="", person="", reason="why", change_id=change_id)])

    async def go(self) -> list[str]:
        """What the signers are told now."""
        before = len(self.guard.told)
        await self.escort.go()
        return self.guard.told[before:]


@pytest.mark.parametrize("verb", ["suspend", "deactivate", "mark_compromised", "activate"])
async def test_a_signer_hears_of_the_stops_that_it_could_lift_and_of_those_for_good(verb: str) -> None:
    """A suspension that no signer can judge the end of would never end there; what ended for good ends everywhere."""
    town = Town()
    for key in (ANCHORED, OTHER):
        town.moved(key, verb)
    stops = {"suspend": [ANCHORED], "activate": []}.get(verb, [ANCHORED, OTHER])

    assert [f"stop {key}" for key in stops] == await town.go()
    assert [] == await town.go()


async def test_a_signer_that_is_away_hears_of_it_later_and_one_that_refuses_is_not_asked_again() -> None:
    """A stop is owed until it is done, a lift too; who does not hold the key will not hold it in a second either."""
    town = Town()
    town.moved(ANCHORED, "suspend")
    town.guard.fails = [Unavailable("away"), Unavailable("away")]
    assert [1, 1, 1, 0] == [len(await town.go()) for _ in range(4)]
    town.moved(ANCHORED, "resume", "c-1")
    town.guard.fails = [NotPermitted("who?", reason="UNKNOWN_KEY"), Unavailable("away")]
    assert [["lift fw by c-1"], ["lift fw by c-1"], []] == [await town.go() for _ in range(3)]


async def test_a_stop_and_its_end_that_come_together_are_told_one_after_the_other() -> None:
    """What comes while a signer is being told is neither lost nor told beside it."""
    town = Town()
    for first, then, told in (("suspend", "resume", "lift fw by c-1"), ("resume", "suspend", "stop fw")):
        town.guard.open.clear()
        town.moved(ANCHORED, first, "c-0")
        telling = asyncio.create_task(town.go())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        town.moved(ANCHORED, then, "c-1")
        assert [] == await town.go()
        town.guard.open.set()
        assert 1 == len(await telling)
        assert [told] == await town.go()


async def test_a_key_with_a_successor_is_stopped_when_its_last_leaves_are_sealed() -> None:
    """They count as signed; a key that is compromised is stopped at once, whatever waits for it."""
    town = Town()
    town.lines[1].durable.append("leaves")
    town.moved(OTHER, "deactivate")
    assert [] == await town.go()
    town.lines[1].durable.clear()
    assert ["stop app"] == await town.go()
    town.lines[1].durable.append("leaves")
    town.moved(OTHER, "mark_compromised")
    assert ["stop app"] == await town.go()


@pytest.mark.parametrize("state", ["active", "suspended", "pre_active", *sorted(FOR_GOOD)])
@pytest.mark.parametrize("reason", ["", STOPPED, None])
async def test_a_start_makes_up_what_a_former_process_left_undone(state: str, reason: str | None) -> None:
    """A key stopped in the log that signs at its signer is stopped there; the stop of one that resumed is ended."""
    town = Town()
    resumed = SimpleNamespace(kind="key.resume", request=f'{{"key":"{ANCHORED}"}}')
    for number, done in enumerate(("executed", "closed", "rejected"), 1):
        town.state.changes[f"c-{number}"] = SimpleNamespace(record=resumed, state=done)
    for key in town.state.keys.values():
        key.state = state
    town.escort.meet({} if reason is None else {ANCHORED: reason, OTHER: reason})
    told = list[str]()
    if reason == "" and state in FOR_GOOD:
        told = ["stop fw", "stop app"]
    elif reason == "" and state == "suspended":
        told = ["stop fw"]
    elif reason == STOPPED and state == "active":
        told = ["lift fw by c-2"]

    assert told == await town.go()
