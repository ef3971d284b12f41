"""The state of governance: what the facts of the log add up to, and nothing else (fold.py adds them up).

`State` is plain data that encodes to one byte string, so that a snapshot file can be compared with its hash in the
log, and two folds with one another.

Guarantees: equal states have equal bytes; questions change nothing. Does not: read clocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from sealpress.errors import Precondition
from sealpress.governance import facts as f
from sealpress.governance.roles import Role
from sealpress.values import KeyClass
from sealpress.verify.anchors import TrustAnchors
from sealpress.verify.change import ChangeRecord

MINUTE_S = 60
OVER_KEPT = 10_000  # who names a job grant that has just expired hears that it did
UNDONE_KEPT = 10_000  # and who asks for a change what became of it
OF_TOKENS, TOKEN_S = "oidc:", 3_600  # names of those who come with one, and after what time none of then counts
UNDONE = frozenset({"rejected", "expired", "withdrawn", "void", "failed"})  # states of a change that had no effect
LONG = frozenset({"sign.release", "policy.change"})  # kinds whose requests can be megabytes
OFFICERS = "officers"  # the group of those who the anchors name
EVERY_LINE = "*"


class Identity(msgspec.Struct):
    """A person, machine or partner."""

    id: str
    kind: str
    names: tuple[str, ...]
    owner: str = ""
    backup_owner: str = ""
    environment: str = ""
    line: str = ""
    on_behalf_of: str = ""
    expires: int = 0
    state: str = "active"


class Credential(msgspec.Struct):
    """A key that a person approves with."""

    person: str
    fingerprint: str
    public: str
    application: str
    effective: int
    expires: int
    revoked: bool = False
    counter: int = 0  # highest seen


class Binding(msgspec.Struct):
    """A role of an identity on a line."""

    id: str
    identity: str
    role: Role
    line: str
    group: str
    not_after: int
    state: str = "active"

    def covers(self, line: str, now: int) -> bool:
        """Whether it counts for this line now; an empty line is meant for all."""
        return self.lasts(now) and self.line in (EVERY_LINE, line)

    def lasts(self, now: int) -> bool:
        """Whether it counts now, as long as its identity is active."""
        return self.state == "active" and (not self.not_after or now < self.not_after)


class Approval(msgspec.Struct, frozen=True):
    """One person's counted approval."""

    person: str
    credential: str
    statement: str
    signature: str
    groups: tuple[str, ...]
    expires: int  # of one that was taken back or ended by a stop: when that was
    state: str = "counted"


class Change(msgspec.Struct, frozen=True):
    """A change record and how far it has come. Of a long one that is over the request is let go: see `shed`."""

    record: ChangeRecord
    sha256: str
    seq: int
    state: str = "in_review"
    approvals: dict[str, Approval] = {}
    executor: str = ""  # the person
    reason: str = ""  # of the last move
    grant: str = ""  # that it brought

    @property
    def shed(self) -> bool:
        """Whether the log alone has its request, which can be megabytes."""
        return not self.record.request


class Key(msgspec.Struct):
    """A key's record; dates and caps are those of its proposal, or of a later extension."""

    proposed: f.KeyProposed
    state: str = "proposed"
    public_state: str = "unpublished"
    key_id: str = ""
    spki: str = ""
    software_token: bool = False
    origin: str = ""
    operators: dict[str, str] = {}  # stage → person (GR-12)
    releasers: tuple[str, ...] = ()  # who let releases go that it signs (GR-12)
    rotate_by: int = 0
    not_after: int = 0
    extended: bool = False
    suspended: int = 0  # time of its newest suspension
    since: int = 0  # earliest suspected compromise
    alerted: tuple[str, ...] = ()
    chain_sha256: str = ""

    @property
    def class_(self) -> KeyClass:
        """Of its line."""
        return self.proposed.class_

    @property
    def never_was(self) -> bool:
        """Rejected before there was a key: its id is free again."""
        return self.state == "rejected" and not self.key_id


class Grant(msgspec.Struct, frozen=True, gc=False):
    """A grant as issued, and whether it was ended. There is one for every job of every pipeline."""

    issued: f.GrantIssued
    state: Literal["active", "revoked", "expired"] = "active"
    passed: dict[str, str] = {}  # gate → person


