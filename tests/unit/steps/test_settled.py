"""Who is answered when a head of his line is signed?"""

from __future__ import annotations

import asyncio
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from sealpress.errors import Busy, Damaged
from sealpress.governance import usage
from sealpress.hsm.outcomes import DirectResult
from sealpress.steps import settle
from sealpress.steps._head import SignedHead
from sealpress.steps._left import Left
from sealpress.steps._request import Phase, Settled
from sealpress.steps._ticket import Durable
from sealpress.steps.seal import DirectPart
from sealpress.tlog.entry import OutcomeStatus, RequestRef, Where

NOW = 1_800_000_000
PENDING_MAX = 3


class _Ticket:
    """One leaf, and what was heard of it."""

    def __init__(self, leaf: int) -> None:
        self.phase, self.heard, self.ours = Phase.DURABLE, "", True
        self.act: Any = SimpleNamespace(event=SimpleNamespace(grant_id="g", key_id=bytes(32)))
        self.signatures: dict[int, bytes] = {}
        self.ref = RequestRef(leaf, leaf, 1)

    def resolve(self, settled: Settled) -> None:
        self.phase, self.heard = Phase.DONE, f"under {settled.tree_size}"

    def fail(self, error: Any) -> None:
        self.phase, self.heard = Phase.DONE, error.reason


def settled(size: int, *waiting: tuple[int, int]) -> tuple[list[str], list[tuple[OutcomeStatus, list[int]]], Any]:
    """What each hears, what is recorded, and the line; `waiting`: one past each leaf, and the age that it has then."""
    written: list[tuple[OutcomeStatus, list[int]]] = []

    def record(pending: Any, _delay_ms: int) -> None:
        written.append((pending.event.status, [ref.first_leaf for ref in pending.event.requests]))

    log: Any = SimpleNamespace(
        log=SimpleNamespace(settings=SimpleNamespace(segment_bytes=1 << 20)), changed=asyncio.Event(), record=record,
        gather=SimpleNamespace(waiting=False), signed=lambda size, note: shown.append((size, note)),
    )  # fmt: skip
    shared: Any = SimpleNamespace(
        snapshot=SimpleNamespace(lines={}, governance_seq=0), release_outcome=False, outcome_delay_ms=0, office=None,
        leaf_age_s_max=300, limits=SimpleNamespace(seal_pending_max=PENDING_MAX),
        telemetry=SimpleNamespace(settled=lambda *_: None, lapsed=lambda *_: None),
    )  # fmt: skip
    shown: list[tuple[int, bytes]] = []
    tickets: Any = [_Ticket(end - 1) for end, _ in waiting]
    row = [Durable([ticket], end, NOW - age_s, 0) for ticket, (end, age_s) in zip(tickets, waiting, strict=True)]
    line: Any = SimpleNamespace(name="a/b/c/d/e", key="k", key_id=bytes(32), log=log, durable=deque(row), sealed=None)
    head = SignedHead(size, NOW, b"log", b"own", b"own", 0, 9, "s#1")
    settle.settle_proof(shared, line, head)
    assert line.sealed is head
    assert shown == [(size, b"log")]
    return [ticket.heard for ticket in tickets], written, line


def test_a_head_answers_those_whose_leaves_it_covers() -> None:
    """Whoever became durable after it waits for the next one, though the same key signs that."""
    heard, written, line = settled(6, (5, 1), (6, 1), (7, 1))

    assert heard == ["under 6", "under 6", ""]
    assert written == [(OutcomeStatus.SEALED, [4, 5])]
    assert [durable.end for durable in line.durable] == [7]


