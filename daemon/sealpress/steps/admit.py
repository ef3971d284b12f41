"""Step 1: may this caller have these digests signed by this line, now?

Order of the questions: is the identity good, is the request id known, may it (rule, artifact, key, grant: usage.py),
does the veto object, can the line sign now, is there room. Nothing is appended before all are answered; a refusal for
lack of right, or of something that must happen first, is appended itself (`_refusals.py`).

Guarantees: unknown line and line without right get the same answer; the same id with the same fields is admitted again
and never makes a second leaf unless the first lapsed. Does not: check the shape of a request (rpc/convert.py did),
spend a grant (commit.py does), or wait.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from functools import lru_cache

from sealpress.core import leaf
from sealpress.errors import Busy, Conflict, NotPermitted, OutcomeUnknown, Precondition, Refusal, Unavailable
from sealpress.governance import usage
from sealpress.governance.usage import Decision
from sealpress.steps._pace import MILLISECONDS
from sealpress.steps._request import Caller, Phase
from sealpress.steps._shared import Shared
from sealpress.steps._ticket import Line, LogState, Ticket
from sealpress.tlog.known import KnownRequest, State
from sealpress.tlog.record import NANOSECONDS
from sealpress.values import LINES_REMEMBERED, NO_ARTIFACT, Artifact, DigestAlgorithm, Mode, SignAsk

SLOT_RETRY_MS = 1_000
KEY_ATTRIBUTES = "KEY_ATTRIBUTES"  # the signer's word for a key that is not as its class demands, on any of its tokens
DRAIN_RETRY_MS = 2_000
SHUTTING_DOWN = "SHUTTING_DOWN"
SKEW_S = 60  # how long a credential that was good on arrival counts beyond its end


@dataclass(frozen=True, slots=True)
class Replay:
    """The request id is known: answer from the log, without a new leaf."""

    log: LogState
    line: Line
    known: KnownRequest


@dataclass(frozen=True, slots=True)
class JobWanted:
    """A rule of class low lets it, and its job has no grant yet: issue one, then ask again."""

    rule: str


def admit(shared: Shared, ask: SignAsk, caller: Caller) -> Ticket | Replay | JobWanted:
    """A new ticket, not yet queued; or the one under way; or the record that answers. Refusals are raised."""
    now_ns, now = shared.clock.now_ns(), shared.second()
    _check_caller(caller, now)
    found = usage.again(shared.snapshot, caller.identity, ask, now)  # before what costs: strangers may send much
    _check_held(shared, ask.line)
    names = leaf.pack_names(ask.names, ask.sizes) if ask.names or ask.sizes else b""
    same = sameness(ask, names)
    known = _known(shared, ask, caller, same, now_ns)
    if known is not None:
        return known
    decision = decide(shared, caller, ask, now, found)
    if decision.automatic:
        return JobWanted(decision.rule)
    _check_veto(shared, caller, ask, decision)
    line = shared.lines[ask.line]
    check_ready(shared, line)
    _check_wait(shared, line, caller)
    line.log.queue.check_room()
    line.log.log.space.check()
    started_ns = shared.clock.monotonic_ns()
    return Ticket(ask, caller, line, decision, shared.snapshot, same, names, started_ns, now)


def permit(shared: Shared, caller: Caller, line: str) -> None:
    """Denied unless a rule lets the caller request the line; the same for a line that does not exist."""
    now = shared.second()
    _check_caller(caller, now)
    usage.permitted(shared.snapshot, caller.identity, line, now)
    _check_held(shared, line)


def decide(shared: Shared, caller: Caller, ask: SignAsk, now: int, found: usage.Admitted | None = None) -> Decision:
    """What the request rests on at this moment; Refusal if it may not be. `found` at this moment, too."""
    try:
        decision = usage.decide(shared.snapshot, shared.ledger, caller.identity, ask, now, found)
    except NotPermitted as refusal:
        office = shared.office
        ended = office.ended(ask.grant_id, caller.identity.id, ask.line) if office is not None else None
        if refusal.reason != "GRANT_UNKNOWN" or ended is None:
            raise
        raise ended from None
    line = shared.lines.get(ask.line)
    if shared.snapshot.governed and (line is None or line.key != decision.key):
        raise Precondition(
            "this node does not hold the line's key", reason="KEY_NOT_ACTIVE", hint="its telemetry says key_unusable"
        )
    return decision


def redecide(shared: Shared, ticket: Ticket, now: int) -> Refusal | None:
    """Decide again, immediately before the append, by the snapshot and the uses of this moment (DESIGN L2)."""
    caller, identity = ticket.caller, ticket.caller.identity
    snapshot = shared.snapshot
    if ticket.snapshot is snapshot and ticket.decided == now:
        if not snapshot.governed and not ticket.decision.rate:
            return None  # nothing that was asked has changed, nor has a credential or a calendar come to its end
        room = usage.room(snapshot, shared.ledger, ticket.decision, ticket.ask.line, ticket.ask.count, now)
        if room and shared.lines[ticket.ask.line] is ticket.line:
            return None  # the same second, the same state: only what others used meanwhile could differ
    try:
        _check_caller(caller, now)
        decision = decide(shared, caller, ticket.ask, now)
    except Refusal as refusal:
        return refusal
    if decision.automatic:
        office = shared.office
        ended = office.ended(ticket.decision.grant, identity.id, ticket.ask.line) if office is not None else None
        if ended is not None and ended.reason != "GRANT_EXPIRED":
            return ended
        # by a policy that changed its rule, or by the clock while its credential is good: the next call brings another
        return Busy(
            "the grant of this job has just ended", reason="GRANT_ENDED", hint="ask again: it gets another",
            retry_after_ms=100,
        )  # fmt: skip
    ticket.decision, ticket.snapshot, ticket.decided = decision, snapshot, now
    ticket.line = shared.lines[ticket.ask.line]  # its key may have a successor by now
    return None


def identity_refusal(flaw: str) -> NotPermitted:
    """Why an authenticated certificate or token counts for nothing."""
    if flaw == "CREDENTIAL_EXPIRED":
        return NotPermitted("the client certificate has expired", reason=flaw, hint="renew it and connect again")
    if flaw == "TOKEN_EXPIRED":
        return NotPermitted("the token has expired", reason=flaw, hint="begin a new call with a fresh token of the CI")
    if flaw == "TOKEN_REPLAYED":
        return NotPermitted(
            "the token's jti was used before, by another token or for the same purpose",
            reason=flaw,
            hint="get a fresh token from the CI; if it goes on, somebody else has your token",
        )
    return NotPermitted(
        "the client certificate has several URI names, so it names nobody",
        reason=flaw,
        hint="use a certificate with exactly one URI SAN, or with none",
    )


def check_ready(shared: Shared, line: Line) -> None:
    """Unavailable SLOT_DOWN, or Precondition, unless the line can sign now, and is not too far behind."""
    if shared.failed is not None:
        raise unavailable_log()
    if shared.draining:
        shared.turned_away += 1
        raise stopping()
    if not shared.ready(line.key) or len(line.durable) > shared.limits.seal_pending_max:
        raise cannot_sign(shared, line.key)
    rules = None if line.held else shared.snapshot.lines.get(line.name)
    if rules is not None and rules.held:
        raise Unavailable(
            "the policy wants this line's signatures witnessed, and its key is not set up so",
            reason="HOLD_NOT_CONFIGURED",
            hint='[key.<id>] hold = "witnessed", at serve and at the signer',
        )


def _check_wait(shared: Shared, line: Line, caller: Caller) -> None:
    """Busy QUEUE_FULL if those before him take longer than anybody may wait, or than he does."""
    wait_ms = line.pace.wait_ns() // MILLISECONDS
    if not wait_ms:
        return
    end_ns = shared.clock.monotonic_ns() + wait_ms * MILLISECONDS
    if wait_ms > shared.limits.line_wait_ms_max or 0 < caller.expires_ns < end_ns:
        raise Busy(
            "the key has more to sign than it can in the time that a request may wait",
            hint="come back after the delay, with the same request_id",
            retry_after_ms=wait_ms,
        )


def cannot_sign(shared: Shared, key: str) -> Refusal:
    """Why the key, which is not ready or behind, does not sign: a wait helps, or its owner must do something."""
    if shared.why(key) == KEY_ATTRIBUTES:
        return Precondition(
            "the key is not as its class demands on any of its tokens: nothing is signed with it",
            reason="KEY_NOT_ACTIVE",
            hint="its owner issues a new one; the signer's log says key_not_used and why",
        )
    return slot_down()


def slot_down() -> Unavailable:
    """The key cannot sign at the moment."""
    return Unavailable(
        "the key cannot sign at the moment: its token or the signer is down, or it is behind",
        hint="ask again after the delay, with the same request_id; `sealpress status` shows the slots",
        retry_after_ms=SLOT_RETRY_MS,
    )


def slot_full() -> Busy:
    """The key's token is up, and has more to sign than may wait for it."""
    return Busy(
        "the key's token has more to sign than may wait for it",
        reason="SLOT_FULL",
        hint="come back after the delay, with the same request_id",
        retry_after_ms=SLOT_RETRY_MS,
    )


