"""Events of what decides: governance, trust anchors, policies."""

from __future__ import annotations

from sealpress.telemetry.reporter import Reporter


class Rules(Reporter):
    """Which rules are in force."""

    def governed(self, profile: str, seq: int, facts: int, *, from_file: bool) -> None:
        """The governance log is folded; `facts` were read one by one."""
        self._log("info", "governed", profile=profile, seq=seq, facts=facts, from_file=from_file)

    def anchors_adopted(self, version: int) -> None:
        """A TrustAnchors document is in force."""
        self._log("info", "anchors_adopted", version=version)

    def anchors_refused(self, message: str) -> None:
        """A changed TrustAnchors document is wrong: the old one stays in force."""
        self._log("error", "anchors_refused", message=message)

    def tick_failed(self, reason: str, message: str) -> None:
        """What was due by time, or a snapshot of governance, could not be written; it is tried again."""
        self._log("error", "tick_failed", reason=reason, message=message)

    def policy_adopted(self, sha256: str, governance_seq: int, lines: int) -> None:
        """A policy is in force."""
        self._log("info", "policy_adopted", sha256=sha256, governance_seq=governance_seq, lines=lines)

    def policy_refused(self, message: str) -> None:
        """A changed policy is wrong: the old one stays in force."""
        self._log("error", "policy_refused", message=message)
