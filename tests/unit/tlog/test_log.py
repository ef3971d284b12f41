"""A log drafts, commits and reopens; it answers each commit once, and says clearly why it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from kit.checkers import check_log
from kit.resident import mapped_kib
from kit.scribe import Scribe
from sealpress.core import leaf
from sealpress.core.merkle import verify_inclusion
from sealpress.core.proof import parse_proof
from sealpress.errors import CannotStart
from sealpress.tlog.draft import Full
from sealpress.tlog.entry import GovernanceEvent, OutcomeEvent
from sealpress.tlog.log import Log
from sealpress.tlog.space import full
from sealpress.values import DigestAlgorithm, Mode, RecordType


def test_leaf_zero_is_log_created(scribe: Scribe) -> None:
    """A new log begins with the event that says which log it is."""
    first = next(scribe.log.records())

    assert scribe.log.recovered.created
    assert isinstance(first.event, GovernanceEvent)
    assert ("log.created", 0, 0) == (first.event.kind, first.seq, first.head.first_leaf)
    assert leaf.leaf_hashes(first.spec(scribe.settings.name), None, None, 1) == scribe.log.leaf_hash(0)


def test_reopening_keeps_everything(scribe: Scribe) -> None:
    """Size, root, records, times and the next seq are the same after a stop."""
    scribe.history(120)
    log = scribe.log
    before = (log.size, log.root(), log.next_seq, list(log.records()))
    log = scribe.reopen()

    assert before == (log.size, log.root(), log.next_seq, list(log.records()))
    assert not log.recovered.created
    scribe.history(20)
    log.close()
    check_log(scribe.settings.directory, keys=scribe.signer.vkeys)


def test_a_placed_record_stands_where_it_was_promised(scribe: Scribe) -> None:
    """Seq and leaf index are known before the commit and true after it, as are record hash and place."""
    acts = scribe.request(3, 1, 7, names=True) + scribe.request(2, mode=Mode.DIRECT)
    for act in acts:
        stored = scribe.log.stored(act.where)

        assert (act.placed.seq, act.placed.first_leaf, act.placed.count) == (
            stored.seq,
            stored.first_leaf,
            stored.count,
        )
        assert act.record == stored.spec.record
        assert act.event == stored.event
        leaves = stored.leaf_hashes()
        for i in range(stored.count):
            assert leaves[32 * i : 32 * i + 32] == scribe.log.leaf_hash(stored.first_leaf + i)


def test_a_stored_request_gives_proofs_that_verify(scribe: Scribe) -> None:
    """Opening, inclusion path and checkpoint of a stored request convince a verifier that has only the digest."""
    (act,) = scribe.request(5)
    scribe.request(3)
    note = scribe.seal(act)
    size = int(note.split(b"\n")[1])
    scribe.reopen()
    stored = scribe.log.stored(act.where)
    for i in range(5):
        text = scribe.log.proof(stored.item_opening(i), stored.first_leaf + i, size, note)
        proof = parse_proof(text)
        spec = stored.spec
        digest = stored.digests[32 * i : 32 * i + 32]
        hashed = leaf.leaf_hash_opened(spec.kind, spec.key_id, spec.scope, proof.opening, digest)

        assert stored.opening == proof.opening[:45]
        assert verify_inclusion(hashed, proof.index, size, proof.hashes, proof.note.root)


def test_stored_outcomes_come_back(scribe: Scribe) -> None:
    """The signed checkpoint and direct signatures are read out of OUTCOME records."""
    (proof_act,) = scribe.request(2)
    note = scribe.seal(proof_act)
    (direct_act,) = scribe.request(3, mode=Mode.DIRECT)
    scribe.sign(direct_act, [b"s0", b"", b"s2"])
    known = [scribe.log.recovered.known.get(a.event.identity, a.event.request_id, 0) for a in (proof_act, direct_act)]
    assert known[0] is not None and known[1] is not None
    sealed, signed = (scribe.log.outcome(each.outcomes[0]) for each in known if each is not None)

    assert note == sealed.event.checkpoint
    first = direct_act.placed.first_leaf
    assert {first: b"s0", first + 2: b"s2"} == signed.signatures_of(direct_act.placed.seq)
    assert {} == signed.signatures_of(proof_act.placed.seq)


def test_one_time_per_draft_and_it_never_goes_back(scribe: Scribe) -> None:
    """A clock that steps back while we run cannot date a leaf before an older one."""
    (first,) = scribe.request(1)
    scribe.clock.step(-4)
    (second,) = scribe.request(1)

    assert first.placed.time_ns == second.placed.time_ns
    assert 4_000_000_000 == scribe.log.behind_ns


def test_a_draft_says_when_it_is_full(scribe: Scribe) -> None:
    """What does not fit waits for the next draft; what never fits says so."""
    draft = scribe.log.draft()
    with pytest.raises(Full) as caught:
        draft.request(scribe.event(), None, bytes(32), b"", scribe.digests(1_000), 1_000)
    assert caught.value.alone
    with pytest.raises(Full) as caught:
        while True:
            draft.request(scribe.event(), None, bytes(32), b"", scribe.digests(50), 50)
    assert not caught.value.alone
    frames = draft.frames
    committed = scribe.log.commit_now(draft)

    assert frames > 3
    assert 50 * frames == committed.leaves


def test_a_leaf_must_say_what_its_event_says(scribe: Scribe) -> None:
    """Recovery makes leaves from events: a spec that differs would be a tree that nobody can rebuild."""
    draft = scribe.log.draft()
    wrong = leaf.LeafSpec(1, DigestAlgorithm.SHA256, b"x" * 32, bytes(32))

    with pytest.raises(ValueError, match="the leaf must say"):
        draft.request(scribe.event(), wrong, bytes(32), b"", scribe.digests(1), 1)
    with pytest.raises(ValueError, match="does not go into"):
        draft.event(RecordType.OUTCOME, GovernanceEvent("policy", b"", bytes(32)))


def test_only_the_newest_draft_can_be_committed(scribe: Scribe) -> None:
    """A draft that was given up, or committed, is no ticket for another commit."""
    old, new = scribe.log.draft(), scribe.log.draft()
    new.request(scribe.event(), None, bytes(32), b"", scribe.digests(1), 1)
    with pytest.raises(RuntimeError):
        scribe.log.commit_now(old)
    scribe.log.commit_now(new)
    with pytest.raises(RuntimeError):
        scribe.log.commit_now(new)


async def test_commits_wake_the_loop_once_each(tmp_path: Path) -> None:
    """Every commit answers exactly one future, from the eventfd, without a thread of its own."""
    scribe = Scribe(tmp_path / "log")
    log = Log.open(scribe.settings, scribe.clock, scribe.entropy)
    log.start(asyncio.get_running_loop())
    threads = threading.active_count()
    sizes = []
    for _ in range(50):
        draft = log.draft()
        draft.request(scribe.event(), None, bytes(32), b"", scribe.digests(2), 2)
        with pytest.raises(RuntimeError):
            log.commit_now(draft)
        sizes.append((await log.commit(draft)).tree_size)

    assert list(range(3, 103, 2)) == sizes
    assert threads == threading.active_count()
    log.close()
    check_log(scribe.settings.directory)


async def test_who_stops_waiting_does_not_stop_the_commit(tmp_path: Path) -> None:
    """A cancelled waiter leaves a log that knows what was written."""
    scribe = Scribe(tmp_path / "log")
    log = Log.open(scribe.settings, scribe.clock, scribe.entropy)
    log.start(asyncio.get_running_loop())
    draft = log.draft()
    draft.request(scribe.event(), None, bytes(32), b"", scribe.digests(2), 2)
    task = asyncio.ensure_future(log.commit(draft))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(10):
        while not log.idle:  # noqa: ASYNC110 (there is nothing else to wait for: the waiter is gone)
            await asyncio.sleep(0.001)
    assert 3 == log.size
    draft = log.draft()
    draft.request(scribe.event(), None, bytes(32), b"", scribe.digests(1), 1)
    assert 4 == (await log.commit(draft)).tree_size

    draft = log.draft()
    draft.request(scribe.event(), None, bytes(32), b"", scribe.digests(1), 1)
    last = asyncio.ensure_future(log.commit(draft))
    await asyncio.sleep(0)
    log.close()  # waits for the batch in hand and answers it
    assert 5 == (await last).tree_size
    check_log(scribe.settings.directory)


def test_a_second_daemon_is_turned_away(scribe: Scribe) -> None:
    """One log directory, one writer."""
    with pytest.raises(CannotStart) as caught:
        Log.open(scribe.settings, scribe.clock, scribe.entropy)

    assert "LOG_IN_USE" == caught.value.reason
    assert caught.value.hint
    scribe.request(1)


def test_a_clock_behind_the_last_commit_is_refused(scribe: Scribe) -> None:
    """A clock five seconds back is tolerated, six are not."""
    scribe.request(1)
    scribe.log.close()
    scribe.clock.step(-6)
    with pytest.raises(CannotStart) as caught:
        scribe.open()
    assert "CLOCK_BEHIND" == caught.value.reason
    scribe.clock.step(1)
    scribe.open()


def test_records_go_on_where_a_reader_stopped(scribe: Scribe) -> None:
    """Tail reads each record once, also over segment borders, from any seq."""
    seen = []
    at = None
    for _ in range(30):
        scribe.history(8)
        for record in scribe.log.records(at=at):
            seen.append(record.seq)
            at = record.next
    everything = [record.seq for record in scribe.log.records()]

    assert seen == everything
    assert len(scribe.log.reader.numbers()) > 3
    for seq in (0, 1, seen[len(seen) // 2], seen[-1], seen[-1] + 1):
        assert [each for each in everything if each >= seq] == [r.seq for r in scribe.log.records(seq)]


def test_sealing_a_segment_starts_a_new_one(scribe: Scribe) -> None:
    """A backup may end the segment; the log goes on in the next."""
    (before,) = scribe.request(1)
    scribe.log.seal_segment()
    (after,) = scribe.request(1)

    assert (0, 1) == (before.where.segment, after.where.segment)
    scribe.reopen()
    scribe.request(1)
    assert isinstance(scribe.seal(before, after), bytes)
    assert any(isinstance(record.event, OutcomeEvent) for record in scribe.log.records())
    scribe.log.close()
    assert 2 == check_log(scribe.settings.directory).segments


def test_a_segment_let_go_of_is_read_again(scribe: Scribe) -> None:
    """What left memory comes back from the disk as it was, also for whoever held it meanwhile."""
    scribe.request(3, 40)
    scribe.log.seal_segment()
    before, held = list(scribe.log.records()), scribe.log.reader.segment(0)
    scribe.log.reader.cool(0)
    scribe.log.reader.cool(9)
    assert list(scribe.log.records()) == before
    assert held.frame() == scribe.log.reader.segment(0).frame()


def test_memory_does_not_grow_with_the_segment(tmp_path: Path) -> None:
    """What was hashed and checked leaves the memory of the process while its segment is written on."""
    scribe = Scribe(tmp_path / "log", segment_bytes=8 << 20)
    scribe.open()
    held = []
    for _ in range(5):
        scribe.request(*[1_000] * 32)
        held.append(mapped_kib(scribe.settings.directory / "journal"))
    written = scribe.log.reader.end.offset
    scribe.log.close()

    assert written > 4 << 20
    assert max(held) < 3 << 10


def test_a_log_starts_in_a_process_with_many_open_files(tmp_path: Path) -> None:
    """Of a node with dozens of logs the last ones have descriptors beyond those that `select` can wait for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2_048)), hard))
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(1_024):
            stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        scribe = Scribe(tmp_path / "log")
        log = scribe.open()
        scribe.request(3)
        log.close()
    check_log(tmp_path / "log")


