"""How the node is, as an auditor and a custodian may know it: what its slots, and its logs, tell."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import Protocol

from sealpress.steps._ticket import LogState
from sealpress.v1 import audit_pb2 as pb


class Slot(Protocol):
    """A token slot as the signer tells it."""

    @property
    def up(self) -> bool:
        """Whether it signs."""
        ...

    @property
    def sessions(self) -> int:
        """Sessions in use."""
        ...

    @property
    def operations(self) -> int:
        """Signatures made since the signer started."""
        ...

    @property
    def restarts(self) -> int:
        """Workers replaced."""
        ...

    @property
    def state(self) -> str:
        """Of its circuit breaker."""
        ...

    @property
    def opened(self) -> int:
        """How often that opened."""
        ...

    @property
    def waiting(self) -> int:
        """Operations that wait or are under way."""
        ...

    @property
    def latency_us(self) -> int:
        """Of one operation."""
        ...

    @property
    def reason(self) -> str:
        """Why it is down."""
        ...

    @property
    def unmanaged(self) -> Sequence[str] | None:
        """Keys on its token that may sign and that nobody configured; None while nobody has looked."""
        ...

    @property
    def counts(self) -> Mapping[str, str] | None:
        """Keys whose operations its token counts otherwise, and what it says; None while nobody has looked."""
        ...


class Node(Protocol):
    """What the daemon tells of itself beyond the flow."""

    name: str

    async def slots(self) -> Mapping[str, Slot] | None:
        """The signer's slots by name, as of now; None while it is away."""
        ...

    def certificate_not_after(self) -> int:
        """End of the server's certificate, Unix seconds."""
        ...


def log_status(log: LogState, journal: int) -> pb.LogStatus:
    """One log, with the bytes of its journal; in a thread."""
    directory = log.log.settings.directory
    return pb.LogStatus(
        log=log.id,
        origin=log.log.origin,
        tree_size=log.log.size,
        sealed_size=log.sealed_size,
        queue=len(log.queue),
        free_bytes=shutil.disk_usage(directory).free,
        journal_bytes=journal,
    )
