"""May this identity have these digests signed by this line, now? The one question that every request asks, twice.

Order: identity → issuer → rule → what the artifact must be → the line's key → the grant → room. The answer names what
it rests on (rule, grant, change, pipeline verdict), for the record; a refusal tells its code, never the rule.

Guarantees: default deny; the same snapshot, ledger, request and second give the same answer (L7); nothing here waits,
reads a clock or allocates for a request that is refused on its identity. Does not: spend: `Ledger.take` does, right
before the append.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain

import msgspec

from sealpress.errors import Busy, Malformed, NotPermitted, Precondition, Refusal
from sealpress.governance.open_grants import GrantView, OpenGrants
from sealpress.governance.rules import Field, Match, Rule
from sealpress.governance.snapshot import KeyView, Snapshot
from sealpress.values import Identity, KeyClass, SignAsk

MINUTE_S = 60
RETRY_MS = 5_000
Admitted = tuple[Match, Rule]  # what the policy says of an identity on a line, and the rule that admits its request
QUORUM_CLASSES = frozenset({KeyClass.FIRMWARE, KeyClass.ROOT})


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What a permitted request rests on. A struct, since one is made for each question."""

    rule: str
    rate: int = 0  # per minute, of the rule; 0: none
    grant: str = ""
    change: str = ""  # that brought the grant
    verdict: str = ""  # of the expected pipeline (GR-23)
    fields: tuple[Field, ...] = ()  # of the rule: what it expects, and what is presented
    key: str = ""  # id of the governed key
    automatic: bool = False  # class low without a job grant: issue one, then ask again


class _Minute:
    """How often a rule was used in the last minute, second by second."""

    __slots__ = ("_seconds", "_total")

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, int]] = deque()
        self._total = 0

    def add(self, now: int, count: int) -> None:
        if self._seconds and self._seconds[-1][0] >= now:
            now, before = self._seconds.pop()
            self._seconds.append((now, before + count))
        else:
            self._seconds.append((now, count))
        self._total += count

    def at(self, now: int) -> int:
        while self._seconds and self._seconds[0][0] <= now - MINUTE_S:
            self._total -= self._seconds.popleft()[1]
        return self._total


@dataclass(slots=True)
class Ledger:
    """The open grants, and how often grants and keys were used.

    Uses are counted from REQUEST records, ahead of them by what is being committed.
    """

    grants: dict[str, int] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    open: OpenGrants = field(default_factory=OpenGrants)
    _rates: dict[tuple[str, str], _Minute] = field(default_factory=dict)

    def take(self, line: str, decision: Decision, count: int, now: int) -> None:
        """These uses are being appended; give them back if they are not."""
        if decision.grant:
            self.grants[decision.grant] = self.grants.get(decision.grant, 0) + count
        if decision.key:
            self.keys[decision.key] = self.keys.get(decision.key, 0) + count
        if decision.rate:
            self._rates.setdefault((line, decision.rule), _Minute()).add(now, count)

    def give_back(self, grant: str, key: str, count: int) -> None:
        """The leaves were not appended, or lapsed (DESIGN L2)."""
        if grant in self.grants:
            self.grants[grant] -= count
        if key in self.keys:
            self.keys[key] -= count

    def rate(self, line: str, rule: str, now: int) -> int:
        """Uses of a rule in the last minute."""
        spent = self._rates.get((line, rule))
        return spent.at(now) if spent is not None else 0

    def forget(self, grant: str) -> None:
        """The grant is over: nobody asks how often it was used."""
        self.grants.pop(grant, None)


