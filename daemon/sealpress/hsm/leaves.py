"""Leaves as the front end opens them to the guard: with all that it takes to build them again.

Does not: say what a leaf is (core/leaf.py), or believe it: the guard builds each anew.
"""

from __future__ import annotations

from dataclasses import dataclass

from sealpress.hsm import messages as m
from sealpress.verify.evidence import Evidence


@dataclass(frozen=True, slots=True)
class EventLeaf:
    """A new leaf that nobody signs, opened: its record hash and its time."""

    record: bytes
    time: int


@dataclass(frozen=True, slots=True)
class SignatureLeaf:
    """A new leaf of a line key, opened; `evidence` is a position in `Openings.evidence`."""

    key_id: bytes
    opening: bytes
    digest: bytes
    evidence: int


@dataclass(frozen=True, slots=True)
class Openings:
    """Every leaf of an advance, in order, and the approvals of those that are to be signed."""

    leaves: tuple[EventLeaf | SignatureLeaf, ...]
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class DirectItem:
    """One leaf of a direct line: opening (61 bytes), digest, index, inclusion path (hashes end to end)."""

    opening: bytes
    digest: bytes
    index: int
    path: bytes


def told_leaf(leaf: EventLeaf | SignatureLeaf) -> m.EventLeaf | m.SignatureLeaf:
    """As it is told to the guard."""
    if isinstance(leaf, EventLeaf):
        return m.EventLeaf(leaf.record, leaf.time)
    return m.SignatureLeaf(leaf.key_id, leaf.opening, leaf.digest, leaf.evidence)


def told_evidence(evidence: Evidence) -> m.Evidence:
    """As it is told to the guard."""
    approvals = tuple(m.Approval(statement, signature) for statement, signature in evidence.approvals)
    return m.Evidence(evidence.change, approvals)