@pytest.mark.parametrize(("age_s", "told"), [(300, "under 6"), (301, "LAPSED")])
def test_no_answer_rests_on_a_leaf_that_is_too_old_for_its_head(age_s: int, told: str) -> None:
    """No verifier would take it: it is recorded as lapsed, its caller may ask again, others have an answer."""
    heard, written, _ = settled(6, (5, age_s), (6, 1))

    assert heard == [told, "under 6"]
    lapsed = [(OutcomeStatus.LAPSED, [4])] if told == "LAPSED" else []
    assert written == [*lapsed, (OutcomeStatus.SEALED, [5] if lapsed else [4, 5])]


@pytest.mark.parametrize(("count", "told"), [(PENDING_MAX - 1, False), (PENDING_MAX, True)])
def test_requests_that_waited_for_a_key_that_was_behind_are_cut_again(count: int, told: bool) -> None:
    """As many batches as may wait for it held them back: nobody else would wake the log's loop."""
    _, _, line = settled(count, *((end, 1) for end in range(1, count + 1)))

    assert line.log.changed.is_set() is told


@pytest.mark.parametrize(
    ("ours", "signed", "told", "recorded", "free"),
    [
        (True, (), "LAPSED", [(OutcomeStatus.LAPSED, [(4, 3)])], 3),
        (True, (1,), "LAPSED", [(OutcomeStatus.LAPSED, [(4, 1), (6, 1)])], 2),
        (False, (1,), "OUTCOME_UNKNOWN", [(OutcomeStatus.UNKNOWN, [(4, 1), (6, 1)])], 0),
        (False, (), "OUTCOME_UNKNOWN", [(OutcomeStatus.UNKNOWN, [(4, 3)])], 0),
    ],
)
def test_what_lapses_gives_back_what_was_never_signed(
    ours: bool, signed: tuple[int, ...], told: str, recorded: list[Any], free: int
) -> None:
    """When the record stands, and not before; never what a token may have signed, for us or for a former process."""
    pendings: list[Any] = []
    ledger = usage.Ledger({"g": 9})
    log: Any = SimpleNamespace(
        log=SimpleNamespace(settings=SimpleNamespace(segment_bytes=1 << 20)),
        known=SimpleNamespace(outcome=lambda *_: None), record=lambda pending, _: pendings.append(pending),
    )  # fmt: skip
    forgotten: list[Any] = []
    shared: Any = SimpleNamespace(
        snapshot=SimpleNamespace(governance_seq=0), outcome_delay_ms=0, office=None, ledger=ledger,
        forget=forgotten.append, telemetry=SimpleNamespace(lapsed=lambda *_: None),
    )  # fmt: skip
    ticket: Any = _Ticket(4)
    ticket.act.seq, ticket.act.first_leaf, ticket.act.count = 2, 4, 3
    ticket.ref, ticket.ours, ticket.signatures = RequestRef(2, 4, 3), ours, dict.fromkeys(signed, b"signature")
    line: Any = SimpleNamespace(name="a/b/c/d/e", key_id=bytes(32), log=log)
    settle.lapse(shared, line, Durable([ticket], 7, NOW, 0))

    assert ticket.heard == told
    runs = [(one.event.status, [(ref.first_leaf, ref.count) for ref in one.event.requests]) for one in pendings]
    assert runs == recorded
    assert (ledger.grants["g"], forgotten) == (9, [])
    for one in pendings:
        one.on_durable(None, Where(0, 0))
    assert (ledger.grants["g"], forgotten) == (9 - free, [ticket])


def test_an_outcome_that_a_full_disk_refused_is_written_when_there_is_room() -> None:
    """Nothing was written, so nobody hears anything yet; of a log that failed for good all who wait hear that."""
    pendings: list[tuple[Any, int]] = []
    log: Any = SimpleNamespace(record=lambda pending, delay_ms: pendings.append((pending, delay_ms)))
    forgotten: list[Any] = []
    shared: Any = SimpleNamespace(outcome_delay_ms=50, forget=forgotten.append)
    waits, told, event = _Ticket(1), _Ticket(2), SimpleNamespace()
    settle._record(shared, log, event, True, [waits, told], [])  # type: ignore[arg-type, list-item]
    told.fail(SimpleNamespace(reason="LAPSED"))
    pendings[0][0].on_failed(Busy("the log is full", reason="LOG_FULL"))
    assert [delay_ms for _, delay_ms in pendings] == [0, settle.FULL_RETRY_MS]
    assert (waits.heard, forgotten) == ("", [])
    pendings[1][0].on_failed(Damaged("the log failed", reason="LOG_FAILED"))

    assert (waits.heard, told.heard) == ("LOG_FAILED", "LAPSED")
    assert (forgotten, len(pendings)) == ([waits, told], 2)