def decide(
    snapshot: Snapshot, ledger: Ledger, identity: Identity, ask: SignAsk, now: int, found: Admitted | None = None
) -> Decision:
    """What the request rests on; NotPermitted, Malformed, Precondition or Busy if it may not be. `found` by `again`."""
    match, rule = found if found is not None else _admitted(snapshot, identity, ask, now)
    rate, count = rule.max_per_minute, ask.count
    if 0 < rate < count:
        raise Malformed(
            f"{count} digests are more than the line's policy lets this identity have signed in a whole minute",
            reason="TOO_LARGE", hint="part it into several requests; the rule's owner knows its max_per_minute",
        )  # fmt: skip
    if rate and ledger.rate(ask.line, rule.id, now) + count > rate:
        raise Busy(
            "more than this identity may have signed in a minute", reason="RATE_EXCEEDED", hint="come back later",
            retry_after_ms=RETRY_MS,
        )  # fmt: skip
    if not snapshot.governed:
        return Decision(rule.id, rate, verdict=match.verdict, fields=match.fields_of(rule))
    key = _key(snapshot, ledger, ask.line, count, now)
    class_ = snapshot.policy.lines[ask.line].class_
    fields = match.fields_of(rule)
    if class_ is KeyClass.TEST and not ask.grant_id:
        return Decision(rule.id, rate, verdict=match.verdict, fields=fields, key=key.key)
    grant, refusal = _grant(ledger, identity, ask, rule, class_, now)
    if grant is None:
        # A job has one grant at a time: no other follows one that is used up, or does not cover this.
        automatic = class_ is KeyClass.LOW and rule.constraint == "any" and not ask.grant_id
        if automatic and (refusal is None or refusal.reason == "GRANT_EXPIRED"):
            return Decision(rule.id, rate, verdict=match.verdict, fields=fields, key=key.key, automatic=True)
        raise refusal or _grant_required(class_)
    return Decision(rule.id, rate, grant.grant, grant.change, match.verdict, fields, key.key)


def room(snapshot: Snapshot, ledger: Ledger, decision: Decision, line: str, count: int, now: int) -> bool:
    """Whether the uses that a decision of this second and snapshot rests on are still there."""
    if decision.rate and ledger.rate(line, decision.rule, now) + count > decision.rate:
        return False
    if decision.key and ledger.keys.get(decision.key, 0) + count > snapshot.keys[line].max_signatures:
        return False
    grant = decision.grant
    if not grant:
        return True
    found = ledger.open.get(grant)
    return found is not None and ledger.grants.get(grant, 0) + count <= found.max_uses


def again(snapshot: Snapshot, identity: Identity, ask: SignAsk, now: int) -> Admitted:
    """May a request that is known already be asked again? As `decide`, without room and grant: nothing new is spent."""
    found = _admitted(snapshot, identity, ask, now)
    if snapshot.governed and ask.line not in snapshot.keys:
        raise _no_key()
    return found


def _admitted(snapshot: Snapshot, identity: Identity, ask: SignAsk, now: int) -> Admitted:
    match = permitted(snapshot, identity, ask.line, now)
    rule, why = match.admit(ask, now)
    if rule is None:
        raise _not_admitted(why)
    return match, rule


def permitted(snapshot: Snapshot, identity: Identity, line: str, now: int) -> Match:
    """The rule that matches the identity on this line; one answer for an unknown line and a line without right."""
    if snapshot.governed and not snapshot.knows(identity, line, now):
        raise _denied()
    match = snapshot.policy.match(identity, line)
    if match.rule is None:
        raise _denied()
    return match


def _denied() -> NotPermitted:
    return NotPermitted(
        "this identity may not request this key",
        hint="ListKeys, in Python `client.keys()`, names those that it may request; the policy's owner grants more",
    )


_ADMITTED = {
    "ALGORITHM_NOT_ALLOWED": "GetKey names the digest algorithms of the line",
    "ARTIFACT_NOT_ALLOWED": "say the artifact's name, version, size and type as they are; the line's owner knows which",
    "OUTSIDE_CALENDAR": "ask again when the line's calendar is open; its owner knows when",
}  # never what the rule says (GR-22)


