"""What the signer of a line will believe: it judges releases and lifts by the trust anchors alone.

Guarantees: nothing is granted or lifted here that would not pass there. Does not: verify (verify/anchors.py).
"""

from __future__ import annotations

from sealpress.errors import Invalid, Malformed, Precondition
from sealpress.governance.state import Approval, Change
from sealpress.verify.anchors import TrustAnchors, check_lift, open_release
from sealpress.verify.change import encode


def believed_until(anchors: TrustAnchors, change: Change, have: list[Approval], now: int) -> int:
    """How long the signer will believe these approvals of a release; Precondition if it does not.

    It judges each leaf of such a line by the trust anchors alone, and a leaf that it does not believe would end the
    log: so nothing is granted here that would not pass there.
    """
    try:
        found = open_release(anchors, encode(change.record), _given(have), change.record.line, now)
    except (Invalid, Malformed) as error:
        raise _disbelieved(error) from None
    return min(found.expires, anchors.expires)


def check_believed_lift(anchors: TrustAnchors, change: Change, have: list[Approval], key: str, now: int) -> None:
    """Precondition unless the signer will believe that this key may sign again: else it would be active here only."""
    try:
        check_lift(anchors, encode(change.record), _given(have), key, change.record.line, now)
    except (Invalid, Malformed) as error:
        raise _disbelieved(error) from None


def _given(have: list[Approval]) -> list[tuple[bytes, str]]:
    return [(given.statement.encode(), given.signature) for given in have]


def _disbelieved(error: Invalid | Malformed) -> Precondition:
    return Precondition(
        f"the signer of this line would not believe these approvals: {error.message}",
        reason="ANCHORS_QUORUM",
        hint="approvers of such a line stand in the trust anchors too, with the same keys; its quorum is theirs",
    )
