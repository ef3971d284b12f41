"""Step 1: may this caller have these digests signed by this line, now?

Order of the questions: is the identity good, is the request id known, may it (rule, artifact, key, grant: usage.py),
does the veto object, can the line sign now, is there room. Nothing is appended before all are answered; a refusal for
lack of right, or of something that must happen first, is appended itself (`_refusals.py`).

Guarantees: unknown line and line without right get the same answer; the same id with the same fields is admitted again
and never makes a second leaf unless the first lapsed. Does not: check the shape of a request (rpc/convert.py did),
spend a grant (commit.py does), or wait.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sealpress.core import leaf
from sealpress.errors import Busy, NotPermitted, OutcomeUnknown, Precondition, Refusal, Unavailable
from sealpress.governance import usage
from sealpress.governance.usage import Decision
from sealpress.steps._grounds import cannot_sign, identity_refusal, reused, slot_down, stopping, unavailable_log
from sealpress.steps._pace import MILLISECONDS
from sealpress.steps._request import Caller, Phase
from sealpress.steps._sameness import sameness
from sealpress.steps._shared import Shared
from sealpress.steps._ticket import Line, LogState, Ticket
from sealpress.tlog.known import KnownRequest, State
from sealpress.tlog.record import NANOSECONDS
from sealpress.values import Mode, SignAsk

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
    """NotPermitted unless a rule lets the caller request the line; the same for a line that does not exist."""
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
        if usage.room(snapshot, shared.ledger, ticket.decision, ticket.ask.line, ticket.ask.count, now):
            return None  # the same second, the same state: only what others used meanwhile could differ
    try:
        _check_caller(caller, now)
        decision = decide(shared, caller, ticket.ask, now)
        line = shared.lines[ticket.ask.line]  # its key may have a successor by now
        _check_hold(shared, line)
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
    ticket.decision, ticket.snapshot, ticket.decided, ticket.line = decision, snapshot, now, line
    return None


def recheck(shared: Shared) -> Callable[[Ticket, int], Refusal | None]:
    """Decides again, immediately before the append (DESIGN L2); of one batch, drafted without a pause."""
    ready: dict[str, bool] = {}

    def of(ticket: Ticket, now: int) -> Refusal | None:
        refusal, key = redecide(shared, ticket, now), ticket.line.key
        if refusal is None and key not in ready:
            ready[key] = shared.ready(key)
        return cannot_sign(shared, key) if refusal is None and not ready[key] else refusal

    return of


def check_ready(shared: Shared, line: Line) -> None:
    """Unavailable SLOT_DOWN, or Precondition, unless the line can sign now, and is not too far behind."""
    if shared.failed is not None:
        raise unavailable_log()
    if shared.draining:
        shared.turned_away += 1
        raise stopping()
    if not shared.ready(line.key) or len(line.durable) > shared.limits.seal_pending_max:
        raise cannot_sign(shared, line.key)
    _check_hold(shared, line)


def _check_hold(shared: Shared, line: Line) -> None:
    """Unavailable HOLD_NOT_CONFIGURED if the policy in force wants more held back than the line's key does."""
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
            raise reused()
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
            raise reused()
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
