"""What every rule of governance is given: the state, the policy in force, the time, fresh ids; and who acts.

Guarantees: an actor is an enrolled, active identity, found by the name that the transport authenticated. Does not:
change anything: rules return facts, the daemon appends them, the fold applies them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sealpress.errors import Malformed, NotPermitted, Precondition
from sealpress.governance.roles import Role, conflict, strict
from sealpress.governance.rules import LineRules, Policy
from sealpress.governance.state import EVERY_LINE, Binding, Key, State
from sealpress.values import Identity, KeyClass
from sealpress.verify.anchors import TrustAnchors


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts."""

    name: str  # as authenticated
    identity: str
    kind: str

    @property
    def person(self) -> str:
        """The person; empty for a machine."""
        return self.identity if self.kind == "person" else ""


@dataclass(slots=True)
class Desk:
    """One moment of governance."""

    state: State
    policy: Policy | None
    now: int  # Unix seconds
    new_id: Callable[[], str]  # ULIDs

    @property
    def anchors(self) -> TrustAnchors:
        """In force; Precondition NOT_GOVERNED before genesis."""
        if self.state.anchors is None:
            raise Precondition("this node has no trust anchors yet", reason="NOT_GOVERNED", hint="adopt them first")
        return self.state.anchors

    def actor(self, name: str) -> Actor:
        """The identity behind an authenticated name; NotPermitted if it is unknown, suspended or over."""
        identity = self.state.identities.get(self.state.names.get(name, ""))
        if identity is None or not self.state.counts(identity, self.now):
            raise NotPermitted("this identity has no role here", hint="an access administrator enrols identities")
        return Actor(name, identity.id, identity.kind)

    def rules(self, line: str) -> LineRules:
        """The policy's rules of a line; Precondition NO_SUCH_LINE."""
        found = self.policy.lines.get(line) if self.policy is not None else None
        if found is None:
            raise Precondition(
                f"the policy in force knows no line {line}", reason="NO_SUCH_LINE", hint="propose a policy that has it"
            )
        return found

    def class_of(self, line: str) -> KeyClass | None:
        """The class of a line, if the policy knows it."""
        found = self.policy.lines.get(line) if self.policy is not None else None
        return found.class_ if found is not None else None

    def key(self, name: str, line: str) -> Key:
        """A key of this line; Precondition NO_SUCH_KEY."""
        key = self.state.keys.get(name)
        if key is None or key.proposed.line != line:
            raise Precondition(f"line {line} has no key {name}", reason="NO_SUCH_KEY", hint="`sealpress key list`")
        return key

    def bindings(self, identity: str, line: str, roles: Iterable[Role]) -> list[Binding]:
        """The identity's bindings to one of these roles, in force now for this line; none if its roles conflict."""
        held = self.state.bindings_at(identity, line, self.now)
        if clash(held, self.policy) is not None:
            return []
        wanted = set(roles)
        return [binding for binding in held if binding.role in wanted]

    def knows(self, identity: Identity, line: str) -> bool:
        """Whether it may ask for anything at all, as Snapshot.knows says."""
        enrolled = self.state.identities.get(self.state.names.get(identity.id, ""))
        counts = enrolled is None or self.state.counts(enrolled, self.now)
        if not counts or (enrolled is not None and enrolled.line not in ("", line)):
            return False
        if identity.issuer:
            return identity.issuer in self.state.issuers
        return enrolled is not None or self.class_of(line) is KeyClass.TEST

    def need(self, actor: Actor, line: str, roles: Iterable[Role]) -> None:
        """NotPermitted unless the actor holds one of these roles on the line, or on all."""
        if not self.bindings(actor.identity, line, roles):
            raise NotPermitted(
                "this identity does not hold the role that the act needs",
                reason="NOT_PERMITTED",
                hint="`sealpress access roles` shows yours; an access administrator proposes bindings",
            )


def clash(bindings: Iterable[Binding], policy: Policy | None) -> tuple[Role, Role, str] | None:
    """Two roles that no one may hold together, and the line on which these bindings would join them.

    What is bound to every line is so on lines to come, too: there the matrix holds whatever their classes are.
    """
    roles: dict[str, set[Role]] = {}
    for binding in bindings:
        roles.setdefault(binding.line, set()).add(binding.role)
    everywhere = roles.pop(EVERY_LINE, set())
    lines = policy.lines if policy is not None else {}
    for line, held in (EVERY_LINE, set[Role]()), *roles.items():
        if line == EVERY_LINE or (line in lines and strict(lines[line].class_)):
            found = conflict(everywhere | held)
            if found is not None:
                return *found, line
    return None


def person_of(actor: Actor, act: str) -> str:
    """The person who acts; NotPermitted for machines and agents (GR-33)."""
    if not actor.person:
        raise NotPermitted(
            f"only a person may {act}", reason="PERSON_REQUIRED", hint="machines and agents may ask only"
        )
    return actor.person


def check_owners(desk: Desk, *owners: str) -> None:
    """Malformed OWNER_UNKNOWN unless each is an active person."""
    for owner in owners:
        if not is_person(desk, owner):
            raise Malformed(f"{owner or 'nobody'} is no active person", reason="OWNER_UNKNOWN", hint="name two persons")


def is_person(desk: Desk, id_: str) -> bool:
    """Whether this is an active person."""
    known = desk.state.identities.get(id_)
    return known is not None and known.kind == "person" and desk.state.counts(known, desk.now)
