"""Step 1: may this caller have these digests signed by this line, now?

Order of the questions: is the identity good, may it (policy), may the line sign this algorithm, is the request id
known, can the line sign now, is there room. Nothing is appended before all are answered; a refusal for lack of right
is appended itself (`_refusals.py`).

Guarantees: unknown line and line without right get the same answer; the same id with the same fields never makes a
second leaf unless the first lapsed. Does not: check the shape of a request (rpc/convert.py did), or wait.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from sealpress.core import leaf
from sealpress.errors import Conflict, NotPermitted, OutcomeUnknown, Unavailable
from sealpress.steps._state import MILLISECONDS, NANOSECONDS, Caller, Line, LogState, Phase, Shared, Ticket
from sealpress.tlog.known import KnownRequest, State
from sealpress.values import Mode, SignAsk

SLOT_RETRY_MS = 1_000
DRAIN_RETRY_MS = 2_000


@dataclass(frozen=True, slots=True)
class Replay:
    """The request id is known: answer from the log, without a new leaf."""

    log: LogState
    line: Line
    known: KnownRequest


def admit(shared: Shared, ask: SignAsk, caller: Caller) -> Ticket | Replay:
    """A new ticket, not yet queued; or the one under way; or the record that answers. Refusals are raised."""
    rule = permit(shared, caller, ask.line)
    line = shared.lines[ask.line]
    if ask.algorithm not in shared.snapshot.lines[ask.line].algorithms:
        raise NotPermitted(
            f"this line does not sign {ask.algorithm.label} digests",
            reason="ALGORITHM_NOT_ALLOWED",
            hint="GetKey lists the algorithms of a line",
        )
    names = leaf.pack_names(ask.names, ask.sizes) if ask.names or ask.sizes else b""
    same = sameness(ask, names)
    known = _known(shared, ask, caller, same)
    if known is not None:
        return known
    check_ready(shared, line)
    line.log.queue.check_room()
    now_ns = shared.clock.now_ns()
    event_id = new_event_id(now_ns, shared.entropy.bytes(10))
    return Ticket(ask, caller, line, rule, shared.snapshot, same, event_id, names, shared.clock.monotonic_ns())


def permit(shared: Shared, caller: Caller, line: str) -> str:
    """The rule that lets the caller request the line; NotPermitted, the same for a line that does not exist."""
    if caller.flaw:
        raise identity_refusal(caller.flaw)
    rule = shared.snapshot.decide(caller.identity.id, line)
    if rule is None or line not in shared.lines:
        raise NotPermitted(
            "this identity may not request this key",
            hint="ListKeys names the keys that it may request; the policy's owner grants more",
        )
    return rule


def identity_refusal(flaw: str) -> NotPermitted:
    """Why an authenticated certificate counts for nothing."""
    if flaw == "CREDENTIAL_EXPIRED":
        return NotPermitted("the client certificate has expired", reason=flaw, hint="renew it and connect again")
    return NotPermitted(
        "the client certificate has several URI names, so it names nobody",
        reason=flaw,
        hint="use a certificate with exactly one URI SAN, or with none",
    )


def check_ready(shared: Shared, line: Line) -> None:
    """Unavailable SLOT_DOWN unless the line can sign now, and is not too far behind."""
    if shared.failed is not None:
        raise unavailable_log()
    if shared.draining:
        raise Unavailable(
            "the daemon is stopping", reason="SHUTTING_DOWN", hint="ask again", retry_after_ms=DRAIN_RETRY_MS
        )
    if not shared.ready(line.key) or len(line.durable) > shared.limits.seal_pending_max:
        raise slot_down()


def slot_down() -> Unavailable:
    """The key cannot sign at the moment."""
    return Unavailable(
        "the key cannot sign at the moment: its token or the signer is down, or it is behind",
        hint="ask again after the delay, with the same request_id; `sealpress status` shows the slots",
        retry_after_ms=SLOT_RETRY_MS,
    )


def unavailable_log() -> Unavailable:
    """The log has failed: this process signs nothing any more."""
    return Unavailable(
        "the log cannot be written: this node signs nothing until it was started again",
        reason="LOG_UNAVAILABLE",
        hint="ask again later with the same request_id",
        retry_after_ms=5_000,
    )


def sameness(ask: SignAsk, names: bytes) -> bytes:
    """SHA-256 over the length-prefixed fields that make two requests the same (DESIGN 6)."""
    artifact = ask.artifact
    fields = (
        ask.line.encode(),
        ask.algorithm.label.encode(),
        ask.digests,
        b"".join(struct.pack(">Q", len(raw)) + raw for raw in (name.encode() for name in ask.names)),
        struct.pack(f">{len(ask.sizes)}Q", *ask.sizes),
        artifact.name.encode(),
        artifact.version.encode(),
        struct.pack(">Q", artifact.size),
        artifact.media_type.encode(),
        struct.pack(">I", ask.security_version),
        ask.grant_id.encode(),
    )
    digest = hashlib.sha256()
    for field in fields:
        digest.update(struct.pack(">Q", len(field)))
        digest.update(field)
    return digest.digest()


def new_event_id(now_ns: int, entropy: bytes) -> bytes:
    """A ULID: 48 bits of milliseconds, 80 random bits."""
    return (now_ns // MILLISECONDS).to_bytes(6, "big") + entropy


def _known(shared: Shared, ask: SignAsk, caller: Caller, same: bytes) -> Ticket | Replay | None:
    """What the id stands for already; Conflict if for other fields; None: it is new, or its leaf lapsed."""
    live = shared.live.get((caller.identity.id, ask.request_id))
    if live is not None:
        if live.same != same:
            raise _reused()
        if live.phase is not Phase.DONE or live.settled is not None:
            return live
        assert live.failure is not None
        raise live.failure
    for log in shared.logs.values():
        known = log.known.get(caller.identity.id, ask.request_id, shared.clock.now_ns())
        if known is None:
            continue
        if known.same != same:
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
