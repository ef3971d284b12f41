"""Do requests of one second share what is left: of a rule's minute, of a key's signatures, of a grant's uses?"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from kit.acme import RELEASE, TEST, ask, digest
from kit.governed import Governed
from sealpress.errors import Refusal
from sealpress.steps._request import Settled
from sealpress.values import KeyClass

LEFT = 3
ASKED = 8


@pytest.mark.parametrize("bound", ["RATE_EXCEEDED", "KEY_CAP", "GRANT_EXHAUSTED"])
async def test_requests_that_come_together_get_no_more_than_is_left(tmp_path: Path, bound: str) -> None:
    """All are admitted before the first is appended: what the others took meanwhile counts when each is."""
    line, class_ = (RELEASE, KeyClass.RELEASE) if bound == "GRANT_EXHAUSTED" else (TEST, KeyClass.TEST)
    rules = f"max_per_minute = {LEFT}\n" if bound == "RATE_EXCEEDED" else ""
    async with Governed(tmp_path, lines={line: class_}, rules=rules) as node:
        if bound == "KEY_CAP":
            node.key_facts = partial(node.key_facts, max_signatures=LEFT)  # type: ignore[method-assign]
        await node.begin()
        grant = node.grant(line, LEFT)
        if bound == "GRANT_EXHAUSTED":
            await node.write(grant)
        grant_id = grant.grant if bound == "GRANT_EXHAUSTED" else ""
        calls = (node.sign(ask(line, digest(number), grant_id=grant_id)) for number in range(ASKED))
        answers = await asyncio.gather(*calls, return_exceptions=True)

    assert sum(isinstance(answer, Settled) for answer in answers) == LEFT
    assert {answer.reason for answer in answers if isinstance(answer, Refusal)} == {bound}
