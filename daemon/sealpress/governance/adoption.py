"""Adopting trust anchors: they decide from here on, and what would not stand under them is refused first.

Guarantees: every policy that is in force or scheduled compiles by the floors of their profile. Does not: verify their
signatures (verify/anchors.py).
"""

from __future__ import annotations

from collections.abc import Iterator

from sealpress.errors import Invalid, SealpressError
from sealpress.governance import changes as c
from sealpress.governance import facts as f
from sealpress.governance.desk import Desk
from sealpress.governance.policy import compile_policy
from sealpress.verify.anchors import TrustAnchors
from sealpress.verify.change import encode


def adopt(desk: Desk, anchors: TrustAnchors, signatures: tuple[str, ...]) -> list[f.Fact]:
    """The facts of a verified document; Invalid ANCHORS_PROFILE if a policy would not compile under it."""
    for text in _policies(desk):
        try:
            compile_policy(text.encode(), "the policy", governed=True, profile=anchors.profile)
        except SealpressError as error:
            raise Invalid(
                f"profile {anchors.profile} demands more than the policy: {error.message}",
                reason="ANCHORS_PROFILE",
                hint="first propose a policy that the profile takes, and wait until it is in force",
            ) from None
    return [f.AnchorsAdopted(document=encode(anchors).decode(), signatures=signatures)]


def _policies(desk: Desk) -> Iterator[str]:
    if desk.state.policy:
        yield desk.state.policy
    for change_id in desk.state.scheduled:
        asked = c.request_of(desk.state.changes[change_id].record)
        assert isinstance(asked, c.PolicyRequest)
        yield asked.policy
