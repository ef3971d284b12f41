"""Requests that left memory for the index of their segment: they are known as well as before, for the whole window."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest

from kit.scribe import Act, Scribe
from sealpress.core.index import LAST_KEY, request_key
from sealpress.errors import Damaged
from sealpress.tlog.earlier import Part
from sealpress.tlog.entry import OutcomeEvent, OutcomeStatus, RequestRef, Where
from sealpress.tlog.known import OVER, Known, KnownRequest, State
from sealpress.tlog.log import Log
from sealpress.values import Mode


def seal_and_index(scribe: Scribe) -> None:
    """End the active segment, and do at once what the log's threads do beside its loop."""
    scribe.log.seal_segment()
    earlier = scribe.log.recovered.earlier
    part: Part | None = None
    while earlier.below <= scribe.log.reader.end.segment:
        part = earlier.part(earlier.below, part)
        earlier.add(part)
    scribe.log.recovered.known.let_go(scribe.clock.now_ns())


def known(scribe: Scribe, act: Act) -> KnownRequest:
    """What is known of it."""
    found = scribe.log.recovered.known.get(act.event.identity, act.event.request_id, scribe.clock.now_ns())
    assert found is not None
    return found


@pytest.mark.parametrize("seed", range(6))
def test_memory_forgets_what_an_index_knows_and_nothing_changes(tmp_path: Path, seed: int) -> None:
    """Random histories over segments and restarts: the same answers as from memory, which holds only what is open."""
    scribe = Scribe(tmp_path / "log", seed)
    scribe.open()
    for _ in range(4):
        scribe.history(50)
        before = scribe.known()
        seal_and_index(scribe)
        assert before == scribe.known()
        states = [each.state for each in before.values()]
        open_ = sum(state not in OVER for state in states)  # those whose failure is final may have come back just now
        assert states.count(State.PENDING) <= len(scribe.log.recovered.known) <= open_
        if scribe.random.random() < 0.3:
            scribe.reopen()
            assert before == scribe.known()
    scribe.log.close()


def test_a_request_stays_until_its_outcome_has_an_index_too(scribe: Scribe) -> None:
    """Else the index would say that it has none, and a retry would be signed again."""
    (act,) = scribe.request(1)
    seal_and_index(scribe)
    scribe.seal(act)
    scribe.log.recovered.known.let_go(scribe.clock.now_ns())
    assert (1, State.DONE) == (len(scribe.log.recovered.known), known(scribe, act).state)
    seal_and_index(scribe)
    assert (0, State.DONE) == (len(scribe.log.recovered.known), known(scribe, act).state)


def test_direct_signatures_add_up_over_segments(scribe: Scribe) -> None:
    """PARTIAL stays in memory or comes back after a restart; with the last signature it is done, and leaves."""
    (act,) = scribe.request(2, mode=Mode.DIRECT)
    scribe.sign(act, [b"one", b""], OutcomeStatus.PARTIAL)
    seal_and_index(scribe)
    assert (1, State.PARTIAL, 1) == (len(scribe.log.recovered.known), *state(known(scribe, act)))
    scribe.reopen()
    assert (0, State.PARTIAL, 1) == (len(scribe.log.recovered.known), *state(known(scribe, act)))
    scribe.sign(act, [b"", b"two"])
    whole = known(scribe, act)
    seal_and_index(scribe)
    assert (State.DONE, 2) == state(whole)
    assert (0, whole, 2) == (len(scribe.log.recovered.known), known(scribe, act), len(whole.outcomes))


def test_what_failed_for_good_leaves_memory_too(scribe: Scribe) -> None:
    """A token that fails for a day fills no memory: leaves of that age are not signed any more."""
    acts = [scribe.request(1, mode=Mode.DIRECT)[0] for _ in range(3)]
    scribe.sign(acts[0], [b""], OutcomeStatus.PARTIAL)
    scribe.sign(acts[1], [b""], OutcomeStatus.UNKNOWN)
    before = [known(scribe, act) for act in acts]
    scribe.clock.advance(601)
    seal_and_index(scribe)
    assert 1 == len(scribe.log.recovered.known)
    assert [State.PARTIAL, State.UNKNOWN, State.PENDING] == [each.state for each in before]
    assert before == [known(scribe, act) for act in acts]


def state(request: KnownRequest) -> tuple[State, int]:
    """And how many signatures are recorded."""
    return request.state, request.done


def test_an_id_that_lapsed_and_was_asked_again_is_the_newer_request(scribe: Scribe) -> None:
    """While the newer one is in memory, and when both have left it."""
    (lapsed,) = scribe.request(1, request_id="again")
    scribe.seal(lapsed, status=OutcomeStatus.LAPSED)
    seal_and_index(scribe)
    assert known(scribe, lapsed).state is State.LAPSED
    (newer,) = scribe.request(1, request_id="again")
    scribe.seal(newer)
    for _ in range(2):
        assert (newer.placed.seq, State.DONE) == (known(scribe, newer).seq, known(scribe, newer).state)
        seal_and_index(scribe)
    assert 0 == len(scribe.log.recovered.known)


