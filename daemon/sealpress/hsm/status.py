"""What the guard tells of itself: marks, keys and slots. Does not: judge it, or keep it (link.py)."""

from __future__ import annotations

from dataclasses import dataclass

from sealpress.hsm import messages as m


@dataclass(frozen=True, slots=True)
class Mark:
    """The last head that the guard accepted of a log."""

    size: int
    root: bytes
    time: int  # of the newest leaf, Unix seconds
    key_id: bytes = b""  # of the log's key


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """A key as the guard sees it; `reason` says why it is not ready."""

    key_id: bytes
    line: str
    log: str  # origin
    slot: str
    ready: bool
    reason: str
    last_size: int
    last_time: int
    held: bool = False  # signs only what witnesses have cosigned


@dataclass(frozen=True, slots=True)
class SlotStatus:
    """A slot and its worker; `state`: closed, open, half_open or quarantined (breaker.py)."""

    up: bool
    sessions: int
    operations: int
    restarts: int
    reason: str
    state: str = "closed"
    opened: int = 0  # how often its breaker opened
    waiting: int = 0  # operations
    latency_us: int = 0  # of one operation
    strangers: int = 0  # keys on its token that may sign and that nobody configured (GR-01)
    differing: int = 0  # keys of which its token counts other operations than the signer does (GR-07)
    unmanaged: tuple[str, ...] | None = None  # the strangers, the first of them by name; None: nobody has looked yet
    counts: dict[str, str] | None = None  # of the differing keys: what the token says; None: nobody has looked yet
    limit: int = 0  # so many of its sessions work at a time, as the token bears; 0: nobody has asked yet


@dataclass(frozen=True, slots=True)
class SignerStatus:
    """Everything that the guard tells."""

    version: str
    logs: dict[str, Mark]  # by origin
    keys: dict[str, KeyStatus]  # by id of the configuration's [key.<id>]
    slots: dict[str, SlotStatus]
    refused: dict[str, int]  # how often the guard refused, by reason


def status_of(view: m.StatusView) -> SignerStatus:
    """As it came over the socket."""
    return SignerStatus(
        view.version,
        {origin: Mark(mark.size, mark.root, mark.time, mark.key_id) for origin, mark in view.logs.items()},
        {
            name: KeyStatus(k.key_id, k.line, k.log, k.slot, k.ready, k.reason, k.last_size, k.last_time, k.held)
            for name, k in view.keys.items()
        },
        {
            name: SlotStatus(
                s.up,
                s.sessions,
                s.operations,
                s.restarts,
                s.reason,
                s.state,
                s.opened,
                s.waiting,
                s.latency_us,
                s.strangers,
                s.differing,
                s.unmanaged,
                s.counts,
                s.limit,
            )
            for name, s in view.slots.items()
        },
        view.refused,
    )
