"""The signer and its slots as the daemon sees them: what it may ask of them now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TextIO

from prometheus_client import Gauge

from sealpress.ports import Clock
from sealpress.telemetry.reporter import Reporter
from sealpress.telemetry.series import Numbers

SLOT_STATES = ("closed", "half_open", "open", "quarantined")


class SlotSeen(Protocol):
    """A slot as the signer tells of it (hsm.status.SlotStatus)."""

    @property
    def up(self) -> bool:
        """Whether it can sign."""
        ...

    @property
    def state(self) -> str:
        """Of its breaker: closed, open, half_open or quarantined."""
        ...

    @property
    def reason(self) -> str:
        """Why it is not as it should be."""
        ...

    @property
    def sessions(self) -> int:
        """How many may be used."""
        ...

    @property
    def limit(self) -> int:
        """How many of them work at a time, as the token bears."""
        ...

    @property
    def restarts(self) -> int:
        """Workers after the first."""
        ...

    @property
    def opened(self) -> int:
        """How often its breaker opened."""
        ...

    @property
    def strangers(self) -> int:
        """Keys on its token that may sign and that nobody configured."""
        ...

    @property
    def differing(self) -> int:
        """Keys of which its token counts other operations than the signer does."""
        ...

    @property
    def unmanaged(self) -> Sequence[str] | None:
        """The strangers by name; None while nobody has looked at the token."""
        ...

    @property
    def counts(self) -> Mapping[str, str] | None:
        """Of the differing keys: what the token says; None while nobody has looked at it."""
        ...


class Slots(Reporter):
    """The signer, its slots, and which keys are ready."""

    def __init__(self, clock: Clock, stream: TextIO | None = None) -> None:
        """As of Reporter."""
        super().__init__(clock, stream)
        self._signer_told: tuple[bool, dict[str, bool]] | None = None
        r = self.registry
        self._signer = Gauge("sealpress_signer_up", "1 while the signer is connected", registry=r)
        self._ready = Numbers("gauge", "sealpress_key_ready", "1 while the key can sign", "line")
        self._slot_up = Gauge("sealpress_slot_up", "1 while the slot can sign", ["slot"], registry=r)
        self._slot_state = Gauge("sealpress_slot_state", "1 at the breaker's state", ["slot", "state"], registry=r)
        self._slot_sessions = Gauge("sealpress_slot_sessions", "Sessions that sign", ["slot"], registry=r)
        self._slot_limit = Gauge("sealpress_slot_sessions_limit", "Of them, at a time", ["slot"], registry=r)
        self._slot_restarts = Gauge("sealpress_slot_restarts", "Workers replaced", ["slot"], registry=r)
        self._slot_opened = Gauge("sealpress_slot_opened", "Times that the breaker opened", ["slot"], registry=r)
        self._slot_strangers = Gauge(
            "sealpress_slot_unmanaged_keys", "Keys that may sign and that nobody configured", ["slot"], registry=r
        )
        self._slot_differing = Gauge(
            "sealpress_slot_differing_keys", "Keys whose operations the token counts otherwise", ["slot"], registry=r
        )

    def signer(self, up: bool, ready: dict[str, bool]) -> None:
        """The signer came or went, or keys became ready or not; `ready` is by line."""
        self._signer.set(up)
        self._ready.of.update(ready)
        if (up, ready) != self._signer_told:  # much else of slots is told as often
            self._signer_told = up, ready
            self._log("info" if up else "warning", "signer", up=up, ready=sum(ready.values()), keys=len(ready))

    def slots(self, slots: Mapping[str, SlotSeen]) -> None:
        """What the signer said of its slots; it tells of each change. The signer itself writes the lines about them."""
        for name, slot in slots.items():
            self._slot_up.labels(name).set(slot.up)
            self._slot_sessions.labels(name).set(slot.sessions)
            self._slot_limit.labels(name).set(slot.limit)
            self._slot_restarts.labels(name).set(slot.restarts)
            self._slot_opened.labels(name).set(slot.opened)
            self._slot_strangers.labels(name).set(slot.strangers)
            self._slot_differing.labels(name).set(slot.differing)
            for state in SLOT_STATES:
                self._slot_state.labels(name, state).set(state == slot.state)

    def guard_told(self, key: str, *, lifted: bool, reason: str) -> None:
        """The signer was told that a key is stopped, or may sign again; `reason`: why it did not do it."""
        self._log("warning" if reason else "info", "guard_told", key=key, lifted=lifted, reason=reason)

    def key_unusable(self, key: str, message: str) -> None:
        """A key of the configuration is not the one that governance knows: nothing is signed with it."""
        self._log("error", "key_unusable", key=key, message=message)
