"""What those are told who get no signature: one function for each ground.

Guarantees: a text says what to do; no rule, and nothing of the inside, is told. Does not: find out whether it is so.
"""

from __future__ import annotations

from sealpress.errors import (
    Busy,
    Conflict,
    Internal,
    Malformed,
    NotPermitted,
    OutcomeUnknown,
    Precondition,
    Refusal,
    TimedOut,
    Unavailable,
)
from sealpress.steps._shared import Shared

SLOT_RETRY_MS = 1_000
KEY_ATTRIBUTES = "KEY_ATTRIBUTES"  # the signer's word for a key that is not as its class demands, on any of its tokens
DRAIN_RETRY_MS = 2_000
SHUTTING_DOWN = "SHUTTING_DOWN"


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


def reused() -> Conflict:
    return Conflict(
        "this request_id was used for a request with other fields",
        hint="use a new request_id for another request; repeat a request with exactly the same fields",
    )


def lapsed() -> Unavailable:
    """What their callers are told."""
    return Unavailable(
        "the request was recorded, but could not be signed in time",
        reason="LAPSED",
        hint="ask again with the same request_id: it gets a new leaf",
        retry_after_ms=1_000,
    )


def nobody_knows() -> OutcomeUnknown:
    """The same for leaves of which nobody knows."""
    return OutcomeUnknown("the token may have signed, and nobody knows", hint="ask again with a new request_id")


def unfinished(failed: int, count: int) -> Unavailable:
    return Unavailable(
        f"{failed} of {count} signatures could not be made; the others are recorded",
        reason="PARTIAL",
        hint="ask again with the same request_id: only what failed is signed again",
        retry_after_ms=1_000,
    )


def revoked() -> NotPermitted:
    return NotPermitted(
        "the grant was revoked", reason="GRANT_REVOKED", hint="ask the line's owner why, before a new one"
    )


def hold_timeout() -> TimedOut:
    return TimedOut(
        "the request is recorded, but its head was not cosigned by enough witnesses in time; nothing is signed",
        reason="HOLD_TIMEOUT",
        hint="ask again with the same request_id: it gets the proof if they cosign soon, a new leaf after that",
    )


def too_large(what: str, hint: str) -> Malformed:
    return Malformed(
        f"the {what} does not fit into one batch of this log",
        reason="TOO_LARGE",
        hint=f"{hint}; [journal] segment_bytes / 4 is the largest batch",
    )


def bug(what: str) -> Internal:
    """Something of ours failed over it before anything was recorded; others are not touched."""
    return Internal(
        f"a bug of ours met this {what}: nothing of it is recorded",
        hint="the daemon's log has the details; tell its operator",
    )