def _not_admitted(why: str) -> NotPermitted:
    return NotPermitted(
        "the rules of this line do not allow this artifact, or not now", reason=why, hint=_ADMITTED.get(why, "")
    )


def _no_key() -> Precondition:
    return Precondition("the line has no key that may sign now", reason="KEY_NOT_ACTIVE", hint="GetKey shows its state")


def _key(snapshot: Snapshot, ledger: Ledger, line: str, count: int, now: int) -> KeyView:
    key = snapshot.keys.get(line)
    if key is None:
        raise _no_key()
    if not key.not_before <= now < key.not_after:
        raise Precondition(
            "the key's time is over, or has not come", reason="KEY_EXPIRED", hint="the line's owner rotates it"
        )
    if ledger.keys.get(key.key, 0) + count > key.max_signatures:
        raise Precondition(
            "the key has made as many signatures as it may", reason="KEY_CAP", hint="the owner rotates it"
        )
    return key


def _grant(
    ledger: Ledger, identity: Identity, ask: SignAsk, rule: Rule, class_: KeyClass, now: int
) -> tuple[GrantView | None, Refusal | None]:
    """A grant that covers the request, or why the nearest does not."""
    if ask.grant_id:
        named = ledger.open.get(ask.grant_id)
        if named is None or named.identity != identity.id or named.line != ask.line:
            return None, NotPermitted(
                "there is no such grant for this identity and key", reason="GRANT_UNKNOWN",
                hint="ask as who requested it, with its grant_id and for its key; GetGrant shows both",
            )  # fmt: skip
        found: Iterable[GrantView] = (named,)
    else:
        found = ledger.open.whose(identity.id, ask.line, identity.credential)
        if identity.credential:
            found = chain(found, ledger.open.whose(identity.id, ask.line, b""))
    refusal: Refusal | None = None
    for grant in found:
        why = _misses(grant, class_, ledger, identity, ask, rule, now)
        if why is None:
            return grant, None
        if refusal is None or refusal.reason != "GRANT_EXHAUSTED":
            refusal = why
    return None, refusal


def _misses(
    grant: GrantView, class_: KeyClass, ledger: Ledger, identity: Identity, ask: SignAsk, rule: Rule, now: int
) -> Refusal | None:
    if not grant.not_before <= now < grant.not_after:
        return Precondition("the grant is over", reason="GRANT_EXPIRED", hint="request a new one")
    if grant.holder and grant.holder != identity.credential:
        return NotPermitted(
            "the grant is bound to another credential", reason="GRANT_HOLDER",
            hint="leave grant_id out: a job has its own",
        )  # fmt: skip
    if grant.waits:
        return Precondition(
            "the release waits for a person", reason="HELD", hint="ask again when it was released",
            metadata={"grant_id": grant.grant, "change_id": grant.change, "gate": grant.waits},
        )  # fmt: skip
    if ledger.grants.get(grant.grant, 0) + ask.count > grant.max_uses:
        return Precondition("the grant is used up", reason="GRANT_EXHAUSTED", hint="request a new one")
    # A job's grant may be of another rule of the line, which demands less.
    if not grant.digests and (class_ in QUORUM_CLASSES or (not grant.change and rule.constraint != "any")):
        return _grant_required(class_)
    if not grant.covers(ask):
        return NotPermitted(
            "the grant does not name these digests", reason="GRANT_MISMATCH", hint="it covers what was approved"
        )
    return None


def _grant_required(class_: KeyClass) -> Precondition:
    if class_ in QUORUM_CLASSES:
        return Precondition(
            "this key signs exact digests that a quorum approved",
            reason="QUORUM_REQUIRED",
            hint="RequestGrant, `sealpress grant request`, with its digests; persons approve; then use the grant_id",
        )
    return Precondition(
        "this key signs under a grant only",
        reason="GRANT_REQUIRED",
        hint="RequestGrant, `sealpress grant request`, with the release's digests; then ask with the grant_id",
    )