def key_stopped() -> Precondition:
    """The key was stopped after the request was permitted, or recorded."""
    return Precondition("the key was stopped", reason="KEY_NOT_ACTIVE", hint="GetKey shows its state")


def stopping() -> Unavailable:
    """The daemon got SIGTERM: it takes nothing new."""
    return Unavailable("the daemon is stopping", reason=SHUTTING_DOWN, hint="ask again", retry_after_ms=DRAIN_RETRY_MS)


def unavailable_log() -> Unavailable:
    """The log has failed: this process signs nothing any more."""
    return Unavailable(
        "the log cannot be written: this node signs nothing until it was started again",
        reason="LOG_UNAVAILABLE",
        hint="ask again later with the same request_id",
        retry_after_ms=5_000,
    )


def outcome_unknown() -> Unavailable:
    """The log failed while a request was under way: it may be recorded or not, and the next start finds out."""
    return Unavailable(
        "the log failed under this request: its outcome is unknown, and this node signs nothing any more",
        reason="LOG_UNAVAILABLE",
        hint="ask again by request_id when the node is back: what is recorded is answered as it was recorded",
        retry_after_ms=5_000,
    )


def sameness(ask: SignAsk, names: bytes) -> bytes:
    """SHA-256 over the length-prefixed fields that make two requests the same (DESIGN 6)."""
    if ask.count == 1 and ask.artifact is NO_ARTIFACT and not (names or ask.security_version or ask.grant_id):
        return hashlib.sha256(_begin_one(ask.line, ask.algorithm.label) + ask.digests + _END_ONE).digest()
    digests, grant_id = ask.digests, ask.grant_id.encode()
    begin = _begin(ask.line, ask.algorithm.label) + _LENGTH(len(digests))
    named = _named(ask) if names else _NOT_NAMED
    artifact = _NO_ARTIFACT_FIELDS if ask.artifact is NO_ARTIFACT else _artifact_fields(ask.artifact)
    end = _LAST(4, ask.security_version, len(grant_id))
    if len(digests) <= _ONE_DIGEST:
        return hashlib.sha256(begin + digests + named + artifact + end + grant_id).digest()
    digest = hashlib.sha256(begin)
    digest.update(digests)  # never copied
    digest.update(named + artifact + end + grant_id)
    return digest.digest()


