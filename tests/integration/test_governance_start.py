"""Is a start with the snapshot file the same as one without, and quick; and does a crash leave a file that lies?

`make governance-start` runs it with 100,000 facts; here there are fewer, and the time allowed is in proportion.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.acme import CI, LOW, OLGA_NAME, RELEASE, ask, caller, digest
from kit.governed import Governed
from sealpress.errors import CannotStart, Damaged
from sealpress.governance import facts as f
from sealpress.governance.state import encode
from sealpress.steps import _archive
from sealpress.tlog.entry import GovernanceEvent, Where
from sealpress.values import KeyClass, RecordType
from sealpress.verify.change import ChangeRecord, ReleaseItem, ReleaseRequest, Required, manifest_sha256
from sealpress.verify.change import encode as canonical

FACTS = int(os.environ.get("SEALPRESS_GOVERNANCE_FACTS", "10000"))
SCALE = FACTS / 100_000
FIXED_S = 1.0 if SCALE < 1 else 0.0  # what does not grow with the log: segments, keys, a policy
FROM_FILE_S = 2.0 * SCALE + FIXED_S
FROM_LOG_S = 20.0 * SCALE + FIXED_S
AN_ACT = 200
LINES = {LOW: KeyClass.LOW, RELEASE: KeyClass.RELEASE}


def release(node: Governed, number: int) -> list[f.Fact]:
    """The facts of one release, from proposal to the end of its grant."""
    id_ = f"C{number:025}"
    items = tuple(ReleaseItem(digest=digest(f"{number}/{item}").hex(), name=f"{item}.bin") for item in range(3))
    request = ReleaseRequest(
        release_id=f"r{number}", line=RELEASE, identity=CI, rule="ci", algorithm="sha256", items=items,
        manifest_sha256=manifest_sha256(items), ttl_s=3_600,
    )  # fmt: skip
    change = ChangeRecord(
        change_id=id_, profile="baseline", deployment="d", log="l", kind="sign.release", line=RELEASE,
        request=canonical(request).decode(), summary="3 artifacts", reason="scheduled", risk="low", rollback="re-sign",
        ticket="", policy_sha256=node.office.state.policy_sha256, requester=CI, requester_person="",
        creator_person="person:carol", created=node.now, expires=node.now + 86_400,
        required=Required(path="signing", quorum=2, groups=("a", "b")),
    )  # fmt: skip
    found: list[f.Fact] = [f.ChangeSubmitted(change=change)]
    for person in ("person:alice", "person:bob"):
        found.append(
            f.ApprovalCounted(
                change_id=id_, person=person, statement="x" * 550, signature="y" * 380, credential="SHA256:" + "k" * 43,
                groups=("a",), flags=5, counter=number, nonce=f"{number}/{person}", expires=node.now + 3_600,
            )
        )  # fmt: skip
    for verb in ("approve", "execute"):
        found.append(f.ChangeMoved(change_id=id_, verb=verb, actor=CI))
    grant = node.grant(RELEASE, 3, grant=f"G{number:025}", change_id=id_, digests=tuple(one.digest for one in items))
    found.append(grant)
    for verb in ("succeed", "close"):
        found.append(f.ChangeMoved(change_id=id_, verb=verb, actor=CI))
    found.append(f.GrantMoved(grant=grant.grant, verb="expire" if number % 2 else "revoke", actor=OLGA_NAME, reason=""))
    return found


def history(node: Governed, count: int) -> Iterator[list[f.Fact]]:
    """Acts that together have `count` facts."""
    act: list[f.Fact] = []
    written = number = 0
    while written < count:
        act += release(node, number)
        number += 1
        if number % 5 == 0:
            act.append(node.enrolled(f"workload:w{number}", f"uri:spiffe://acme/w{number}"))
        if len(act) >= AN_ACT or written + len(act) >= count:
            written += len(act)
            yield act
            act = []


async def timed_start(node: Governed, *, without_file: bool = False) -> tuple[Governed, float]:
    """The next start of a node, and how long it took until requests could be decided on."""
    if without_file:
        snapshot_file(node).unlink()
    later = node.again()
    begun = time.perf_counter()
    await later.open()
    return later, time.perf_counter() - begun


def snapshot_file(node: Governed) -> Path:
    """Where it stands."""
    return node.directory / "gov" / "index" / "governance.snapshot"


def uses(node: Governed) -> tuple[dict[str, int], dict[str, int]]:
    """Of grants and keys; what was never used is not there."""
    ledger = node.office.ledger
    return ({k: n for k, n in ledger.grants.items() if n}, {k: n for k, n in ledger.keys.items() if n})


@pytest.mark.timing
async def test_a_long_history_starts_quickly_and_the_same(tmp_path: Path) -> None:
    """With and without the file: the same state to the byte, the same uses, in the time allowed."""
    node = Governed(tmp_path, lines=LINES, segment_bytes=16 << 20)
    await node.open()
    await node.begin()
    grant = node.grant(RELEASE, 1_000, not_after=node.now + 300 * 86_400)
    await node.write(grant)
    for number, act in enumerate(history(node, FACTS)):
        await node.write(*act)
        node.clock.advance(3_600)
        if number % 8 == 0:
            await node.sign(ask(RELEASE, digest(number), grant_id=grant.grant))
            await node.sign(ask(LOW, digest(f"nightly {number}")))
    state, spent = encode(node.office.state), uses(node)
    await node.close()

    from_file, file_s = await timed_start(node)
    assert from_file.folded.snapshot_seq > 0
    assert from_file.folded.facts == 1  # the record of the file itself
    one = encode(from_file.office.state), uses(from_file)
    await from_file.crash()

    from_log, log_s = await timed_start(node, without_file=True)
    assert from_log.folded.snapshot_seq == 0
    assert from_log.folded.facts > FACTS
    assert (encode(from_log.office.state), uses(from_log)) == one
    assert one[1] == spent
    assert len(one[0]) == len(state)  # it went on by one record, which says nothing
    await from_log.sign(ask(RELEASE, digest("after"), grant_id=grant.grant))
    await from_log.close()
    print(f"{FACTS} facts: {file_s:.2f} s from the file, {log_s:.2f} s from the log")  # noqa: T201
    assert file_s < FROM_FILE_S
    assert log_s < FROM_LOG_S


@pytest.mark.parametrize("when", ["before its record", "after its record", "never"])
async def test_a_crash_around_the_snapshot(tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between file, record and name: the next start has the same state, from the former file or from the log."""
    node = Governed(tmp_path, lines=LINES)
    await node.open()
    await node.begin()
    await node.office.keep()
    first = snapshot_file(node).read_bytes()
    await node.sign(ask(LOW, digest(1)))

    class Killed(BaseException):
        """The power went."""

    def kill(*arguments: Any) -> None:
        raise Killed

    if when == "before its record":
        monkeypatch.setattr(_archive, "write_half", kill)
    elif when == "after its record":
        monkeypatch.setattr(_archive, "finish", kill)
    if when == "never":
        await node.office.keep()
    else:
        with pytest.raises(Killed):
            await node.office._keep(snapshot_file(node))
    monkeypatch.undo()
    expected, spent = encode(node.office.state), uses(node)
    await node.crash()
    assert (snapshot_file(node).read_bytes() == first) is (when != "never")
    async with node.again() as later:
        assert later.folded.snapshot_seq > 0
        assert (encode(later.office.state), uses(later)) == (expected, spent)


