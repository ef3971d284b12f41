"""A real log of a firmware line and the real guard: does the honest front end open its leaves, also after an outage?"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from kit.clock import VirtualClock
from kit.entropy import SeededEntropy
from kit.firmware import KEY, LINE, Office, make_firmware_node
from kit.scribe import request_event
from kit.signer import LOG_NAME, ORIGIN, LocalSigner, Node
from sealpress.config import Limits, load
from sealpress.core import leaf
from sealpress.errors import Damaged, NotPermitted, Unavailable
from sealpress.hsm.link import SignerLink
from sealpress.steps import _opened, seal
from sealpress.steps._head import Head
from sealpress.steps._signer import Heads
from sealpress.steps._ticket import Line, LogState
from sealpress.steps.batch import Queue
from sealpress.tlog.entry import RecoveryEvent, RequestEvent
from sealpress.tlog.log import Log
from sealpress.tlog.record import Stored, stored
from sealpress.tlog.settings import LogSettings
from sealpress.values import Mode, RecordType
from sealpress.verify.evidence import Evidence
from sealpress.verify.note import line_key

NOW = 1_800_000_000
OFFICE = Office(NOW)
SEGMENT = 64 << 10


@dataclass
class Front:
    """An honest front end, as far as the seal step knows it."""

    node: Node
    log: Log
    state: LogState
    line: Line
    link: SignerLink
    clock: VirtualClock
    evidence: dict[str, Evidence] = field(default_factory=dict)
    parts: list[tuple[int, int, int]] = field(default_factory=list)  # told: size, leaves, change records
    serial: int = 0

    def heads(self, mark_size: int = 0, leaves_max: int = 64) -> Heads:
        """As after a start of the daemon."""
        return Heads(self.state, self, mark_size, self.evidence.get, leaves_max)

    async def advance(self, *fields: Any) -> None:
        """Pass on, and remember."""
        opened = fields[5]
        self.parts.append((fields[1], len(opened.leaves), len(opened.evidence)))
        await self.link.advance(*fields)

    def __getattr__(self, name: str) -> Any:
        """All other calls go to the signer as they are."""
        return getattr(self.link, name)

    def commit(self, *counts: int, events: int = 0, approved: bool = True) -> list[Stored]:
        """One commit: a release and a request for each count, and events."""
        draft = self.log.draft()
        placed = []
        for count in counts:
            self.serial += 1
            change = f"c{self.serial}"
            digests = [hashlib.sha256(f"{change} {i}".encode()).digest() for i in range(count)]
            if approved:
                self.evidence[change] = OFFICE.evidence(OFFICE.release(*digests, security_version=3, change_id=change))
            event = self.event(change)
            placed.append(draft.request(event, None, bytes([self.serial % 256]) * 32, b"", b"".join(digests), count))
        for _ in range(events):
            draft.event(RecordType.RECOVERY, self.harmless())
        committed = self.log.commit_now(draft)
        self.state.head = Head(committed.tree_size, committed.root, committed.time_ns // 1_000_000_000)
        return [stored(self.log.reader.record(committed.where(one)), LOG_NAME) for one in placed]

    def event(self, change: str) -> RequestEvent:
        """A REQUEST under that change."""
        how = {"mode": self.line.mode, "format": self.line.section.format, "key_id": self.line.key_id}
        fields = {"request_id": change, "line": LINE, "change_id": change, "event_id": self.serial.to_bytes(16)}
        return request_event(**how, **fields)

    @staticmethod
    def harmless() -> Any:
        """Any event."""
        return RecoveryEvent("torn_tail", 0, 1, 2, "a", b"b", 3, 4)


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Node]:
    """A provisioned node of each mode, to copy."""
    place = tmp_path_factory.mktemp("opened")
    return {mode: make_firmware_node(place / mode, OFFICE, mode) for mode in ("proof", "direct")}


@pytest.fixture
async def front(
    request: pytest.FixtureRequest, templates: dict[str, Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Front]:
    """A new log of several small segments, and its signer."""
    node = templates[getattr(request, "param", "proof")].copy(tmp_path / "n")
    monkeypatch.setenv("SOFTHSM2_CONF", node.env["SOFTHSM2_CONF"])
    clock = VirtualClock(NOW)
    settings = LogSettings(tmp_path / "log", LOG_NAME, 1, segment_bytes=SEGMENT, write="pwrite", governance=False)
    log = Log.open(settings, clock, SeededEntropy())
    log.start(None)
    section = load(node.config).key[KEY]
    spki = node.public(KEY)
    state = LogState("fw", log, log.recovered.known, Queue(Limits()), Head(log.size, log.root(), NOW), "")
    vkey = line_key(f"{LOG_NAME}/{LINE}", spki).vkey if section.mode is Mode.PROOF else ""
    line = Line(LINE, KEY, section, spki, leaf.key_id(spki), vkey, state)
    state.lines.append(line)
    async with LocalSigner(node, clock) as signer:
        del signer
        link = SignerLink(node.socket, 10_000)
        await link.connect()
        yield Front(node, log, state, line, link, clock)
        await link.close()
    log.close()


async def test_a_release_is_opened_and_sealed(front: Front) -> None:
    """Leaf 0, events and the release go out opened, with one change record; the head is sealed."""
    heads = front.heads()
    front.commit(3, events=2)
    head = await seal.seal_proof(heads, front, front.line)

    assert head.size == front.log.size == 6  # log.created before them
    assert front.parts == [(6, 6, 1)]
    front.commit(1)
    assert (await seal.seal_proof(heads, front, front.line)).size == 7
    assert front.parts[1:] == [(7, 1, 1)]
    assert (await seal.seal_proof(heads, front, front.line)).size == 7  # nothing is news


async def test_long_ranges_are_told_in_parts(front: Front) -> None:
    """Over many commits and segments, from the mark of an earlier run, at any cut."""
    draw_counts = [5, 1, 90, 2, 40, 300, 1]
    for count in draw_counts:
        front.commit(count, events=3)
    for leaves_max in (64, 7):
        mark = (await front.link.status()).logs[ORIGIN].size
        head = await seal.seal_proof(front.heads(mark, leaves_max), front, front.line)
        assert head.size == front.log.size
        assert all(leaves <= leaves_max for _, leaves, _ in front.parts)
        front.parts.clear()
        for count in draw_counts:
            front.commit(count, events=3)
    assert len(front.log.reader.numbers()) > 1


@pytest.mark.parametrize("front", ["direct"], indirect=True)
async def test_direct_leaves_are_signed_after_they_were_opened(front: Front) -> None:
    """Every digest of the release gets its signature."""
    (act,) = front.commit(70)
    ticket: Any = type("T", (), {"act": act, "signatures": {}})()
    parts = await seal.sign_direct(front.heads(), front, front.line, ticket)
    assert [bool(one.signature) for part in parts for one in part.results] == [True] * 70
    assert front.parts == [(64, 64, 1), (71, 7, 1)]


async def test_the_outage_of_a_signer_does_not_kill_the_log(front: Front) -> None:
    """The leaves are an hour old, their approvals have expired: they are accepted as what they are, and lapse."""
    front.commit(2)
    front.clock.advance(4_000)
    front.commit(events=1)
    heads = front.heads()
    with pytest.raises(NotPermitted) as caught:
        await seal.seal_proof(heads, front, front.line)
    assert caught.value.reason == "NOTHING_TO_SIGN"
    assert (await front.link.status()).logs[ORIGIN].size == front.log.size


async def test_evidence_that_is_late_is_waited_for(front: Front) -> None:
    """Nobody has the approvals at the moment: everything before is told, the rest at the next try."""
    front.commit(2)
    front.commit(1, approved=False)
    heads = front.heads()
    with pytest.raises(Unavailable) as caught:
        await seal.seal_proof(heads, front, front.line)
    assert caught.value.reason == "EVIDENCE_MISSING"
    assert front.parts == [(3, 3, 1)]
    digest = hashlib.sha256(b"c2 0").digest()
    front.evidence["c2"] = OFFICE.evidence(OFFICE.release(digest, security_version=3, change_id="c2"))
    assert (await seal.seal_proof(heads, front, front.line)).size == 4


async def test_an_unapproved_leaf_is_met_with_its_reason(front: Front) -> None:
    """A log that somebody else wrote into: refused, and again, and the mark stays before that leaf."""
    front.commit(2)
    heads = front.heads()
    await seal.seal_proof(heads, front, front.line)
    front.commit(1)
    front.evidence["c2"] = replace(front.evidence["c2"], approvals=())
    for _ in range(2):
        with pytest.raises(NotPermitted) as caught:
            await seal.seal_proof(heads, front, front.line)
        assert caught.value.reason == "RELEASE_QUORUM"
    assert (await front.link.status()).logs[ORIGIN].size == 3


async def test_many_change_records_are_spread_over_messages(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as fit by number and by size, and never less than one."""
    for _ in range(10):
        front.commit(1)
    monkeypatch.setattr(_opened, "EVIDENCE_MAX", 4)
    assert (await seal.seal_proof(front.heads(), front, front.line)).size == 11
    assert [evidence for _, _, evidence in front.parts] == [4, 4, 2]
    front.parts.clear()
    for _ in range(3):
        front.commit(1)
    monkeypatch.setattr(_opened, "EVIDENCE_BYTES_MAX", 10)
    assert (await seal.seal_proof(front.heads(11), front, front.line)).size == 14
    assert front.parts == [(12, 1, 1), (13, 1, 1), (14, 1, 1)]