def _job(issued: f.GrantIssued) -> str:
    return f"{issued.holder} {issued.line}"


class State(msgspec.Struct):
    """Everything that governance knows after the record `seq`."""

    seq: int = -1
    time: int = 0
    anchors: TrustAnchors | None = None
    policy: str = ""
    policy_sha256: str = ""
    scheduled: dict[str, f.PolicyScheduled] = {}  # by change
    identities: dict[str, Identity] = {}
    names: dict[str, str] = {}  # authenticated name → identity
    credentials: dict[str, Credential] = {}
    bindings: dict[str, Binding] = {}
    bindings_of: dict[str, list[str]] = {}  # identity → bindings
    issuers: dict[str, f.IssuerRegistered] = {}
    changes: dict[str, Change] = {}  # in order; but those without effect that are long over
    undone: dict[str, None] = {}  # changes that had no effect, the first one over first: about UNDONE_KEPT
    open_changes: dict[str, None] = {}  # not over yet
    keys: dict[str, Key] = {}
    active: dict[str, str] = {}  # line → key
    key_ids: dict[str, str] = {}  # SHA-256 of SPKI → key
    grants: dict[str, Grant] = {}  # in order; but job grants that are long over
    over: dict[str, None] = {}  # job grants that have expired, or of tokens, the first one first: about OVER_KEPT
    open_grants: dict[str, None] = {}
    ending: dict[int, dict[str, None]] = {}  # minute of not_after → open grants
    jobs: dict[str, str] = {}  # "<credential> <line>" → its newest job grant
    nonces: dict[str, int] = {}  # of counted approvals → their end
    shares: dict[str, f.SharesRecorded] = {}
    alerts: int = 0

    # ---- questions ----

    def job_of(self, holder: str, line: str) -> Grant | None:
        """The newest job grant of a credential on a line."""
        name = self.jobs.get(f"{holder} {line}")
        return self.grants[name] if name is not None else None

    def ends(self, found: Credential) -> int:
        """When a key counts no more: an officer's with the anchors that name it; 0: never."""
        anchors = self.anchors
        officers = anchors.officers if anchors is not None else ()
        if anchors is None or all(key.fingerprint != found.fingerprint for one in officers for key in one.keys):
            return found.expires
        return anchors.expires

    def roles(self, identity: str, line: str, now: int) -> set[Role]:
        """What an identity may be on a line now."""
        return {binding.role for binding in self.bindings_at(identity, line, now)}

    def acts(self, identity: Identity) -> bool:
        """Whether it is active, and so is he on whose behalf it acts (GR-33)."""
        principal = self.identities.get(identity.on_behalf_of) if identity.on_behalf_of else identity
        return identity.state == "active" and principal is not None and principal.state == "active"

    def end_of(self, identity: Identity) -> int:
        """When its enrolment is over, or that of him on whose behalf it acts; 0: never."""
        both = identity, self.identities.get(identity.on_behalf_of)
        return min((one.expires for one in both if one is not None and one.expires), default=0)

    def counts(self, identity: Identity, now: int) -> bool:
        """Whether it may act now."""
        return self.acts(identity) and not 0 < self.end_of(identity) <= now

    def bindings_at(self, identity: str, line: str, now: int) -> list[Binding]:
        """Its bindings that count for a line now; none while it may not act."""
        found = self.identities.get(identity)
        if found is None or not self.counts(found, now):
            return []
        return [b for id_ in self.bindings_of.get(identity, ()) if (b := self.bindings[id_]).covers(line, now)]

    def key_of(self, line: str) -> Key | None:
        """The line's active key."""
        name = self.active.get(line)
        return self.keys[name] if name is not None else None

    def over_at(self, now: int) -> Iterator[str]:
        """Open grants whose end has come."""
        for minute in sorted(minute for minute in self.ending if minute * MINUTE_S <= now):
            for name in self.ending[minute]:
                if now >= self.grants[name].issued.not_after:
                    yield name

    def change(self, change_id: str) -> Change:
        """A change; Precondition NO_SUCH_CHANGE."""
        found = self.changes.get(change_id)
        if found is None:
            raise Precondition(
                "there is no such change",
                reason="NO_SUCH_CHANGE",
                hint="`sealpress change list`; `sealpress log show` has those without effect that ended long ago, too",
            )
        return found

    # ---- grants, and the tables that follow from them ----

    def put(self, grant: Grant) -> None:
        """A grant that is newer than all others."""
        issued, name = grant.issued, grant.issued.grant
        self.grants[name] = grant
        if not issued.change_id:
            self.jobs[_job(issued)] = name
        elif issued.change_id in self.changes:
            self.changes[issued.change_id] = replace(self.changes[issued.change_id], grant=name)
        if grant.state == "active":
            self.open_grants[name] = None
            self.ending.setdefault(issued.not_after // MINUTE_S, {})[name] = None
        else:
            self._ended(grant)

    def end(self, grant: Grant) -> None:
        """One that was active, as it is now."""
        name, minute = grant.issued.grant, grant.issued.not_after // MINUTE_S
        self.grants[name] = grant
        del self.open_grants[name], self.ending[minute][name]
        if not self.ending[minute]:
            del self.ending[minute]
        self._ended(grant)
        self._forget()

    def restore(self, grants: Iterable[Grant]) -> None:
        """The grants of a state that was read, in order."""
        self.grants, self.open_grants, self.ending, self.jobs = {}, {}, {}, {}
        for grant in list(grants):
            self.put(grant)
        for change_id, change in self.changes.items():
            if change.state in UNDONE:  # a state of before has them without this table
                self.undone.setdefault(change_id)
        for change_id in self.undone:
            self.let_go(change_id)

    def undo(self, change_id: str) -> None:
        """A change is over and had no effect: who asks and takes it back again and again takes no memory for ever.

        What a token asked for stays while the token counts: each may ask once, also after a start.
        """
        self.let_go(change_id)
        self.undone[change_id] = None
        while len(self.undone) > UNDONE_KEPT:
            oldest = next(iter(self.undone))
            if self.time < self.changes[oldest].record.created + TOKEN_S:
                break
            del self.undone[oldest], self.changes[oldest]

    def let_go(self, change_id: str) -> None:
        """Of a change that is over: the log has its request, and thousands of digests are not kept for ever."""
        change = self.changes.get(change_id)
        if change is not None and change.record.kind in LONG:
            self.changes[change_id] = replace(change, record=replace(change.record, request=""))

    def _ended(self, grant: Grant) -> None:
        """Each job of a fleet has a grant, so what is over cannot be kept for ever: the log has it.

        That one was revoked is not forgotten as long as its job might ask for another: none may follow it. One that
        expired is to the next request as if it had not been. Those that people approved stay, without their digests.
        """
        issued = grant.issued
        self.grants[issued.grant] = replace(grant, issued=replace(issued, digests=()))
        if issued.change_id:
            self.let_go(issued.change_id)
        elif grant.state == "expired" or issued.identity.startswith(OF_TOKENS):
            self.over.setdefault(issued.grant)

    def _forget(self) -> None:
        """The oldest of those that are over, if there are too many of them."""
        while len(self.over) > OVER_KEPT:
            oldest = next(iter(self.over))
            gone = self.grants[oldest]
            if gone.state == "revoked" and self.time < gone.issued.not_before + TOKEN_S:
                break
            del self.over[oldest], self.grants[oldest]
            if self.jobs.get(_job(gone.issued)) == oldest:
                del self.jobs[_job(gone.issued)]


def encode(state: State) -> bytes:
    """The state as bytes: equal for equal histories. What follows from the grants is not among them."""
    return msgspec.msgpack.encode(without_tables(state))


def without_tables(state: State, **other: Any) -> State:
    """The same without what `restore` makes; `other` fields replace these."""
    return replace(state, open_grants={}, ending={}, jobs={}, **other)


def copy(state: State) -> State:
    """Another one to try facts on. Grants and changes are many and never changed in place: both have the same ones."""
    few = without_tables(state, grants={}, over={}, changes={}, undone={})
    other = msgspec.msgpack.decode(msgspec.msgpack.encode(few), type=State)
    other.grants, other.open_grants, other.jobs = dict(state.grants), dict(state.open_grants), dict(state.jobs)
    other.ending = {minute: dict(names) for minute, names in state.ending.items()}
    other.over, other.changes, other.undone = dict(state.over), dict(state.changes), dict(state.undone)
    return other
