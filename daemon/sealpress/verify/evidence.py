"""What proves to a stranger that people approved something: the change record and their signed statements.

Does not: verify; anchors.py and approval.py do.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Evidence:
    """A change record's exact bytes, and of each approval the statement and its armored SSH signature."""

    change: bytes
    approvals: tuple[tuple[bytes, str], ...]

    @property
    def size(self) -> int:
        """About how many bytes it takes in a message."""
        return len(self.change) + sum(len(statement) + len(signature) + 16 for statement, signature in self.approvals)


def no_evidence(change_id: str) -> Evidence | None:
    """Where nobody keeps any: an ungoverned node."""
    del change_id
    return None
