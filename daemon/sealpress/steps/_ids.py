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


_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _CROCKFORD for second in _CROCKFORD]  # by ten bits
_SHIFTS = range(120, -1, -10)


def ulid_text(raw: bytes) -> str:
    """The 26 characters of a 16-byte ULID."""
    number = int.from_bytes(raw, "big")
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