def test_the_newest_of_several_requests_counts_wherever_they_stand(scribe: Scribe) -> None:
    """In one segment, or in two that share a filter: a former one that lapsed would let its id be signed again."""
    earlier, part, acts = scribe.log.recovered.earlier, None, list[Act]()
    for id_ in ("within", "across"):
        (lapsed,) = scribe.request(1, request_id=id_)
        scribe.seal(lapsed, status=OutcomeStatus.LAPSED)
        if id_ == "across":
            scribe.log.seal_segment()
        acts += scribe.request(1, request_id=id_)
        scribe.seal(acts[-1])
    scribe.log.seal_segment()
    for number in range(2):
        part = earlier.part(number, part)
        earlier.add(part)
    scribe.log.recovered.known.let_go(scribe.clock.now_ns())

    assert (1, 0) == (len(earlier), len(scribe.log.recovered.known))
    assert [(act.placed.seq, State.DONE) for act in acts] == [
        (known(scribe, act).seq, known(scribe, act).state) for act in acts
    ]


def test_asking_again_does_not_fill_memory(scribe: Scribe) -> None:
    """What is over is answered from its index each time."""
    acts = scribe.request(*[1] * 20)
    scribe.seal(*acts)
    seal_and_index(scribe)
    assert [State.DONE] * 20 == [known(scribe, act).state for act in acts]
    assert 0 == len(scribe.log.recovered.known)


def test_a_large_commit_lets_as_many_go_as_many_small_ones(scribe: Scribe) -> None:
    """Four for each that comes: a node that is never idle, and commits thousands at a time, keeps no more either."""
    table = scribe.log.recovered.known
    table.requests([(b"old%d" % at, bytes(32), at, at, 1, 0, 8192, False) for at in range(3_000)], 1)
    refs = tuple(RequestRef(at, at, 1) for at in range(3_000))
    table.outcome(OutcomeEvent(refs, "", b"", OutcomeStatus.SEALED, 0, 0, "", 0, b"", (), b"", 0), Where(0, 8192))
    scribe.refuse()
    seal_and_index(scribe)
    table.requests([(b"new%d" % at, bytes(32), 9_000 + at, at, 1, 1, 8192, False) for at in range(1_000)], 2)
    assert 1_000 == len(table)


def test_ids_are_known_for_the_window_though_memory_has_room_for_few(tmp_path: Path) -> None:
    """`entries_max` bounds memory, not what is known: ids of indexed segments count on."""
    scribe = Scribe(tmp_path / "log", entries_max=8)
    scribe.open()
    acts = []
    for _ in range(6):
        acts += scribe.request(*[1] * 8)
        scribe.seal(*acts[-8:])
        seal_and_index(scribe)
    assert {State.DONE} == {known(scribe, act).state for act in acts}
    scribe.log.close()


def test_a_segment_older_than_the_window_is_let_go(tmp_path: Path) -> None:
    """It may be archived then, and its ids asked again: nobody looks for its records, whoever shares its filter."""
    scribe = Scribe(tmp_path / "log", window_s=100)
    scribe.open()
    earlier, part, acts = scribe.log.recovered.earlier, None, list[Act]()
    for number, wait_s in enumerate((50, 101, 0, 0)):
        acts += scribe.request(1)
        scribe.seal(acts[-1])
        scribe.log.seal_segment()
        if number == 3:
            for suffix in ("journal/{:020}.seg", "index/{:020}.idx"):
                (tmp_path / "log" / suffix.format(0)).unlink()
            scribe.log.reader.let_go()
        part = earlier.part(number, part)
        earlier.add(part)
        scribe.log.recovered.known.let_go(scribe.clock.now_ns())
        scribe.clock.advance(wait_s)
    found = [
        scribe.log.recovered.known.get(act.event.identity, act.event.request_id, scribe.clock.now_ns()) for act in acts
    ]

    assert [None, None, State.DONE, State.DONE] == [each and each.state for each in found]
    assert 0 == len(scribe.log.recovered.known)
    scribe.log.close()


def test_a_start_in_the_middle_of_a_log_lets_go_as_well(tmp_path: Path) -> None:
    """The first segment of its window has another number than 0."""
    scribe = Scribe(tmp_path / "log", window_s=100)
    scribe.open()
    for _ in range(4):
        scribe.request(1)
        scribe.log.seal_segment()
        scribe.clock.advance(60)
    earlier = scribe.reopen().recovered.earlier
    numbers = [record.where.segment for record in earlier.records(LAST_KEY)]
    earlier.let_go(scribe.clock.now_ns() - 100 * 10**9)
    scribe.clock.advance(120)
    earlier.let_go(scribe.clock.now_ns() - 100 * 10**9)

    assert numbers[0] > 0
    assert {3} == {record.where.segment for record in earlier.records(LAST_KEY)}
    scribe.log.close()