@pytest.mark.parametrize(("before", "after"), [(1 << 20, 64 << 10), (64 << 10, 1 << 20)], ids=["smaller", "larger"])
def test_segments_of_another_size_take_batches_of_theirs(tmp_path: Path, before: int, after: int) -> None:
    """[journal] segment_bytes was changed: from the start on a batch is as large as the new segments bear."""
    scribe = Scribe(tmp_path / "log", segment_bytes=before)
    scribe.open()
    scribe.request(5)
    scribe.log.close()
    scribe.settings = replace(scribe.settings, segment_bytes=after)
    scribe.open()
    with pytest.raises(Full) if after < before else contextlib.nullcontext():
        scribe.request(1_000)
    for _ in range(4):
        scribe.request(300)
    assert scribe.log.reader.end.segment >= 1
    scribe.reopen()
    scribe.log.close()

    assert check_log(tmp_path / "log").tree_size == scribe.log.size


def test_a_full_disk_keeps_a_segment_of_another_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be ended then: the log goes on in it, with batches that the next one bears, too."""
    scribe = Scribe(tmp_path / "log", segment_bytes=1 << 20)
    scribe.open()
    scribe.request(5)
    scribe.log.close()
    scribe.settings = replace(scribe.settings, segment_bytes=64 << 10)

    def no_room(_log: Log) -> None:
        raise full()

    monkeypatch.setattr(Log, "seal_segment", no_room)
    scribe.open()
    with pytest.raises(Full):
        scribe.request(1_000)
    scribe.request(300)

    assert scribe.log.reader.end.segment == 0
    scribe.log.close()
