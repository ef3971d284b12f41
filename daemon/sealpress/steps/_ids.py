"""Ids of events: ULIDs, 48 bits of milliseconds and 80 random bits.

Guarantees: two ids differ, whoever makes them; they sort by the millisecond. Does not: draw randomness.
"""

from __future__ import annotations

ID_BYTES = 10  # random ones of an id
_MILLISECONDS = 1_000_000


def id_begin(now_ns: int) -> bytes:
    """What all ids of a moment begin with; ID_BYTES random bytes follow."""
    return (now_ns // _MILLISECONDS).to_bytes(6, "big")


def new_event_id(now_ns: int, entropy: bytes) -> bytes:
    """A whole one, of ID_BYTES random bytes."""
    return id_begin(now_ns) + entropy