def test_segments_come_without_a_gap(scribe: Scribe) -> None:
    """One whose index is missing would hide its outcomes: those behind it are not taken."""
    for _ in range(3):
        scribe.request(1)
        scribe.log.seal_segment()
    earlier = scribe.log.recovered.earlier
    earlier.add(earlier.part(0))
    with pytest.raises(ValueError, match="missing"):
        earlier.add(earlier.part(2))


@pytest.mark.parametrize("most", [1, 3, 64])
def test_segments_with_few_ids_share_a_filter(scribe: Scribe, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """At most so many; each id is found in its segment all the same, after a restart, too."""
    monkeypatch.setattr("sealpress.tlog.earlier.GROUP_SEGMENTS", most)
    acts: list[Act] = []
    earlier, part = scribe.log.recovered.earlier, None
    for number in range(7):
        acts += scribe.request(1)
        scribe.seal(acts[-1])
        scribe.log.seal_segment()
        part = earlier.part(number, part)
        earlier.add(part)
        scribe.log.recovered.known.let_go(scribe.clock.now_ns())
    assert math.ceil(7 / most) == len(earlier)
    assert [(number, State.DONE) for number in range(7)] == [places(scribe, act) for act in acts]
    scribe.reopen()
    assert [(number, State.DONE) for number in range(7)] == [places(scribe, act) for act in acts]
    assert math.ceil(7 / most) <= len(scribe.log.recovered.earlier) <= math.ceil(7 / most) + 1


def places(scribe: Scribe, act: Act) -> tuple[int, State]:
    """The segment of the request that is found, and what became of it."""
    found = known(scribe, act)
    return found.where.segment, found.state


def test_a_damaged_index_is_made_again_when_somebody_asks(scribe: Scribe) -> None:
    """An answer never depends on a derived file."""
    acts = scribe.request(*[1] * 20)
    scribe.seal(*acts)
    seal_and_index(scribe)
    path = scribe.settings.directory / "index" / f"{0:020}.idx"
    path.write_bytes(path.read_bytes()[:4096] + bytes(path.stat().st_size - 4096))
    assert {State.DONE} == {known(scribe, act).state for act in acts}


async def fill(scribe: Scribe) -> list[str]:
    """Requests through three segments, beside the loop; their ids."""
    ids: list[str] = []
    while scribe.log.reader.end.segment < 3:
        draft = scribe.log.draft()
        event = scribe.event()
        placed = draft.request(event, None, scribe.entropy.bytes(32), b"", scribe.digests(300), 300)
        committed = await scribe.log.commit(draft)
        ids.append(event.request_id)
        scribe.log.recovered.known.request(
            event, committed.where(placed), seq=placed.seq, first_leaf=placed.first_leaf, count=300,
            time_ns=placed.time_ns,
        )  # fmt: skip
    await asyncio.to_thread(scribe.log._hand_over, 2)  # what its own threads have not done by now
    await asyncio.sleep(0)
    return ids


async def test_the_log_hands_over_by_itself(tmp_path: Path) -> None:
    """Each segment that is sealed, in order, once its index is made."""
    scribe = Scribe(tmp_path / "log")
    scribe.log = Log.open(scribe.settings, scribe.clock, scribe.entropy)
    scribe.log.start(asyncio.get_running_loop())
    ids = await fill(scribe)
    empty = Known(100, 86_400 * 10**9, bytes(16), scribe.log.recovered.earlier)  # knows what the indexes know
    found = [empty.get(scribe.event().identity, id_, scribe.clock.now_ns()) for id_ in ids]

    assert len(ids) - 5 < sum(each is not None for each in found) <= len(ids)
    scribe.log.close()


async def test_a_segment_that_cannot_be_indexed_stays_in_memory(tmp_path: Path) -> None:
    """And so do those behind it: its damage hides no outcome, and no request is forgotten."""
    scribe = Scribe(tmp_path / "log")
    scribe.log = Log.open(scribe.settings, scribe.clock, scribe.entropy)
    scribe.log.start(asyncio.get_running_loop())
    offset = next(scribe.log.reader.frames(0)).offset
    with (tmp_path / "log" / "journal" / f"{0:020}.seg").open("r+b") as file:
        file.seek(offset + 40)
        file.write(b"\xff" * 8)
    ids = await fill(scribe)

    assert 0 == scribe.log.recovered.earlier.below
    assert len(ids) == len(scribe.log.recovered.known)
    with pytest.raises(Damaged):
        scribe.log.record_at(scribe.log.reader.end._replace(segment=0, offset=offset))
    scribe.log.close()


def test_the_key_of_a_request_leads_to_it(scribe: Scribe) -> None:
    """Also through `records`, which follows any key through all segments."""
    (act,) = scribe.request(1)
    seal_and_index(scribe)
    (found,) = scribe.log.recovered.earlier.records(request_key(act.placed.seq))
    assert act.event.request_id == found.head.event.request_id
