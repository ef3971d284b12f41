"""A record in the governance log of something that people must see, on a governed node and on one that nobody governs.

Guarantees: what is recorded is durable when the call returns. Does not: raise the alarm anywhere else.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

from sealpress.errors import SealpressError
from sealpress.governance import facts as f
from sealpress.steps._pending import FactGroup
from sealpress.steps._shared import Shared
from sealpress.tlog.entry import GovernanceEvent


async def record(shared: Shared, name: str, subject: str, text: str) -> bool:
    """False: a governed node writes nothing before its first trust anchors. Busy, Malformed or Damaged if it cannot."""
    if shared.office is not None:
        if shared.office.state.anchors is None:
            return False
        await shared.office.alert(name, subject, text)
        return True
    recorded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    fact = f.AlertRaised(name=name, subject=subject, text=text)
    body = f.body_of(fact)
    event = GovernanceEvent(f.kind_of(fact), body, hashlib.sha256(body).digest())

    def durable(placed: Sequence[object], committed: object) -> None:
        del placed, committed
        if not recorded.done():  # whoever wanted it may have gone
            recorded.set_result(None)

    def failed(error: SealpressError) -> None:
        if not recorded.done():
            recorded.set_exception(error)

    shared.governance.propose(FactGroup([event], False, durable, failed))
    await recorded
    return True
