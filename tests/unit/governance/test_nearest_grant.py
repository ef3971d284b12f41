"""Of several grants that do not cover a request: which one answers for it?"""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.acme import LOW, RELEASE, ask, caller, digest
from kit.governed import Governed
from sealpress.errors import Precondition
from sealpress.governance import facts as f
from sealpress.governance import usage
from sealpress.values import KeyClass


def decided(node: Governed, line: str) -> usage.Decision:
    """What a request of CI would rest on now."""
    asked = ask(line, digest("another"))
    return usage.decide(node.shared.snapshot, node.office.ledger, caller().identity, asked, node.now)


@pytest.mark.parametrize("first", ["used up", "over"])
async def test_no_grant_by_itself_follows_one_that_is_used_up(tmp_path: Path, first: str) -> None:
    """A job that has another grant, which is over, would have as many uses as it likes: it hears of the used one."""
    async with Governed(tmp_path, lines={LOW: KeyClass.LOW}) as node:
        await node.begin()
        used = node.grant(LOW, 1, change_id="")
        over = node.grant(LOW, 9, change_id="", not_after=node.now)
        grants: list[f.Fact] = [used, over] if first == "used up" else [over, used]
        for grant in grants:
            await node.write(grant)
        node.office.ledger.grants[used.grant] = 1

        with pytest.raises(Precondition) as caught:
            decided(node, LOW)
    assert caught.value.reason == "GRANT_EXHAUSTED"


async def test_a_grant_that_names_no_digests_is_none_for_a_quorum_s_key(tmp_path: Path) -> None:
    """However it came to be, and though a change stands behind it: such a key signs exact digests only."""
    async with Governed(tmp_path, lines={RELEASE: KeyClass.FIRMWARE}, own_log=True) as node:
        await node.begin()
        await node.write(node.grant(RELEASE, 9))

        with pytest.raises(Precondition) as caught:
            decided(node, RELEASE)
    assert caught.value.reason == "QUORUM_REQUIRED"
