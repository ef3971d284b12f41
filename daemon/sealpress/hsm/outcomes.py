"""What came of a call to the guard: signatures, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from sealpress.errors import Internal, Malformed, NotPermitted, OutcomeUnknown, Refusal, Unavailable
from sealpress.hsm import messages as m


class SealedLine(msgspec.Struct, frozen=True):
    """What a line key answered; `line` is ready to append to the checkpoint, empty if `reason` says why."""

    line: bytes
    rv: int
    latency_us: int
    slot: str
    reason: str = ""


class Sealed(msgspec.Struct, frozen=True):
    """A signed head: append `log_signature_line` and the lines to the checkpoint's text and an empty line."""

    size: int
    time: int  # T of the cosignatures
    log_signature_line: bytes
    lines: dict[str, SealedLine]  # by key id


@dataclass(frozen=True, slots=True)
class DirectResult:
    """A verified signature in the line's format, or b"" and why. OUTCOME_UNKNOWN: the token may have signed."""

    signature: bytes
    rv: int
    latency_us: int
    slot: str
    reason: str = ""


def results_of(answer: m.Directed) -> list[DirectResult]:
    """Of each item, in order."""
    return [DirectResult(one.signature, one.rv, one.latency_us, one.slot, one.reason) for one in answer.results]


_UNAVAILABLE = frozenset({"SLOT_DOWN", "SIGNER_STOPPING", "HEAD_NOT_CURRENT"})
_NOT_PERMITTED = frozenset(
    {"NOT_PERMITTED", "STOPPED", "NOT_STOPPED", "LIFT_STALE", "EVIDENCE_MISSING", "NOTHING_TO_SIGN", "NOT_WITNESSED"}
)
_APPROVALS = ("APPROVAL_", "RELEASE_", "CHANGE_", "ANCHORS_")  # how the reasons of a lack of them begin


def refusal(answer: m.Refused) -> Refusal:
    """The guard's refusal as an error of the tree."""
    kind: type[Refusal] = Malformed
    if answer.retry_after_ms or answer.reason in _UNAVAILABLE:
        kind = Unavailable
    elif answer.reason in _NOT_PERMITTED or answer.reason.startswith(_APPROVALS):
        kind = NotPermitted
    elif answer.reason == "OUTCOME_UNKNOWN":
        kind = OutcomeUnknown
    elif answer.reason == "INTERNAL":
        kind = Internal
    return kind(answer.message, reason=answer.reason, retry_after_ms=answer.retry_after_ms)
