"""The table of known requests: a restart knows what was in memory, and it stays inside its bounds."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.scribe import LINES, Scribe, request_event
from sealpress.tlog.entry import OutcomeEvent, OutcomeStatus, RequestRef, Where
from sealpress.tlog.known import Known, State
from sealpress.values import Mode

SECRET = bytes(range(16))


def add(known: Known, id_: int, time_ns: int, count: int = 1, mode: Mode = Mode.PROOF) -> RequestRef:
    """A REQUEST whose id, seq and leaf are all `id_`."""
    event = request_event(request_id=f"r{id_}", mode=mode)
    known.request(event, Where(1, 8192 + id_), seq=id_, first_leaf=id_, count=count, time_ns=time_ns)
    return RequestRef(id_, id_, count)


def outcome(status: OutcomeStatus, *refs: RequestRef, signatures: tuple[bytes, ...] = ()) -> OutcomeEvent:
    """An OUTCOME of those."""
    return OutcomeEvent(refs, LINES[Mode.PROOF], bytes(32), status, 0, 0, "a", 0, b"", signatures, b"", 0)


@pytest.mark.parametrize("seed", range(12))
def test_a_restart_knows_what_was_in_memory(tmp_path: Path, seed: int) -> None:
    """Random histories over several segments and restarts: the same ids, states, places and counts."""
    scribe = Scribe(tmp_path / "log", seed, window_s=1_500)
    scribe.open()
    for _ in range(4):
        scribe.history(60)
        if scribe.random.random() < 0.5:
            scribe.log.seal_segment()
        if scribe.random.random() < 0.5:
            scribe.log.recovered.known.let_go(scribe.clock.now_ns())
        before = scribe.known()
        recovered = scribe.reopen().recovered

        pending = [each for each in before.values() if each.state is State.PENDING]
        assert [each.where for each in pending] == [each.where for each in recovered.dangling]
        assert len(pending) == len(recovered.known)
        assert before == scribe.known()
        scribe.clock.advance(scribe.random.choice((0, 200)))
    scribe.log.close()


def test_an_id_that_lapsed_before_a_restart_may_be_used_again(scribe: Scribe) -> None:
    """Over segments: the newest REQUEST of an id counts, whatever became of the former ones."""
    for _ in range(3):
        (act,) = scribe.request(1, request_id="again")
        scribe.seal(act, status=OutcomeStatus.LAPSED)
        scribe.log.seal_segment()
    (last,) = scribe.request(1, request_id="again")
    known = scribe.reopen().recovered.known
    found = known.get(last.event.identity, "again", scribe.clock.now_ns())

    assert found is not None
    assert (last.placed.seq, State.PENDING, ()) == (found.seq, found.state, found.outcomes)
    scribe.seal(last)
    found = known.get(last.event.identity, "again", scribe.clock.now_ns())
    assert found is not None
    assert (State.DONE, 1) == (found.state, len(found.outcomes))


@given(st.integers(1, 20), st.lists(st.integers(0, 30), max_size=120))
@settings(deadline=None)
def test_the_oldest_goes_first_and_the_bound_holds(entries_max: int, ids: list[int]) -> None:
    """Also when ids are asked again: what stays are the entries_max ids that were asked last."""
    known = Known(entries_max, 10**18, SECRET)
    order: list[int] = []
    for time, id_ in enumerate(ids):
        event = request_event(request_id=f"r{id_}")
        known.request(event, Where(1, 8192), seq=time, first_leaf=0, count=1, time_ns=time)
        order = [*(each for each in order if each != id_), id_][-entries_max:]
        assert len(known) == len(order) <= entries_max
    for id_ in range(31):
        assert (id_ in order) == (known.get("uri:spiffe://acme/ci", f"r{id_}", 0) is not None)


@given(st.integers(0, 1_000_000))
@settings(deadline=None)
def test_nothing_older_than_the_window_is_returned(seed: int) -> None:
    """Whether `expire` was called or not."""
    rng = random.Random(seed)
    known = Known(1_000, 100, SECRET)
    times: dict[int, int] = {}
    now = 0
    for step in range(60):
        now += rng.randint(0, 20)
        id_ = rng.randint(0, 12)
        event = request_event(request_id=f"r{id_}")
        known.request(event, Where(1, 8192), seq=step, first_leaf=0, count=1, time_ns=now)
        times[id_] = now
        if rng.random() < 0.3:
            known.let_go(now)
            assert len(known) == sum(1 for time in times.values() if time > now - 100)
        for each, time in times.items():
            assert (time > now - 100) == (known.get("uri:spiffe://acme/ci", f"r{each}", now) is not None)


def test_states_follow_outcomes() -> None:
    """sealed and signed end it, partial adds up, unknown stays, lapsed and stopped end it."""
    known = Known(100, 10**18, SECRET)
    refs = [add(known, i, 5, count=3, mode=Mode.DIRECT if i > 3 else Mode.PROOF) for i in range(8)]
    sealed, stopped, lapsed, unknown, signed, halves, mixed, _ = refs
    at = iter(range(8192, 99999, 8))
    known.outcome(outcome(OutcomeStatus.SEALED, sealed), Where(2, next(at)))
    known.outcome(outcome(OutcomeStatus.STOPPED, stopped), Where(2, next(at)))
    known.outcome(outcome(OutcomeStatus.LAPSED, lapsed), Where(2, next(at)))
    known.outcome(outcome(OutcomeStatus.UNKNOWN, unknown), Where(2, next(at)))
    known.outcome(outcome(OutcomeStatus.SIGNED, signed, signatures=(b"a", b"b", b"c")), Where(2, next(at)))
    known.outcome(outcome(OutcomeStatus.PARTIAL, halves, signatures=(b"a", b"", b"c")), Where(3, 8192))
    middle = RequestRef(halves.seq, halves.first_leaf + 1, 1)
    known.outcome(outcome(OutcomeStatus.SIGNED, middle, signatures=(b"b",)), Where(3, 9000))
    known.outcome(outcome(OutcomeStatus.UNKNOWN, mixed, signatures=(b"a", b"", b"")), Where(3, 9100))
    known.outcome(outcome(OutcomeStatus.PARTIAL, mixed, signatures=(b"", b"b", b"")), Where(3, 9200))
    found = [known.get("uri:spiffe://acme/ci", f"r{i}", 0) for i in range(8)]
    states = [each.state for each in found if each is not None]

    assert [
        State.DONE, State.STOPPED, State.LAPSED, State.UNKNOWN, State.DONE, State.DONE, State.UNKNOWN, State.PENDING,
    ] == states  # fmt: skip
    assert found[5] is not None and found[6] is not None
    assert ((Where(3, 8192), Where(3, 9000)), 3) == (found[5].outcomes, found[5].done)
    assert ((Where(3, 9100), Where(3, 9200)), 2) == (found[6].outcomes, found[6].done)


def test_a_lapsed_id_may_be_used_again() -> None:
    """The new request takes the place of the lapsed one; its late outcomes change nothing."""
    known = Known(100, 10**18, SECRET)
    old = add(known, 1, 5)
    known.outcome(outcome(OutcomeStatus.LAPSED, old), Where(2, 8192))
    event = request_event(request_id="r1")
    known.request(event, Where(3, 8192), seq=50, first_leaf=60, count=1, time_ns=9)
    known.outcome(outcome(OutcomeStatus.SEALED, old), Where(4, 8192))
    found = known.get("uri:spiffe://acme/ci", "r1", 0)

    assert found is not None
    assert (50, State.PENDING, ()) == (found.seq, found.state, found.outcomes)
    assert 1 == len(known)


def test_identities_do_not_share_ids() -> None:
    """The same request id of another identity is another request."""
    known = Known(100, 10**18, SECRET)
    add(known, 1, 5)

    assert known.get("uri:other", "r1", 0) is None
