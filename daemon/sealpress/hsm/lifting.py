"""Decides whether a stop ends: stopping took one person, ending it takes the quorum's signatures (DESIGN L6).

A change record of kind key.resume ends one stop, once: one that was made before the key was stopped for the last time
was not about this stop, one that was used is not used again. Nothing stopped is revived (L2): the leaves that were
waiting when the stop came are too old to be signed before it can end. A stop of everything is ended by those who run
the signer, at its machine.

Guarantees: `check` is silent only if the anchors' quorum approved, after the stop, that this key signs again. Does not:
end the stop (state.py), or count anything.
"""

from __future__ import annotations

from sealpress.errors import Invalid, NotPermitted, Unavailable
from sealpress.hsm.keytable import GuardKey
from sealpress.hsm.pinned import Pinned
from sealpress.hsm.state import State
from sealpress.verify.change import ChangeRecord
from sealpress.verify.evidence import Evidence

SKEW_S = 60


def check(
    pinned: Pinned | None, state: State, key: GuardKey, evidence: Evidence, now: int, leaf_age_s_max: int
) -> ChangeRecord:
    """The change record that ends the stop of this key; NotPermitted or Unavailable otherwise."""
    if pinned is None:
        raise NotPermitted("this signer has no anchors, so nothing can end a stop; give it [signer] anchors")
    since = state.stopped_since(key.name)
    if since is None:
        raise NotPermitted(f"key {key.name} is not stopped", reason="NOT_STOPPED")
    try:
        change = pinned.lift(evidence, key.name, key.line, now)
    except Invalid as error:
        raise NotPermitted(f"this does not end the stop: {error.message}", reason=error.reason) from None
    if change.created < since or state.lifted(change.change_id):
        raise NotPermitted("this change record is not about the newest stop", reason="LIFT_STALE")
    if change.created > now + SKEW_S:
        raise NotPermitted("this change record is from the future", reason="LIFT_STALE")
    wait_s = since + leaf_age_s_max - now
    if wait_s > 0:
        raise Unavailable(
            "a stop lasts until everything that it caught is too old to be signed",
            reason="STOP_TOO_YOUNG",
            retry_after_ms=1_000 * wait_s,
        )
    return change
