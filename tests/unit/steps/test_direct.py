"""The order of a direct line's work, when older leaves come back to it."""

from __future__ import annotations

from asyncio import Event
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from sealpress import flow
from sealpress.clock import SystemClock
from sealpress.flow import Flow
from sealpress.steps._head import Witnessed
from sealpress.steps._pace import Pace
from sealpress.steps._ticket import Durable, Line, Ticket


class _Line(Line):
    """A line with nothing but its row."""

    def __init__(self) -> None:

        self.durable = deque()
        self.asking = []
        self.changed = Event()
        self.pace = Pace()


class _Ticket(Ticket):
    """A ticket with nothing but a name and one leaf."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name
        self.ask: Any = SimpleNamespace(count=1)


class _Heads:
    """Of a signer that is known to be up to date."""

    async def known(self) -> None:
        """At once."""


class _Flow(Flow):
    """A flow with nothing but the one loop's turn."""

    def __init__(self) -> None:
        self.shared: Any = SimpleNamespace(clock=SystemClock(), office=None)
        self._signer: Any = None


async def test_leaves_offered_again_while_the_token_works_are_signed_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry that comes in front of the batch under way neither ends it nor is lost."""
    line = _Line()
    signed: list[Any] = []
    first, second = _Ticket("young"), _Ticket("again")
    young, again = Durable([first], 1, 0, 0), Durable([second], 1, 0, 0)
    line.offer(young)

    async def sign(_heads: Any, _signer: Any, _line: Line, tickets: Any, *_: Any) -> list[str]:
        signed.extend(ticket.name for ticket in tickets)
        if tickets == [first]:
            line.offer_again(again)
        return ["parts"]

    monkeypatch.setattr(flow.seal, "sign_round", sign)
    monkeypatch.setattr(flow.settle, "settle_direct", lambda *_: None)
    turn = _Flow()
    heads: Any = _Heads()
    await turn._sign_direct(heads, line, None)
    assert list(line.durable) == [again]
    await turn._sign_direct(heads, line, None)

    assert signed == ["young", "again"]
    assert not line.durable


async def test_a_held_line_signs_no_leaf_that_its_witnesses_have_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """What became durable while they looked waits for the next head."""
    line = _Line()
    signed: list[str] = []
    seen, unseen = Durable([_Ticket("seen")], 5, 0, 0), Durable([_Ticket("unseen")], 6, 0, 0)
    line.durable += [seen, unseen]

    async def sign(_heads: Any, _signer: Any, _line: Line, tickets: Any, *_: Any) -> list[str]:
        signed.extend(ticket.name for ticket in tickets)
        return ["parts"]

    monkeypatch.setattr(flow.seal, "sign_round", sign)
    monkeypatch.setattr(flow.settle, "settle_direct", lambda *_: None)
    heads: Any = _Heads()
    for size in (5, 5, 6):
        await _Flow()._sign_direct(heads, line, Witnessed(size, b"", b""))
        if size == 5:
            assert (signed, list(line.durable)) == (["seen"], [unseen])

    assert signed == ["seen", "unseen"]
    assert not seen.tickets
