"""Heads of a log: committed, signed by its key and a line's, cosigned by witnesses.

Guarantees: values, which never change. Does not: say which one is shown to whom (_ticket.py `LogState`, settle.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


class Head(msgspec.Struct, frozen=True):
    """A committed head."""

    size: int
    root: bytes
    time: int  # of the newest leaf, Unix seconds


class SignedHead(msgspec.Struct, frozen=True):
    """A head under the signatures of the log and one line."""

    size: int
    time: int  # T of the line's cosignature
    log_note: bytes  # text and the log's signature
    own_checkpoint: bytes  # the same and the line's
    checkpoint: bytes  # the same and those of witnesses, if they have cosigned it
    rv: int
    latency_us: int
    slot: str


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A head that the quorum of witnesses has cosigned, as the signer knows."""

    size: int
    text: bytes  # of the checkpoint
    cosignatures: bytes  # signature lines
