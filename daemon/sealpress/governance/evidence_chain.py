"""Why a recorded request was allowed: from its record to the grant, the change, and the persons who approved.

Guarantees: plain values only, ready for JSON; nothing is told that stands in no record. Does not: verify (whoever has
the records does, offline: verify/), read the log by itself, or ask who may see it (rpc).
"""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from sealpress.governance import changes as c
from sealpress.governance.facts import GrantIssued
from sealpress.governance.state import Change, Grant, Key, State

DIGESTS_MAX = 1_000  # told of one grant
_DONE = ("executed", "closed")  # states of a change that had its effect


class Event(Protocol):
    """What is needed of a recorded request or refusal."""

    @property
    def identity(self) -> str:
        """The authenticated name."""
        ...

    @property
    def line(self) -> str:
        """The line asked for."""
        ...

    @property
    def policy_sha256(self) -> bytes:
        """The policy that decided."""
        ...

    @property
    def governance_seq(self) -> int:
        """The last governance record that the decision saw."""
        ...


class Recorded(Protocol):
    """Finds in the log what the state has let go of (steps/_recorded.py)."""

    def grant(self, grant: str, /) -> GrantIssued | None:
        """As it was issued."""
        ...

    def change(self, found: Change, /) -> Change | None:
        """With its request."""
        ...


def chain(state: State, event: Event, recorded: Recorded) -> dict[str, Any]:
    """Everything that the event rests on, as far as governance knows it, with the states of today."""
    told: dict[str, Any] = {
        "profile": state.anchors.profile if state.anchors is not None else "",
        "deployment": state.anchors.deployment if state.anchors is not None else "",
        "identity": _identity(state, event.identity, getattr(event, "issuer", "")),
        "policy": _policy(state, event.policy_sha256.hex(), event.governance_seq),
    }
    key = state.keys.get(state.key_ids.get(getattr(event, "key_id", b"").hex(), ""))
    if key is not None:
        told["key"] = _key(state, key)
    grant = _grant(state, getattr(event, "grant_id", ""), recorded)
    if grant is not None:
        issued = _plain(grant.issued)
        issued["digests"] = issued["digests"][:DIGESTS_MAX]
        told["grant"] = issued | {"state": grant.state, "passed": dict(grant.passed)}
    change = state.changes.get(getattr(event, "change_id", ""))
    if change is not None:
        told["change"] = of_change(recorded.change(change) or change)
    return told


def _grant(state: State, name: str, recorded: Recorded) -> Grant | None:
    known = state.grants.get(name)
    if not name or (known is not None and (known.state == "active" or known.issued.constraint != "exact-digests")):
        return known
    issued = recorded.grant(name)
    if issued is None:
        return known
    return replace(known, issued=issued) if known is not None else Grant(issued, "expired")


def of_change(change: Change) -> dict[str, Any]:
    """A change with its approvals: what was signed, by whom, with which key."""
    record = _plain(change.record)
    approvals = [
        {
            "person": given.person, "credential": given.credential, "groups": list(given.groups), "state": given.state,
            "statement": given.statement, "signature": given.signature,
        }
        for given in list(change.approvals.values())
    ]  # fmt: skip
    return record | {
        "sha256": change.sha256, "state": change.state, "executor": change.executor, "approvals": approvals,
    }  # fmt: skip


def _identity(state: State, name: str, issuer: str) -> dict[str, Any]:
    found = state.identities.get(state.names.get(name, ""))
    if found is not None:
        return {
            "id": found.id, "kind": found.kind, "state": found.state, "owner": found.owner,
            "on_behalf_of": found.on_behalf_of,
        }  # fmt: skip
    registered = state.issuers.get(issuer)
    if registered is not None:
        return {"issuer": registered.issuer, "kind": registered.kind, "change_id": registered.change_id}
    return {}


def _policy(state: State, sha256: str, seen: int) -> dict[str, Any]:
    """The change that brought this policy before a decision that saw so many records, and who approved it.

    The same text may be proposed again, and come into force again by other hands: what came later, or never was
    approved, is not what the decision rested on.
    """
    told: dict[str, Any] = {"sha256": sha256, "in_force": state.policy_sha256 == sha256}
    for change in reversed(list(state.changes.values())):  # another thread may read
        if change.record.kind != "policy.change" or change.seq > seen or change.state not in _DONE:
            continue
        asked = c.request_of(change.record)
        assert isinstance(asked, c.PolicyRequest)
        if hashlib.sha256(asked.policy.encode()).hexdigest() == sha256:
            return told | {"change_id": change.record.change_id, "approved_by": _persons(change)}
    return told


def _key(state: State, key: Key) -> dict[str, Any]:
    proposed = key.proposed
    told: dict[str, Any] = {
        "key": proposed.key, "key_id": key.key_id, "class": str(proposed.class_), "state": key.state,
        "public_state": key.public_state, "origin": key.origin, "software_token": key.software_token,
        "operators": dict(key.operators), "change_id": proposed.change_id, "not_after": key.not_after,
    }  # fmt: skip
    change = state.changes.get(proposed.change_id)
    return told | {"approved_by": _persons(change)} if change is not None else told


def _persons(change: Change) -> list[str]:
    return sorted(given.person for given in list(change.approvals.values()) if given.state in ("counted", "consumed"))


def _plain(value: msgspec.Struct) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(value)
    return found
