"""Is a request that waited decided again at the moment when it is appended?"""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.acme import TEST, ask, caller, digest, policy_text
from kit.governed import Governed
from sealpress.errors import Refusal
from sealpress.governance import facts as f
from sealpress.steps import admit
from sealpress.steps._ticket import Ticket
from sealpress.values import KeyClass


@pytest.mark.parametrize("governed", [True, False])
async def test_a_credential_that_ended_meanwhile_counts_no_more(tmp_path: Path, governed: bool) -> None:
    """A line may be behind for minutes, and nothing else has changed: what is appended is permitted at that second."""
    async with Governed(tmp_path, lines={TEST: KeyClass.TEST}, governed=governed) as node:
        if governed:
            await node.begin()
        builder = caller(not_after=node.now + 10)
        ticket = admit.admit(node.shared, ask(TEST, digest("late")), builder)
        assert isinstance(ticket, Ticket)
        assert admit.redecide(node.shared, ticket, node.shared.second()) is None
        node.clock.advance(10 + admit.SKEW_S)
        refusal = admit.redecide(node.shared, ticket, node.shared.second())

    assert isinstance(refusal, Refusal)
    assert refusal.reason == "CREDENTIAL_EXPIRED"


async def test_a_policy_that_holds_counts_for_requests_that_wait(tmp_path: Path) -> None:
    """Else a record would name a policy by which its signature waits for witnesses, and its key waits for none."""
    async with Governed(tmp_path, lines={TEST: KeyClass.TEST}) as node:
        await node.begin()
        ticket = admit.admit(node.shared, ask(TEST, digest("late")), caller())
        assert isinstance(ticket, Ticket)
        held = policy_text(node.lines).replace("digest_algs", 'hold = "witnessed"\ndigest_algs')
        await node.write(f.PolicyInForce(body=held))
        refusal = admit.redecide(node.shared, ticket, node.shared.second())

    assert isinstance(refusal, Refusal)
    assert refusal.reason == "HOLD_NOT_CONFIGURED"
