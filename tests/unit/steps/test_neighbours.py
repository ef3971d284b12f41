"""Does a bug that one request, record or act meets in the commit step stay its own?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kit.acme import OLGA, TEST, ask, digest
from kit.governed import Governed
from sealpress.errors import Internal
from sealpress.governance import facts as f
from sealpress.steps import admit
from sealpress.tlog.draft import Draft
from sealpress.values import KeyClass, RecordType


async def test_a_bug_in_one_request_is_told_to_that_one_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the same batch are signed, and who met the bug hears so and may ask again: nothing is left of it."""
    decide, bugs = admit.redecide, ["bad"]

    def redecide(shared: Any, ticket: Any, now: int) -> Any:
        if ticket.ask.request_id in bugs:
            raise ZeroDivisionError
        return decide(shared, ticket, now)

    monkeypatch.setattr(admit, "redecide", redecide)
    async with asyncio.timeout(5), Governed(tmp_path, lines={TEST: KeyClass.TEST}, governed=False) as node:
        asks = [ask(TEST, digest(name), request_id=name) for name in ("good", "bad", "other")]
        answers = await asyncio.gather(*map(node.sign, asks), return_exceptions=True)
        bugs.clear()
        again = await node.sign(asks[1])

    assert [False, True, False] == [isinstance(answer, Internal) for answer in answers]
    assert again.act.event.request_id == "bad"


async def test_a_bug_in_one_record_keeps_no_other_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a record that cannot be made hears of it; a request of the same batch is signed."""
    event = Draft.event

    def broken(draft: Draft, type_: RecordType, what: Any) -> Any:
        if type_ is RecordType.REFUSAL:
            raise ZeroDivisionError
        return event(draft, type_, what)

    monkeypatch.setattr(Draft, "event", broken)
    async with asyncio.timeout(5), Governed(tmp_path, lines={TEST: KeyClass.TEST}, governed=False) as node:
        asks = [ask("a/b/c/d/e", digest(1)), ask(TEST, digest(2))]
        answers = await asyncio.gather(*map(node.sign, asks), return_exceptions=True)

    assert [True, False] == [isinstance(answer, Internal) for answer in answers]


async def test_a_bug_in_one_act_of_governance_ends_none_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who acted hears of it, and the next act is written."""
    event, bugs = Draft.event, [ZeroDivisionError]

    def broken(draft: Draft, type_: RecordType, what: Any) -> Any:
        if type_ is RecordType.GOVERNANCE and bugs:
            raise bugs.pop()
        return event(draft, type_, what)

    async with asyncio.timeout(5), Governed(tmp_path, lines={TEST: KeyClass.TEST}, ticking=False) as node:
        await node.begin()
        monkeypatch.setattr(Draft, "event", broken)
        alert = f.AlertRaised(name="alert.log.space", subject="gov", text=OLGA)
        with pytest.raises(Internal):
            await node.write(alert)
        seq = node.office.state.seq
        await node.write(alert)

        assert node.office.state.seq > seq
