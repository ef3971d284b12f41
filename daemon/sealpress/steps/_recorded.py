"""What governance has let go of because it is long and over, from the log: requests of releases, grants of jobs.

A change says which record it came with; the id of a grant says when it was made, and near that moment the log is
searched (tlog/explain.py).

Guarantees: any thread may ask; nothing that was not recorded is told. Does not: know what was archived, or who may ask.
"""

from __future__ import annotations

from functools import lru_cache

from msgspec.structs import replace

from sealpress.governance import facts as f
from sealpress.governance.state import Change
from sealpress.tlog.explain import facts_about
from sealpress.tlog.reader import LogReader
from sealpress.values import RecordType
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
        record = self._records(found.seq)
        return replace(found, record=record) if record is not None else None

    def _submitted(self, seq: int) -> ChangeRecord | None:
        record = next(self._reader.of_types((RecordType.GOVERNANCE,), self._reader.since_seq(seq)), None)
        if record is None or record.seq != seq:
            return None
        fact = f.decode(record.head.event.kind, record.head.event.body)
        return fact.change if isinstance(fact, f.ChangeSubmitted) else None

    def _issued(self, grant: str) -> f.GrantIssued | None:
        for body in facts_about(self._reader, "grant.issued", grant):
            fact = f.decode("grant.issued", body)
            if isinstance(fact, f.GrantIssued) and fact.grant == grant:
                return fact
        return None