async def test_many_approvals_are_spread_over_messages(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the signer verifies for one message: two records of two approvals each, where it takes five."""
    for _ in range(5):
        front.commit(1)
    monkeypatch.setattr(_opened, "ADVANCE_APPROVALS_MAX", 5)
    assert (await seal.seal_proof(front.heads(), front, front.line)).size == 6
    assert [2, 2, 1] == [evidence for _, _, evidence in front.parts]


async def test_two_who_seal_at_once_tell_each_leaf_once(front: Front) -> None:
    """Parts are told one after the other, whoever asks."""
    for _ in range(5):
        front.commit(30)
    heads = front.heads()
    sealed = await asyncio.gather(*(seal.seal_proof(heads, front, front.line) for _ in range(3)))
    assert [head.size for head in sealed] == [151] * 3
    assert [size for size, _, _ in front.parts] == [64, 128, 151]


async def test_a_foreign_mark_is_damage(front: Front) -> None:
    """The signer's mark is of another log than ours: nothing is told."""
    front.commit(2)
    await seal.seal_proof(front.heads(), front, front.line)
    heads = front.heads()
    heads._told = None
    front.state.log = replace_root(front.log)
    with pytest.raises(Damaged):
        await seal.seal_proof(heads, front, front.line)


def replace_root(log: Log) -> Any:
    """The same log, but for its roots."""

    class Other:
        origin, size, name = log.origin, log.size, log.name

        def root(self, size: int) -> bytes:
            return bytes(32)

    return Other()