@pytest.mark.parametrize("damage", ["a byte of the state", "the place of its record", "cut short", "another file"])
async def test_a_file_that_the_log_does_not_speak_for_counts_for_nothing(tmp_path: Path, damage: str) -> None:
    """Whoever writes the file can cost a slow start, and nothing else."""
    node = Governed(tmp_path, lines=LINES)
    await node.open()
    await node.begin()
    await node.sign(ask(LOW, digest(1)))
    await node.close()
    raw = bytearray(snapshot_file(node).read_bytes())
    if damage == "a byte of the state":
        raw[len(raw) // 2] ^= 1
    elif damage == "the place of its record":
        raw[16] ^= 8
    elif damage == "cut short":
        del raw[-1:]
    else:
        raw = bytearray(b"x" * 1_000)
    snapshot_file(node).write_bytes(raw)
    async with node.again() as later:
        assert later.folded.snapshot_seq == 0
        assert later.office.state.active[LOW] == "k-nightly"
        await later.sign(ask(LOW, digest(2)), caller(certificate_sha256=bytes(32)))


async def test_uses_of_every_log_are_found_again(tmp_path: Path) -> None:
    """A file that is older than the last requests: what came after it is counted from the records, lapses included."""
    node = Governed(tmp_path, lines=LINES, own_log=True)
    await node.open()
    await node.begin()
    grant = node.grant(RELEASE, 100)
    await node.write(grant)
    await node.sign(ask(RELEASE, *map(digest, range(7)), grant_id=grant.grant))
    node.signer.gate.clear()
    lost = asyncio.create_task(node.sign(ask(RELEASE, digest("lost"), grant_id=grant.grant)))
    await asyncio.sleep(0.05)
    await node.office.keep()  # it holds the use that will lapse
    node.clock.advance(301)
    node.signer.gate.set()
    with pytest.raises(Exception, match="could not be signed in time"):
        await lost
    await node.sign(ask(RELEASE, *map(digest, "abc"), grant_id=grant.grant))
    await asyncio.sleep(0.05)
    spent = uses(node)
    assert spent[0] == {grant.grant: 10}
    await node.crash()
    for without_file in (False, True):
        later, _ = await timed_start(node, without_file=without_file)
        assert (later.folded.snapshot_seq == 0) is without_file
        assert uses(later) == spent
        await later.crash()


async def test_a_log_that_began_without_governance_stays_without(tmp_path: Path) -> None:
    """What was signed under a file was approved by nobody: no anchors follow it."""
    node = Governed(tmp_path, lines={LOW: KeyClass.LOW}, governed=False)
    await node.open()
    await node.flow.adopt(node.shared.snapshot)
    await node.sign(ask(LOW, digest(1)))
    assert _archive.began_governed(node.logs["gov"]) is False
    await node.close()
    with pytest.raises(CannotStart) as caught:
        await Governed(tmp_path, lines={LOW: KeyClass.LOW}, clock=node.clock).open()
    assert caught.value.reason == "GOVERNANCE_LATE"


async def test_a_fact_that_cannot_follow_is_damage(tmp_path: Path) -> None:
    """A record that no rule of ours wrote: the node does not start, and names it."""
    node = Governed(tmp_path, lines=LINES)
    await node.open()
    await node.begin()
    assert _archive.began_governed(node.logs["gov"]) is True
    await node.crash()
    late = node.again()
    late.governed = False
    await late.open()
    body = f.body_of(node.moved("k-nightly", "activate"))
    log = late.logs["gov"]
    draft = log.draft()
    draft.event(RecordType.GOVERNANCE, GovernanceEvent("key.moved", body, bytes(32)))
    await log.commit(draft)
    await late.crash()
    with pytest.raises(Damaged) as caught:
        await node.again().open()
    assert caught.value.reason == "GOVERNANCE_FOLD"
    assert "key.moved" in caught.value.message


def test_places_compare_as_they_stand() -> None:
    """Segments before offsets: what `read` relies on."""
    assert Where(0, 9_000) < Where(1, 1)
