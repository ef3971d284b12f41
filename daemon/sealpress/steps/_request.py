"""What a request is to those around the steps: who asks, how far it came, what he is answered, and how he waits.

Guarantees: nothing here changes once it is made. Does not: know tickets, lines or the log's order.
"""

from __future__ import annotations

import enum
from typing import Protocol

import msgspec

from sealpress.errors import SealpressError
from sealpress.tlog.log import Log
from sealpress.tlog.record import Stored
from sealpress.values import Identity


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Who asks, from where, and until when he waits."""

    identity: Identity
    source: str  # address of the peer; recorded
    expires_ns: int = 0  # monotonic; 0: he waits for ever
    flaw: str = ""  # IDENTITY_AMBIGUOUS, CREDENTIAL_EXPIRED: why this identity counts for nothing


class Phase(enum.IntEnum):
    """How far a ticket came."""

    QUEUED = 1  # nothing is recorded
    COMMITTING = 2  # may or may not be in the log
    DURABLE = 3  # its leaves are in the log
    DONE = 4  # settled or failed; the outcome may still be on its way into the log


class Settled(msgspec.Struct, frozen=True, gc=False):
    """A signed act: all that any answer about it is made of."""

    log: Log
    act: Stored
    tree_size: int
    checkpoint: bytes = b""  # proof: signed note with the lines of the log and the line key
    signatures: tuple[bytes, ...] = ()  # direct: one for each leaf


class Waiter(Protocol):
    """Who waits for a ticket: a future, or what does without a turn of the loop for each answer."""

    def done(self) -> bool:
        """Whether he was told already, or waits no more."""
        ...

    def set_result(self, settled: Settled, /) -> None:
        """The answer."""
        ...

    def set_exception(self, error: SealpressError, /) -> None:
        """There is none."""
        ...
