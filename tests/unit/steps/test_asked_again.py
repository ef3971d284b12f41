"""May a request that is still under way be asked again when its right has ended meanwhile?"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kit.acme import RELEASE, ask, caller, digest
from kit.governed import Governed, until
from sealpress.errors import Refusal
from sealpress.governance import facts as f
from sealpress.steps import admit
from sealpress.steps._ticket import Ticket
from sealpress.values import KeyClass


@pytest.mark.parametrize(("ends", "reason"), [("grant", "GRANT_REVOKED"), ("key", "KEY_NOT_ACTIVE"), ("", "")])
async def test_a_request_under_way_is_not_joined_once_its_right_has_ended(
    tmp_path: Path, ends: str, reason: str
) -> None:
    """Whoever asks with its id waits for the same answer; after a revocation or a stop nobody is to have it."""
    async with Governed(tmp_path, lines={RELEASE: KeyClass.RELEASE}) as node:
        await node.begin()
        grant = node.grant(RELEASE, 9)
        await node.write(grant)
        asked = ask(RELEASE, digest(1), grant_id=grant.grant)
        line = node.shared.lines[RELEASE]
        node.signer.gate.clear()
        first = asyncio.create_task(node.sign(asked))
        await until(lambda: bool(line.durable))
        if ends == "grant":
            await node.write(f.GrantMoved(grant=grant.grant, verb="revoke", actor="", reason="an incident"))
        elif ends == "key":
            await node.move(line.key, "suspend")
        said = ""
        try:
            assert isinstance(admit.admit(node.shared, asked, caller()), Ticket)
        except Refusal as refusal:
            said = refusal.reason
        node.signer.gate.set()
        await asyncio.gather(first, return_exceptions=True)

    assert reason == said
