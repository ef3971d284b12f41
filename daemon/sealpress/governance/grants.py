"""Grants: the bounded right to use a line, and the only one a pipeline ever has (GR-41, 43).

class test      the rule suffices, no grant is needed
class low       a job grant, issued by itself when a rule matches, until the token ends or an hour
class release   a change `sign.release` that approvers count for; then its gates
firmware, root  the same over exact digests; uses = digests; a releaser is always needed

Guarantees: nobody asks for a line without a rule; a job has one grant at a time, never renewed. Does not: issue what
takes approvals (releases.py), or count uses (usage.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from sealpress.errors import Malformed, NotPermitted, Precondition
from sealpress.governance import facts as f
from sealpress.governance import paths, proposals
from sealpress.governance.desk import Actor, Desk
from sealpress.governance.releases import HOUR_S, PROMOTE, QUORUM_CLASSES, TTL_S_MAX
from sealpress.governance.roles import Role
from sealpress.governance.rules import Rule
from sealpress.values import DigestAlgorithm, Identity, KeyClass
from sealpress.verify.change import ReleaseItem, ReleaseRequest, encode, manifest_sha256

TTL_S = 8 * HOUR_S
JOB_USES_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class GrantAsk:
    """What a pipeline asks for."""

    release_id: str
    line: str
    algorithm: str
    items: tuple[ReleaseItem, ...]
    ttl_s: int = 0  # 0: the class's default
    reason: str = ""
    ticket: str = ""
    security_version: int = 0


def request(desk: Desk, identity: Identity, ask: GrantAsk) -> tuple[str, list[f.Fact]]:
    """A grant at once (classes test and low), or the change that will bring it: (its id, facts)."""
    rule = matched(desk, identity, ask.line)
    rules = desk.rules(ask.line)
    if ask.ttl_s < 0:
        raise Malformed("a grant lasts some seconds", reason="BAD_REQUEST")
    ttl_s = min(ask.ttl_s or TTL_S, TTL_S_MAX[rules.class_], rule.ttl_s_max)
    if rules.class_ in (KeyClass.TEST, KeyClass.LOW):
        if rule.constraint != "any":
            _check_items(ask, rule)
            return job(desk, identity, ask.line, rule, ttl_s, ask)
        return job(desk, identity, ask.line, rule, ttl_s)
    _check_items(ask, rule)
    request_ = ReleaseRequest(
        release_id=ask.release_id,
        line=ask.line,
        identity=identity.id,
        rule=rule.id,
        algorithm=ask.algorithm,  # type: ignore[arg-type]  # checked by the struct when the record is decoded
        items=ask.items,
        manifest_sha256=manifest_sha256(ask.items),
        ttl_s=ttl_s,
        gates=gates_of(rules.class_, rule),
        security_version=ask.security_version,
    )
    creator = _creator(desk, identity)
    enrolled = desk.state.names.get(identity.id, "")
    kind = desk.state.identities[enrolled].kind if enrolled else "workload"
    actor = Actor(identity.id, enrolled, kind)
    if actor.person:
        desk.need(actor, ask.line, {Role.REQUESTER})
    texts = proposals.Texts(ask.reason or f"release {ask.release_id}", ticket=ask.ticket)
    asked = encode(request_).decode()
    record, found = proposals.submit(desk, actor, paths.kind_of("sign.release"), request_, asked, texts, creator)
    return record.change_id, found


def _creator(desk: Desk, identity: Identity) -> str:
    creator = creator_of(desk, identity)
    if creator and not desk.state.counts(desk.state.identities[creator], desk.now):
        raise Precondition(
            "the person who set this build off was stopped, or has left",
            reason="REQUESTER_GONE",
            hint="another person sets it off again",
        )
    return creator


def matched(desk: Desk, identity: Identity, line: str) -> Rule:
    """The rule under which the identity may ask for a grant; NotPermitted, the same for an unknown line."""
    match = desk.policy.match(identity, line) if desk.policy is not None and desk.knows(identity, line) else None
    if match is None or match.rule is None:
        raise NotPermitted("this identity may not request this key", hint="the policy's owner grants more")
    return match.rule


def _check_items(ask: GrantAsk, rule: Rule) -> None:
    digests = {item.digest for item in ask.items}
    if not digests:
        raise Malformed("a release names its digests", reason="DIGESTS_MISSING", hint="send the manifest's items")
    size = 2 * DigestAlgorithm.parse(ask.algorithm).size
    if len(digests) != len(ask.items) or any(len(digest) != size for digest in digests):
        raise Malformed(f"each digest is one {ask.algorithm}, and stands there once", reason="DIGEST_LENGTH")
    if rule.max_uses and len(digests) > rule.max_uses:
        raise Malformed("the release has more digests than one grant may have uses", reason="TOO_LARGE", hint="part it")


def job(
    desk: Desk, identity: Identity, line: str, rule: Rule, ttl_s: int = HOUR_S, named: GrantAsk | None = None
) -> tuple[str, list[f.Fact]]:
    """The grant of one job (its id, facts): bound to its token or certificate, over when that is.

    A credential has one at a time on a line: no second one renews it, and none follows one that was revoked. It is for
    any artifact, or where the rule demands more for the digests of `named`.
    """
    holder = identity.credential.hex()
    former = desk.state.job_of(holder, line)
    if former is not None and former.state == "revoked":
        raise Precondition(
            "the grant of this job was revoked", reason="GRANT_REVOKED", hint="a new job comes with a new credential"
        )
    if former is not None and former.state == "active" and desk.now < former.issued.not_after:
        return former.issued.grant, []
    if desk.now >= identity.not_after:  # some clocks are late, so it may still ask; what it got would be over at once
        raise NotPermitted(
            "this credential is over, and so would be its grant",
            reason="TOKEN_EXPIRED" if identity.token_sha256 else "CREDENTIAL_EXPIRED",
            hint="begin again with a fresh one",
        )
    issued = f.GrantIssued(
        grant=desk.new_id(), change_id="", identity=identity.id, holder=holder, line=line, rule=rule.id,
        policy_sha256=desk.state.policy_sha256, constraint="exact-digests" if named else "any",
        algorithm=named.algorithm if named else "", digests=tuple(item.digest for item in named.items) if named else (),
        manifest_sha256=manifest_sha256(named.items) if named else "", name="", version="",
        max_uses=len(named.items) if named else rule.max_uses or JOB_USES_MAX, not_before=desk.now,
        not_after=min(desk.now + min(ttl_s, rule.ttl_s_max), identity.not_after), gates=(),
        security_version=named.security_version if named else 0,
    )  # fmt: skip
    return issued.grant, [issued]


def gates_of(class_: KeyClass, rule: Rule) -> tuple[str, ...]:
    """The checkpoints of a release; firmware and root always have a releaser."""
    gates = tuple(rule.gates)
    return gates if PROMOTE in gates or class_ not in QUORUM_CLASSES else (*gates, PROMOTE)


def creator_of(desk: Desk, identity: Identity) -> str:
    """The person who triggered the build, as far as can be told (GR-30): who asks, or the token's actor.

    Of an agent, whichever of the two it is, that is its principal (GR-33).
    """
    actor = dict(identity.claims).get("actor_id") or dict(identity.claims).get("user_id")
    for name in (identity.id, f"actor:{identity.issuer}#{actor}"):
        found = desk.state.identities.get(desk.state.names.get(name, ""))
        person = "" if found is None else found.id if found.kind == "person" else found.on_behalf_of
        if person:
            return person
    return ""
