"""What does a request hear that names a grant which is over?"""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.acme import CI, LOW, RELEASE, ask, caller, digest
from kit.governed import Governed, refused
from sealpress.governance import facts as f
from sealpress.values import KeyClass

LINES = {LOW: KeyClass.LOW, RELEASE: KeyClass.RELEASE}


@pytest.mark.parametrize(("verb", "reason"), [("revoke", "GRANT_REVOKED"), ("expire", "GRANT_EXPIRED")])
async def test_its_grantee_hears_how_it_ended_and_nobody_else_that_it_was(
    tmp_path: Path, verb: str, reason: str
) -> None:
    """Also long after no snapshot has it any more; by another identity or line it might as well be made up."""
    async with Governed(tmp_path, lines=LINES) as node:
        await node.begin()
        await node.write(node.enrolled("workload:other", "uri:other"))
        issued = node.grant(RELEASE, 9)
        grant = issued.grant
        await node.write(issued)
        await node.write(f.GrantMoved(grant=grant, verb=verb, actor="", reason="why"))  # type: ignore[arg-type]

        for line, who, said in (
            (RELEASE, CI, reason), (LOW, CI, "GRANT_UNKNOWN"), (RELEASE, "uri:other", "NOT_PERMITTED"),
        ):  # fmt: skip
            assert said == (await refused(node, ask(line, digest(1), grant_id=grant), caller(who))).reason
        assert "GRANT_UNKNOWN" == (await refused(node, ask(RELEASE, digest(1), grant_id="01MADEUP"))).reason
        assert [reason, "GRANT_UNKNOWN", "NOT_PERMITTED", "GRANT_UNKNOWN"] == node.refusals()


async def test_a_grant_that_covers_nothing_of_it_is_told_as_it_is(tmp_path: Path) -> None:
    """A grant that is open and not enough is no ended one: its own reason is told."""
    async with Governed(tmp_path, lines=LINES) as node:
        await node.begin()
        grant = node.grant(RELEASE, 1)
        await node.write(grant)

        asked = ask(RELEASE, digest(1), digest(2), grant_id=grant.grant)
        assert "GRANT_EXHAUSTED" == (await refused(node, asked)).reason
