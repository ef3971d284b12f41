"""The grants that are not over by a record, as decisions look for them: by id, or by whom they are for.

There may be as many as jobs that run: each fact changes what it is about and nothing else.

Guarantees: after `follow` of every fact the same as `of` the state. Does not: count uses, or know the hour (usage.py).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from sealpress.governance import facts as f
from sealpress.governance.state import Grant, State
from sealpress.values import SignAsk


class GrantView(msgspec.Struct, frozen=True, gc=False):
    """A grant that is not over by a record."""

    grant: str
    change: str
    identity: str
    line: str
    holder: bytes
    digests: frozenset[bytes]  # empty: not bound to digests
    algorithm: str
    name: str
    version: str
    max_uses: int
    not_before: int
    not_after: int
    waits: str  # the first gate that nobody has passed yet
    security_version: int = 0  # that the leaves of these digests carry

    def covers(self, ask: SignAsk) -> bool:
        """Whether every digest of the request is one that the grant names, with the counter that was approved."""
        if self.name and (ask.artifact.name, ask.artifact.version) != (self.name, self.version):
            return False
        if not self.digests:
            return True
        if self.security_version != ask.security_version:
            return False
        size = ask.algorithm.size  # no two algorithms have digests of one length
        if len(ask.digests) == size:
            return ask.digests in self.digests
        return all(ask.digests[at : at + size] in self.digests for at in range(0, len(ask.digests), size))


Whose = tuple[str, str, bytes]  # identity, line, and the credential that it is bound to (empty: none)


class OpenGrants:
    """A table of them."""

    def __init__(self) -> None:
        """None yet."""
        self._views: dict[str, GrantView] = {}
        self._whose: dict[Whose, dict[str, GrantView]] = {}

    @classmethod
    def of(cls, state: State) -> OpenGrants:
        """Those of a state."""
        made = cls()
        for name in state.open_grants:
            made._put(_view(state.grants[name]))
        return made

    def follow(self, fact: f.Fact, state: State) -> None:
        """Take in a fact that was folded into this state."""
        if isinstance(fact, f.GrantMoved):
            self._end(fact.grant)
        elif isinstance(fact, f.GrantIssued | f.GatePassed) and fact.grant in state.open_grants:
            self._put(_view(state.grants[fact.grant]))

    def get(self, grant: str) -> GrantView | None:
        """By its id."""
        return self._views.get(grant)

    def whose(self, identity: str, line: str, holder: bytes) -> Iterable[GrantView]:
        """All of an identity on a line that are bound to this credential, the oldest first."""
        found = self._whose.get((identity, line, holder))
        return found.values() if found is not None else ()

    def _put(self, view: GrantView) -> None:
        self._views[view.grant] = view
        self._whose.setdefault((view.identity, view.line, view.holder), {})[view.grant] = view

    def _end(self, grant: str) -> None:
        view = self._views.pop(grant)
        whose = view.identity, view.line, view.holder
        del self._whose[whose][grant]
        if not self._whose[whose]:
            del self._whose[whose]


def _view(grant: Grant) -> GrantView:
    issued = grant.issued
    waits = next((gate for gate in issued.gates if gate not in grant.passed), "")
    return GrantView(
        issued.grant, issued.change_id, issued.identity, issued.line, bytes.fromhex(issued.holder),
        frozenset(bytes.fromhex(digest) for digest in issued.digests), issued.algorithm, issued.name, issued.version,
        issued.max_uses, issued.not_before, issued.not_after, waits, issued.security_version,
    )  # fmt: skip
