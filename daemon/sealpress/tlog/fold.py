"""What a start must know of older records: the last head, the last policy, the last governance record."""

from __future__ import annotations

from sealpress.tlog.entry import GovernanceEvent, OutcomeEvent, RefusalEvent, RequestEvent
from sealpress.tlog.record import Record


class Fold:
    """What a start must know and a few records tell: of each segment the last ones of each kind, in order."""

    def __init__(self, governance: bool) -> None:
        """Nothing seen yet."""
        self.sealed_size = 0
        self.governance_seq: int | None = None
        self.policy_sha256: bytes | None = None
        self._governance = governance

    @property
    def complete(self) -> bool:
        """Whether older records could add anything to the facts."""
        known = self.governance_seq is not None and self.policy_sha256 is not None
        return self.sealed_size > 0 and (known or not self._governance)

    def record(self, record: Record) -> None:
        """Take in the next record."""
        event = record.head.event
        if isinstance(event, RequestEvent | RefusalEvent):
            self._saw(event.governance_seq, event.policy_sha256)
        elif isinstance(event, OutcomeEvent):
            if event.checkpoint or any(event.signatures):
                self.sealed_size = max(self.sealed_size, event.tree_size)
        elif isinstance(event, GovernanceEvent):
            self.governance_seq = record.seq
            if event.kind == "policy":
                self.policy_sha256 = event.sha256

    def older(self, fold: Fold) -> None:
        """Take from a fold of older records what is still missing here."""
        self.sealed_size = max(self.sealed_size, fold.sealed_size)
        if self.governance_seq is None:
            self.governance_seq = fold.governance_seq
        if self.policy_sha256 is None:
            self.policy_sha256 = fold.policy_sha256

    def _saw(self, governance_seq: int, policy_sha256: bytes) -> None:
        """A decision names the last governance record that it saw; in the governance log that is one of this log."""
        if self._governance and (self.governance_seq is None or governance_seq >= self.governance_seq):
            self.governance_seq = governance_seq
            self.policy_sha256 = policy_sha256