@lru_cache(maxsize=LINES_REMEMBERED)
def _begin(line: str, algorithm: str) -> bytes:
    return _prefixed(line.encode()) + _prefixed(algorithm.encode())


@lru_cache(maxsize=LINES_REMEMBERED)
def _begin_one(line: str, algorithm: str) -> bytes:
    """Up to the only digest."""
    return _begin(line, algorithm) + _LENGTH(DigestAlgorithm.parse(algorithm).size)


def _named(ask: SignAsk) -> bytes:
    names = b"".join([_prefixed(name.encode()) for name in ask.names])
    return _prefixed(names) + _prefixed(struct.pack(f">{len(ask.sizes)}Q", *ask.sizes))


def _prefixed(field: bytes) -> bytes:
    return _LENGTH(len(field)) + field


def _artifact_fields(artifact: Artifact) -> bytes:
    texts = artifact.name.encode(), artifact.version.encode(), struct.pack(">Q", artifact.size)
    return b"".join(map(_prefixed, (*texts, artifact.media_type.encode())))


_LENGTH = struct.Struct(">Q").pack
_LAST = struct.Struct(">QIQ").pack  # security_version as a field, and the length of the last one
_ONE_DIGEST = 64  # bytes of the longest
_NOT_NAMED = bytes(16)  # two fields of no length
_NO_ARTIFACT_FIELDS = _artifact_fields(NO_ARTIFACT)
_END_ONE = _NOT_NAMED + _NO_ARTIFACT_FIELDS + _LAST(4, 0, 0)  # after a digest of which nothing more is said


