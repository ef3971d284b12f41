"""What governance has let go of because it is long and over, from the log: requests of releases, grants of jobs.

An id of either says when it was made, and near that moment the log is searched for its record (tlog/explain.py).

Guarantees: any thread may ask; nothing that was not recorded is told. Does not: know what was archived, or who may ask.
"""

from __future__ import annotations

from functools import lru_cache

from msgspec.structs import replace

from sealpress.governance import facts as f
from sealpress.governance.state import Change
from sealpress.tlog.explain import facts_about
from sealpress.tlog.reader import LogReader
from sealpress.verify.change import ChangeRecord

GRANTS_KEPT = 64
RECORDS_KEPT = 4  # megabytes each


class Recorded:
    """The governance log as a memory of what was."""

    def __init__(self, reader: LogReader) -> None:
        """Of the governance log."""
        self._reader = reader
        self._records = lru_cache(RECORDS_KEPT)(self._submitted)
        self.grant = lru_cache(GRANTS_KEPT)(self._issued)

    def change(self, found: Change) -> Change | None:
        """With its request, as it was submitted; None if that was archived."""
        if not found.shed:
            return found
        record = self._records(found.record.change_id)
        return replace(found, record=record) if record is not None else None

    def _submitted(self, change_id: str) -> ChangeRecord | None:
        for body in facts_about(self._reader, "change.submitted", change_id):
            fact = f.decode("change.submitted", body)
            if isinstance(fact, f.ChangeSubmitted) and fact.change.change_id == change_id:
                return fact.change
        return None

    def _issued(self, grant: str) -> f.GrantIssued | None:
        for body in facts_about(self._reader, "grant.issued", grant):
            fact = f.decode("grant.issued", body)
            if isinstance(fact, f.GrantIssued) and fact.grant == grant:
                return fact
        return None
