"""What one decision sees: the policy in force, keys and identities as of the last governance record before it.

Built from the state after each governance record that changes them and swapped whole; a request that was admitted under
an older one is decided again before its append.

Guarantees: a snapshot never changes. Does not: fold records (fold.py), hold grants or their uses (usage.py), or read
files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sealpress.governance import facts as f
from sealpress.governance.rules import LineRules, Policy
from sealpress.governance.state import EVERY_LINE, Key, State
from sealpress.values import Identity, KeyClass

FOREVER = 1 << 62
UNSEEN: frozenset[type[f.Fact]] = frozenset(
    {
        f.GrantIssued, f.GrantMoved, f.GatePassed, f.ChangeSubmitted, f.ChangeMoved, f.ApprovalCounted, f.ApprovalEnded,
        f.PolicyScheduled, f.CredentialEnrolled, f.CredentialRevoked, f.KeyCertified, f.SharesRecorded, f.AlertRaised,
        f.SnapshotTaken,
    }
)  # fmt: skip
"""Facts that change nothing here."""


@dataclass(frozen=True, slots=True)
class KeyView:
    """A line's active key."""

    key: str
    key_id: bytes
    not_before: int
    not_after: int
    max_signatures: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of governance; of a node without trust anchors only the policy."""

    policy: Policy
    governance_seq: int = 0  # of the last governance record that this decision saw
    governed: bool = False
    profile: str = ""
    keys: Mapping[str, KeyView] = field(default_factory=dict)  # by line
    good: frozenset[str] = frozenset()  # authenticated names of active identities
    bad: frozenset[str] = frozenset()  # ... of those that are enrolled and not active
    issuers: frozenset[str] = frozenset()
    ends: Mapping[str, int] = field(default_factory=dict)  # names that are good until then
    confined: Mapping[str, str] = field(default_factory=dict)  # names that ask for one line only (GR-56, 100)
    auditing: Mapping[str, int] = field(default_factory=dict)  # names with the role auditor, and until when; 0: always

    @property
    def body(self) -> bytes:
        """The policy file, as recorded."""
        return self.policy.body

    @property
    def sha256(self) -> bytes:
        """Of the policy file."""
        return self.policy.sha256

    @property
    def lines(self) -> dict[str, LineRules]:
        """The lines of the policy."""
        return self.policy.lines

    def knows(self, identity: Identity, line: str, now: int) -> bool:
        """Whether governance lets this name ask at all: enrolled, or of a registered issuer; test asks for neither."""
        if self._over(identity.id, now):
            return False
        if identity.id in self.confined and self.confined[identity.id] != line:
            return False
        if identity.issuer:
            return identity.issuer in self.issuers
        rules = self.policy.lines.get(line)
        return identity.id in self.good or (rules is not None and rules.class_ is KeyClass.TEST)

    def requestable(self, identity: Identity, now: int) -> list[str]:
        """The lines that he may ask for."""
        names = self.policy.requestable(identity)
        return [name for name in names if self.knows(identity, name, now)] if self.governed else names

    def may_audit(self, identity: str, now: int) -> bool:
        """Whether `identity` has the role of [audit], or is bound to the role auditor of every line now."""
        until = self.auditing.get(identity)
        bound = until is not None and (not until or now < until)
        return not self._over(identity, now) and (identity in self.policy.auditors or bound)

    def at(self, governance_seq: int) -> Snapshot:
        """The same, seen at a later governance record that changes nothing."""
        return replace(self, governance_seq=governance_seq)

    def _over(self, name: str, now: int) -> bool:
        """Whether this name was enrolled, and counts no more."""
        return name in self.bad or (name in self.ends and now >= self.ends[name])


def snapshot_of(state: State, policy: Policy) -> Snapshot:
    """What decisions see of this state."""
    assert state.anchors is not None
    good: set[str] = set()
    bad: set[str] = set()
    ends: dict[str, int] = {}
    confined: dict[str, str] = {}
    for identity in state.identities.values():
        (good if state.acts(identity) else bad).update(identity.names)
        if end := state.end_of(identity):
            ends.update(dict.fromkeys(identity.names, end))
        if identity.line:
            confined.update(dict.fromkeys(identity.names, identity.line))
    auditing = {
        name: binding.not_after
        for binding in sorted(state.bindings.values(), key=lambda one: one.not_after or FOREVER)
        if (binding.role, binding.line, binding.state) == ("auditor", EVERY_LINE, "active")
        and state.acts(state.identities[binding.identity])
        for name in state.identities[binding.identity].names
    }
    keys = {
        line: _key(name, state.keys[name])
        for line, name in state.active.items()
        if _signs(state.keys[name], policy.lines.get(line)) and state.keys[name].key_id not in policy.denied
    }
    return Snapshot(
        policy, state.seq, True, state.anchors.profile, keys, frozenset(good), frozenset(bad),
        frozenset(state.issuers), ends, confined, auditing,
    )  # fmt: skip


def _signs(key: Key, rules: LineRules | None) -> bool:
    """A line whose class or format became another needs another key: this one was issued for less, or for more."""
    made = key.proposed
    of_line = rules is not None and (made.class_, made.mode, made.format) == (rules.class_, rules.mode, rules.format)
    return key.state == "active" and of_line


def _key(name: str, key: Key) -> KeyView:
    proposed = key.proposed
    return KeyView(name, bytes.fromhex(key.key_id), proposed.not_before, key.not_after, proposed.max_signatures)
