"""Callers who ask for everything that a node does, remember what they were told, and never give up.

Each asks, one after the other, for single signatures, batches, streams and direct signatures, for what is refused, and
for checkpoints. Without an answer he asks again with the same request id. When the daemon was killed he first asks
again for all that it had acknowledged to him, and compares.

Guarantees: AssertionError at once where an acknowledged answer is lost or differs, a proof does not verify offline, two
checkpoints of one size differ, or something is refused or permitted that should not be. Does not: start or kill.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from kit.node import Node
from sealpress.client import AsyncClient, StreamItem
from sealpress.core.merkle import Tree
from sealpress.core.proof import parse_note, parse_proof
from sealpress.errors import (
    Busy,
    Conflict,
    NotPermitted,
    OutcomeUnknown,
    SealpressError,
    TimedOut,
    TransportError,
    Unavailable,
)
from sealpress.values import DigestAlgorithm
from sealpress.verify.proof import verify_proof
from sealpress.wiring.dev import PREFIX

RETRYABLE = (Unavailable, Busy, TransportError)
PAUSE_S = 0.02  # before the same daemon is asked again
ITEMS_MAX = 40  # of a batch; a stream has a quarter
TIMEOUT_S = 20.0
SHA256, SHA384 = DigestAlgorithm.SHA256, DigestAlgorithm.SHA384
PROOFS = (PREFIX + "proof-ed25519", PREFIX + "proof-p256")
KEPT = PREFIX + "direct-p256"  # release = "outcome": a retry gets the very signature that was acknowledged
LOOSE = PREFIX + "direct-p384"  # release = "leaf": a kill may leave its outcome unknown
LINES = (*PROOFS, KEPT, LOOSE)


@dataclass(slots=True)
class Act:
    """One thing asked for, and after the answer what the caller was told."""

    line: str
    request_id: str
    digests: bytes
    batch: bool
    life: int = -1  # of the daemon that acknowledged it
    first_leaf: int = -1
    event_id: str = ""
    signatures: tuple[bytes, ...] = ()  # direct lines

    @property
    def algorithm(self) -> DigestAlgorithm:
        """Of its digests."""
        return SHA384 if self.line == LOOSE else SHA256

    def digest(self, position: int) -> bytes:
        """One of them."""
        return self.digests[self.algorithm.size * position : self.algorithm.size * (position + 1)]


@dataclass(slots=True)
class Heads:
    """Every checkpoint that anybody was ever shown: the root by size."""

    origin: str
    roots: dict[int, bytes] = field(default_factory=dict)

    def saw(self, checkpoint: bytes) -> None:
        """AssertionError if it contradicts one of before."""
        note = parse_note(checkpoint)
        assert note.origin == self.origin
        assert self.roots.setdefault(note.size, note.root) == note.root, f"two roots of size {note.size}"

    def check(self, tree: Tree) -> None:
        """AssertionError unless each is a head of this tree."""
        for size, root in self.roots.items():
            assert size <= tree.size, f"a head of size {size} was signed, the log has {tree.size} leaves"
            assert tree.root(size) == root, f"the signed root of size {size} is not the log's"


class Crowd:
    """Several callers on one node, whose daemon comes and goes."""

    def __init__(self, node: Node, origin: str, dice: random.Random) -> None:
        """`dice` choose what is asked for; nobody asks before `connect`."""
        self.heads = Heads(origin)
        self.acknowledged: list[Act] = []
        self.unknown: set[str] = set()  # ids of direct requests that ended as OUTCOME_UNKNOWN
        self.counts: Counter[str] = Counter()
        self.life = 0
        self._node = node
        self._dice = dice
        self._trust = {line: node.trust(line) for line in PROOFS}
        self._open = asyncio.Event()
        self._clients: deque[tuple[AsyncClient, AsyncClient]] = deque()  # with and without rights; the newest last
        self._ended = False
        self._tasks: list[asyncio.Task[None]] = []
        self._deeds: list[Callable[[_Caller], Awaitable[None]]] = [
            self._sign, self._sign, self._sign, self._batch, self._batch, self._stream, self._stranger_asks, self._read
        ]  # fmt: skip

    # ---- the daemon comes and goes ----

    def start(self, callers: int) -> None:
        """Let them begin."""
        self._tasks = [asyncio.create_task(self._live(_Caller(number))) for number in range(callers)]

    async def connect(self) -> None:
        """The daemon is there (again)."""
        self.life += 1
        settings: dict[str, Any] = {"attempts_max": 1, "timeout_s": TIMEOUT_S}
        self._clients.append((self._node.aclient(**settings), self._node.aclient("stranger", **settings)))
        self._open.set()
        while len(self._clients) > 2:  # one life later nothing is under way there, and closing cancels nobody
            await self._close()

    def disconnect(self) -> None:
        """It was killed; what is under way hears that from the broken connection."""
        self._open.clear()

    async def _close(self) -> None:
        for client in self._clients.popleft():
            await client.close()

    async def watch(self, seconds: float) -> None:
        """Let them work; whatever one of them finds wrong is raised here."""
        done, _ = await asyncio.wait(self._tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()

    async def finish(self) -> None:
        """Ask for nothing new; done when each has compared everything that he was told by an earlier daemon."""
        self._ended = True
        await asyncio.gather(*self._tasks)

    async def leave(self) -> None:
        """Go, whatever is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._clients:
            await self._close()

    # ---- what a caller does ----

    async def _live(self, caller: _Caller) -> None:
        while not self._ended or caller.told:
            if caller.told and caller.told[0].life < self.life:
                await self._compare(caller.told[0])
                caller.told.popleft()
            elif self._ended:
                return
            else:
                await self._dice.choice(self._deeds)(caller)

    def _new(self, caller: _Caller, line: str, count: int, *, batch: bool) -> Act:
        caller.asked += 1
        size = (SHA384 if line == LOOSE else SHA256).size
        return Act(line, f"caller-{caller.number}-{caller.asked}", self._dice.randbytes(size * count), batch)

    async def _sign(self, caller: _Caller) -> None:
        await self._until_answered(caller, self._new(caller, self._dice.choice(LINES), 1, batch=False))

    async def _batch(self, caller: _Caller) -> None:
        count = self._dice.randint(1, ITEMS_MAX)
        await self._until_answered(caller, self._new(caller, self._dice.choice(LINES), count, batch=True))

    async def _stream(self, caller: _Caller) -> None:
        """Several at once on one stream; what it left open is asked for one by one."""
        line = self._dice.choice(LINES)
        acts = [self._new(caller, line, 1, batch=False) for _ in range(self._dice.randint(2, ITEMS_MAX // 4))]
        waiting = {act.request_id: act for act in acts}
        items = [StreamItem(act.digests, act.algorithm, act.request_id) for act in acts]
        client, life = await self._connected(), self.life
        try:
            async for answer in client.sign_stream(items, line=line):
                if answer.signed is not None:
                    told = answer.signed
                    self._told(
                        caller, waiting.pop(told.request_id), life, told.leaf_index, told.event_id, told.document
                    )
        except RETRYABLE as error:
            self.counts[error.reason] += 1
        for act in waiting.values():
            await self._until_answered(caller, act)

    async def _stranger_asks(self, _caller: _Caller) -> None:
        """Who has no right gets a refusal, and no leaf: his id never turns up in the log."""
        await self._open.wait()
        try:
            await self._clients[-1][1].sign(self._dice.randbytes(32), line=PROOFS[0], request_id="stranger")
        except NotPermitted:
            self.counts["refused"] += 1
        except RETRYABLE as error:
            await self._failed(error)
        else:
            raise AssertionError("a stranger got a signature")

    async def _read(self, _caller: _Caller) -> None:
        client = await self._connected()
        try:
            checkpoint = await client.get_checkpoint()
            if checkpoint:  # none was sealed before the first signature
                self.heads.saw(checkpoint)
        except RETRYABLE as error:
            await self._failed(error)

    async def _until_answered(self, caller: _Caller, act: Act) -> None:
        while True:
            try:
                life, first_leaf, event_id, documents = await self._ask(act)
            except RETRYABLE as error:
                await self._failed(error)
            except OutcomeUnknown:
                assert act.line not in PROOFS
                self.unknown.add(act.request_id)
                return
            else:
                self._told(caller, act, life, first_leaf, event_id, *documents)
                return

    async def _ask(self, act: Act) -> tuple[int, int, str, list[bytes]]:
        client, life = await self._connected(), self.life
        try:
            if act.batch:
                batch = await client.sign_batch(act.digests, act.algorithm, line=act.line, request_id=act.request_id)
                return life, batch.first_leaf_index, batch.event_id, batch.documents
            one = await client.sign(act.digests, act.algorithm, line=act.line, request_id=act.request_id)
            return life, one.leaf_index, one.event_id, [one.document]
        except TimedOut:
            raise AssertionError(f"no answer in {TIMEOUT_S} s from daemon {life} (now {self.life}): {act}") from None

    def _told(self, caller: _Caller, act: Act, life: int, first_leaf: int, event_id: str, *documents: bytes) -> None:
        """Acknowledged: from here on it must never be lost."""
        act.life, act.first_leaf, act.event_id = life, first_leaf, event_id
        self._check(act, documents)
        if act.line not in PROOFS:
            act.signatures = documents
        self.acknowledged.append(act)
        caller.told.append(act)

    def _check(self, act: Act, documents: tuple[bytes, ...]) -> None:
        """Every proof holds without the daemon, for this very leaf. Direct signatures the client has verified."""
        for position, document in enumerate(documents):
            if act.line in PROOFS:
                found = verify_proof(self._trust[act.line], act.algorithm, act.digest(position), document)
                assert found.index == act.first_leaf + position
                self.heads.saw(parse_proof(document).checkpoint)
                self.counts["proofs"] += 1

    # ---- after a kill ----

    async def _compare(self, act: Act) -> None:
        """Asked again with the same id: the same leaf, the same signature; with other digests: refused."""
        while True:
            try:
                _, first_leaf, event_id, documents = await self._ask(act)
                break
            except RETRYABLE as error:
                await self._failed(error)
            except OutcomeUnknown:
                assert act.line == LOOSE, f"{act} was acknowledged, and its signature is gone"
                self.counts["loose"] += 1
                return
        assert (first_leaf, event_id) == (act.first_leaf, act.event_id), f"another leaf than {act}"
        if act.line in PROOFS:
            self._check(act, tuple(documents))
        else:
            assert tuple(documents) == act.signatures, f"another signature than {act}"
        self.counts["compared"] += 1
        if self._dice.random() < 0.1:
            await self._misuse(act)

    async def _misuse(self, act: Act) -> None:
        other = Act(act.line, act.request_id, self._dice.randbytes(len(act.digests)), act.batch)
        try:
            await self._ask(other)
        except Conflict:
            self.counts["conflicts"] += 1
        except RETRYABLE as error:
            await self._failed(error)
        else:
            raise AssertionError(f"the id of {act} was taken for other digests")

    # ---- waiting ----

    async def _connected(self) -> AsyncClient:
        await self._open.wait()
        return self._clients[-1][0]

    async def _failed(self, error: SealpressError) -> None:
        self.counts[error.reason] += 1
        await asyncio.sleep(PAUSE_S)


@dataclass(slots=True)
class _Caller:
    number: int
    asked: int = 0
    told: deque[Act] = field(default_factory=deque)  # not yet compared after a kill