def signed_direct(*reasons: str, **rules: Any) -> tuple[str, list[Any], list[int]]:
    """What a caller of as many leaves hears at once, the outcomes recorded, and their delays; "": a signature."""
    written: list[tuple[Any, int]] = []
    log: Any = SimpleNamespace(
        log=SimpleNamespace(settings=SimpleNamespace(segment_bytes=1 << 20)), head=SimpleNamespace(size=9),
        changed=asyncio.Event(), record=lambda pending, delay_ms: written.append((pending.event, delay_ms)),
    )  # fmt: skip
    shared: Any = SimpleNamespace(
        snapshot=SimpleNamespace(lines=rules.get("lines", {}), governance_seq=0), outcome_delay_ms=50,
        release_outcome=rules.get("release_outcome", False), telemetry=SimpleNamespace(settled=lambda *_: None),
    )  # fmt: skip
    line: Any = SimpleNamespace(name="a/b/c/d/e", key_id=bytes(32), log=log, left=Left())
    ticket: Any = _Ticket(4)
    ticket.act.seq, ticket.act.first_leaf, ticket.act.count = 2, 4, len(reasons)
    ticket.act.spec = SimpleNamespace(time=0)
    results = [DirectResult(b"" if said else b"%d" % at, 0, 1, "s#1", said) for at, said in enumerate(reasons)]
    parts = [DirectPart((at,), (result,), 9) for at, result in enumerate(results)]
    settle.settle_direct(shared, line, ticket, parts)
    assert log.changed.is_set()  # whoever waited behind may be cut
    return ticket.heard, [event for event, _ in written], [delay_ms for _, delay_ms in written]


@pytest.mark.parametrize("reasons", [("OUTCOME_UNKNOWN", "SLOT_DOWN", ""), ("", "SLOT_DOWN", "INTERNAL")])
def test_one_leaf_that_may_be_signed_makes_a_request_unknown(reasons: tuple[str, ...]) -> None:
    """Wherever it stands among those that are signed for certain, or for certain are not."""
    told, (event,), _ = signed_direct(*reasons)

    assert (told, event.status) == ("OUTCOME_UNKNOWN", OutcomeStatus.UNKNOWN)


def test_every_signature_of_a_long_request_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In as many outcomes as it takes, none larger than a batch; who waits for the record waits for the last."""
    monkeypatch.setattr(settle, "EVENT_BYTES_MAX", 1)
    told, events, delays = signed_direct("", "", "", release_outcome=True)

    assert told == ""
    assert [(event.requests, event.signatures) for event in events] == [
        ((RequestRef(2, 4 + at, 1),), (b"%d" % at,)) for at in range(3)
    ]
    assert delays == [50, 50, 0]


@pytest.mark.parametrize(("release", "node", "waits"), [
    ("leaf", True, False), ("outcome", False, True), (None, True, True), (None, False, False),
])  # fmt: skip
def test_the_line_s_release_counts_before_the_node_s(release: str | None, node: bool, waits: bool) -> None:
    """A policy says of each line whether answers wait for their record; where it is silent the node's word counts."""
    lines = {"a/b/c/d/e": SimpleNamespace(release=release)}
    told, _, _ = signed_direct("SLOT_DOWN", release_outcome=node, lines=lines)

    assert told == ("" if waits else "PARTIAL")