def _check_caller(caller: Caller, now: int) -> None:
    if caller.flaw:
        raise identity_refusal(caller.flaw)
    identity = caller.identity
    if identity.not_after and now >= identity.not_after + SKEW_S:
        raise identity_refusal("TOKEN_EXPIRED" if identity.token_sha256 else "CREDENTIAL_EXPIRED")


def _check_held(shared: Shared, line: str) -> None:
    if line not in shared.lines:
        raise Precondition("this node holds no key of the line", reason="KEY_NOT_ACTIVE", hint="its owner issues one")


def _check_veto(shared: Shared, caller: Caller, ask: SignAsk, decision: Decision) -> None:
    """Ask the hook of [governance] veto, which can only deny; if it fails, it has denied."""
    if shared.veto is None:
        return
    identity, artifact, size = caller.identity, ask.artifact, ask.algorithm.size
    facts = {
        "identity": identity.id, "issuer": identity.issuer, "subject": identity.subject,
        "claims": dict(identity.claims), "source": caller.source, "request_id": ask.request_id, "line": ask.line,
        "algorithm": ask.algorithm.label, "count": ask.count, "rule": decision.rule, "grant_id": decision.grant,
        "change_id": decision.change, "name": artifact.name, "version": artifact.version, "size": artifact.size,
        "digests": [ask.digests[at : at + size].hex() for at in range(0, len(ask.digests), size)],
    }  # fmt: skip
    try:
        said = shared.veto(facts)
    except Exception as error:  # foreign code: whatever it does wrong, it denies
        shared.telemetry.internal("veto", error)
        said = "the hook failed"
    if said != "":
        raise NotPermitted("this node's own check objects", reason="VETO", hint="ask its operator; quote the event id")


def _known(shared: Shared, ask: SignAsk, caller: Caller, same: bytes, now_ns: int) -> Ticket | Replay | None:
    """What the id stands for already; Conflict if for other fields; None: it is new, or its leaf lapsed."""
    live = shared.live.get((caller.identity.id, ask.request_id))
    if live is not None:
        if live.same != same:
            raise _reused()
        if shared.office is not None:
            shared.office.check_again(live.decision.grant, live.line.key)
        if live.phase is not Phase.DONE or live.settled is not None:
            live.stay(caller.expires_ns)
            return live
        assert live.failure is not None
        raise live.failure
    for log in shared.logs.values():
        known = log.known.get(caller.identity.id, ask.request_id, now_ns)
        if known is None:
            continue
        if not known.is_same(same):
            raise _reused()
        return _judge(shared, Replay(log, shared.lines[ask.line], known))
    return None


def _judge(shared: Shared, replay: Replay) -> Replay | None:
    known = replay.known
    if known.state is State.LAPSED:
        return None
    if known.state in (State.UNKNOWN, State.STOPPED):
        raise OutcomeUnknown(
            "whether this request was signed is unknown, and stays so",
            hint="ask again with a new request_id; Explain shows what is recorded",
        )
    if known.state is State.DONE:
        return replay
    young = shared.clock.now_ns() - known.time_ns <= shared.leaf_age_s_max * NANOSECONDS
    if not young:
        return None  # its leaf can never be signed any more
    if known.mode is Mode.DIRECT and known.state is State.PENDING:
        raise slot_down()
    check_ready(shared, replay.line)
    return replay


def _reused() -> Conflict:
    return Conflict(
        "this request_id was used for a request with other fields",
        hint="use a new request_id for another request; repeat a request with exactly the same fields",
    )
