"""Step 4: have the signer sign the newest head with the line's key, or each leaf's digest (direct lines).

Lines are independent: each asks when it has durable leaves, and takes the newest committed head, so that one token
operation settles everything durable of the line. A head is told to the signer once per log (`advance`), in the same
breath as the call that needs it: the signer writes its mark while the token works.

A held line (hold = "witnessed") signs no newest head: its log's key signs one, the quorum of witnesses cosigns it
(_witnesses.py), and then the line's key signs that very head, or its leaves shown in it.

A log of class firmware or root opens its leaves: the signer gets what each new leaf is made of, read back from the
records, and the approvals of those to be signed, a part at a time. A refusal there for lack of approvals is met only by
a log that holds a leaf which nobody approved; until people close that log its leaves lapse.

Guarantees: heads reach the signer in growing order; an answer is checked for its shape here (the signer verified the
signatures, DESIGN L5); nothing is retried that might have produced an unrecorded signature. Does not: settle, record,
or hold anything that could be signed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol, TypeVar

from sealpress.core import leaf
from sealpress.core.leaf import OPENING_SHARED_SIZE, SALT_SIZE
from sealpress.core.proof import is_note_of
from sealpress.errors import Busy, CoreError, Damaged, Internal, Refusal, SealpressError, Unavailable
from sealpress.hsm.link import (
    Call,
    DirectItem,
    DirectResult,
    EventLeaf,
    Mark,
    Openings,
    Sealed,
    SignatureLeaf,
    advance_path,
)
from sealpress.hsm.messages import EVIDENCE_BYTES_MAX, EVIDENCE_MAX
from sealpress.steps._head import Head, SignedHead, Witnessed
from sealpress.steps._ticket import Line, LogState, Ticket
from sealpress.tlog.entry import RequestEvent, Where
from sealpress.tlog.log import Log
from sealpress.tlog.record import NANOSECONDS, Record, Stored
from sealpress.verify.evidence import Evidence, no_evidence
from sealpress.verify.note import checkpoint_text
from sealpress.verify.witness import Cosignature

RETRYABLE = frozenset({"SLOT_DOWN", "HEAD_NOT_CURRENT", "SIGNER_STOPPING", "EVIDENCE_MISSING", "NOT_WITNESSED"})
SLOT_FULL = "SLOT_FULL"  # the slot is up, and as many operations wait for it as may
LEAVES_MAX = 2_048  # opened in one advance, unless the configuration says otherwise
DIRECT_PART = 512  # items of one call: the loop stays free, and a lost answer leaves few unknown

T = TypeVar("T")


class Signer(Protocol):
    """What this step needs of hsm.link.SignerLink; a `Call` was sent when it is there."""

    def advance(
        self,
        origin: str,
        size: int,
        root: bytes,
        consistency: bytes,
        newest_leaf_time: int,
        opened: Openings | None = None,
    ) -> Call[object]:
        """Durable in the mark when it is answered."""
        ...

    def seal(self, origin: str, size: int, keys: list[str], *, hold: bool = False) -> Call[Sealed]:
        """Signature lines of the log key and these keys under the last accepted head; held keys: a witnessed one."""
        ...

    async def cosigned(self, origin: str, size: int, cosignatures: Sequence[Cosignature]) -> None:
        """The quorum has cosigned a head that was sealed with `hold`."""
        ...

    def direct(self, key: str, items: list[DirectItem], size: int) -> Call[list[DirectResult]]:
        """One result per item, in order."""
        ...

    async def mark(self, origin: str) -> Mark | None:
        """What the log's signer knows of it now."""
        ...


@dataclass(frozen=True, slots=True)
class DirectPart:
    """What came of a part of one ticket's leaves."""

    positions: tuple[int, ...]
    results: tuple[DirectResult, ...]
    size: int  # head that the leaves were proved in


@dataclass(frozen=True, slots=True)
class _Leaf:
    """One leaf, opened, and the change that it cites; its evidence is not numbered yet."""

    opened: EventLeaf | SignatureLeaf
    change_id: str
    time: int


class Heads:
    """What the signer was told of one log."""

    def __init__(
        self,
        log: LogState,
        signer: Signer,
        mark_size: int,
        evidence: Callable[[str], Evidence | None] = no_evidence,
        leaves_max: int = LEAVES_MAX,
    ) -> None:
        """`mark_size`: of the signer's mark, which the log was compared with; `evidence`: by change id."""
        self._log = log
        self._signer = signer
        self._told: int | None = mark_size  # None: ask for the mark first
        self._asking = asyncio.Lock()
        self._opening = asyncio.Lock()
        self._evidence = evidence
        self._leaves_max = leaves_max
        self._read_to: Where | None = None  # the record of the last leaf told; None: to be looked for
        self.opens = any(line.section.class_.opened for line in log.lines)  # the signer looks at every leaf

    async def under_newest(self, call: Callable[[int], Call[T]]) -> tuple[Head, T]:
        """Tell the newest head if it is news, and make the call under it in the same breath."""
        if self.opens:
            return await self._under_opened(call)
        if self._told is None:
            await self._ask()
        head, told = self._log.head, self._told
        assert told is not None
        if head.size <= told:
            try:
                return head, await call(told)
            except SealpressError:
                self._told = None
                raise
        path = advance_path(self._log.log.tree, told, head.size)
        # Both are on their way, in this order, before either is answered, and before anybody else runs: those whom the
        # last seal woke have their answers made while the token works on this one.
        advanced = self._signer.advance(self._log.log.origin, head.size, head.root, path, head.time)
        answer = call(head.size)
        self._told = head.size
        try:
            try:
                await advanced
            except Refusal as refused:
                self._told = None
                answered = await _in_spite(answer, refused)
                with suppress(Refusal):  # it stands: a token may have worked for it
                    await self._ask()  # under a head of this size that we did not tell: is it one of this log?
                return head, answered
            return head, await answer
        except BaseException:
            self._told = None
            answer.close()
            raise

    async def _under_opened(self, call: Callable[[int], Call[T]]) -> tuple[Head, T]:
        """The same, for a log that opens its leaves: first part after part, then the call."""
        async with self._opening:
            if self._told is None:
                await self._ask()
            head = self._log.head
            try:
                while self._told is not None and self._told < head.size:
                    self._told = await self._tell_part(self._told, head.size)
                return head, await call(head.size)
            except SealpressError:
                self._told = self._read_to = None
                raise

    async def _tell_part(self, told: int, size: int) -> int:
        """Open the next leaves to the signer; the size that it accepted."""
        end = min(told + self._leaves_max, size)
        loop = asyncio.get_running_loop()
        found, where = await loop.run_in_executor(None, _read_leaves, self._log.log, told, end, self._read_to)
        opened = self._with_evidence(found)
        end = told + len(opened.leaves)
        time = found[len(opened.leaves) - 1].time
        root = self._log.log.root(end)
        await self._signer.advance(self._log.log.origin, end, root, b"", time, opened)
        if len(opened.leaves) == len(found):
            self._read_to = where
        return end

    def _with_evidence(self, found: list[_Leaf]) -> Openings:
        """The leaves whose evidence fits into one message; Unavailable EVIDENCE_MISSING if the first has none."""
        positions: dict[str, int] = {}
        evidence: list[Evidence] = []
        leaves: list[EventLeaf | SignatureLeaf] = []
        room = EVIDENCE_BYTES_MAX
        for one in found:
            if isinstance(one.opened, EventLeaf):
                leaves.append(one.opened)
                continue
            if one.change_id not in positions:
                held = self._evidence(one.change_id)
                if held is None and not leaves:
                    raise Unavailable("a leaf's approvals are not at hand", reason="EVIDENCE_MISSING")
                if held is None or (leaves and (held.size > room or len(evidence) == EVIDENCE_MAX)):
                    break
                room -= held.size
                positions[one.change_id] = len(evidence)
                evidence.append(held)
            leaves.append(replace(one.opened, evidence=positions[one.change_id]))
        return Openings(tuple(leaves), tuple(evidence))

    async def _ask(self) -> None:
        """The link was lost or a call failed: the mark says what the signer knows."""
        async with self._asking:
            if self._told is not None:
                return
            mark = await self._signer.mark(self._log.log.origin)
            if mark is None:
                raise Unavailable("the signer of this log does not answer", retry_after_ms=1_000)
            size = mark.size
            if size > self._log.log.size or self._log.log.root(size) != mark.root:
                raise Damaged(
                    f"log {self._log.id}: the signer's mark of size {size} is not a head of this log",
                    reason="LOG_DIFFERS_FROM_MARK",
                    hint="another daemon signs with this signer, or its state was replaced: stop and compare",
                )
            self._told = size


async def _in_spite(answer: Call[T], refused: Refusal) -> T:
    """Of a call that was sent together with this head: only it can say whether a token may have worked for it."""
    try:
        return await answer
    except Refusal as error:
        raise (error if error.reason in {"OUTCOME_UNKNOWN", "INTERNAL"} else refused) from None


async def seal_proof(heads: Heads, signer: Signer, line: Line, held: Witnessed | None = None) -> SignedHead:
    """The newest head of the line's log under the signatures of log and line. Refusal: try again, or give up.

    A held line: the head that its witnesses have cosigned, with their signatures.
    """
    origin, key = line.log.log.origin, line.key
    if held is not None:
        return _signed_head(line, held.size, held.text, await signer.seal(origin, held.size, [key]), held.cosignatures)

    asked: list[int] = []

    def call(size: int) -> Call[Sealed]:
        line.asked = size
        asked.append(size)
        line.asking.append(size)
        return signer.seal(origin, size, [key])

    try:
        head, sealed = await heads.under_newest(call)
    finally:
        for size in asked:
            line.asking.remove(size)
    return _signed_head(line, head.size, checkpoint_text(origin, head.size, head.root), sealed, b"")


def _signed_head(line: Line, size: int, text: bytes, sealed: Sealed, cosignatures: bytes) -> SignedHead:
    by = sealed.lines.get(line.key)
    if by is None or not by.line:
        reason = by.reason if by is not None else "INTERNAL"
        kind = Busy if reason == SLOT_FULL else Unavailable
        raise kind("the key did not sign", reason=reason, retry_after_ms=1_000)
    log_note = text + b"\n" + sealed.log_signature_line
    own = log_note + by.line
    others = cosignatures.count(b"\n")
    _check_note(sealed, size, own + cosignatures, text, (line.log.origin, line.signer), others)
    return SignedHead(size, sealed.time, log_note, own, own + cosignatures, by.rv, by.latency_us, by.slot)


async def seal_log(heads: Heads, signer: Signer, log: LogState) -> None:
    """The newest head under the log's own signature: for facts of governance, which no line's batch may follow."""
    await propose(heads, signer, log, hold=False)


async def propose(heads: Heads, signer: Signer, log: LogState, *, hold: bool = True) -> tuple[int, bytes]:
    """The newest head, its size and note, under the log's signature; with `hold` the signer expects cosignatures."""
    head, sealed = await heads.under_newest(lambda size: signer.seal(log.log.origin, size, [], hold=hold))
    text = checkpoint_text(log.log.origin, head.size, head.root)
    signed = text + b"\n" + sealed.log_signature_line
    _check_note(sealed, head.size, signed, text, (log.origin,))
    log.signed(head.size, signed)
    return head.size, signed


def rounds(tickets: Sequence[Ticket], leaves_max: int) -> Iterator[list[Ticket]]:
    """The tickets of a batch, in order, a call's worth at a time; one with many leaves is a round of its own."""
    taken: list[Ticket] = []
    leaves = 0
    for ticket in tickets:
        if taken and leaves + ticket.ask.count > leaves_max:
            yield taken
            taken, leaves = [], 0
        taken.append(ticket)
        leaves += ticket.ask.count
    if taken:
        yield taken


async def sign_direct(
    heads: Heads, signer: Signer, line: Line, ticket: Ticket, held: Witnessed | None = None
) -> list[DirectPart]:
    """One ticket as a round."""
    return (await sign_round(heads, signer, line, [ticket], held))[0]


async def sign_round(
    heads: Heads, signer: Signer, line: Line, tickets: Sequence[Ticket], held: Witnessed | None = None
) -> list[list[DirectPart]]:
    """Sign every leaf of these tickets that has no recorded signature yet, part by part; what came of it, per ticket.

    Refusals per part, never raised, unless nothing was signed yet and trying again may help. Of a held line the leaves
    are shown in the head that its witnesses have cosigned.
    """
    leaves = [
        (of, position)
        for of, ticket in enumerate(tickets)
        for position in range(_act(ticket).count)
        if position not in ticket.signatures
    ]
    salts = [leaf.salts(_act(ticket).salt_seed, 0, _act(ticket).count) for ticket in tickets]
    parts: list[list[DirectPart]] = [[] for _ in tickets]
    for at in range(0, len(leaves), DIRECT_PART):
        some = leaves[at : at + DIRECT_PART]

        def call(size: int, some: list[tuple[int, int]] = some) -> Call[list[DirectResult]]:
            items = [_item(line, _act(tickets[of]), salts[of], position, size) for of, position in some]
            return signer.direct(line.key, items, size)

        try:
            if held is not None:
                size, results = held.size, await call(held.size)
            else:
                head, results = await heads.under_newest(call)
                size = head.size
            if len(results) != len(some):
                raise Internal("the signer answered another number of items", reason="OUTCOME_UNKNOWN")
        except Refusal as error:
            if at == 0 and error.reason in RETRYABLE:
                raise  # nothing was signed: all is tried again while its leaves are young
            results, size = [DirectResult(b"", 0, 0, "", error.reason)] * len(some), line.log.head.size
        for of, group in groupby(zip(some, results, strict=True), key=lambda one: one[0][0]):
            of_ticket = list(group)
            positions = tuple([position for (_, position), _ in of_ticket])
            parts[of].append(DirectPart(positions, tuple([result for _, result in of_ticket]), size))
    return parts


def _act(ticket: Ticket) -> Stored:
    assert ticket.act is not None
    return ticket.act


def _item(line: Line, act: Stored, salts: bytes, position: int, size: int) -> DirectItem:
    digest_size, index = act.event.algorithm.size, act.first_leaf + position
    return DirectItem(
        act.opening + salts[SALT_SIZE * position : SALT_SIZE * (position + 1)],
        act.digests[digest_size * position : digest_size * (position + 1)],
        index,
        line.log.log.tree.inclusion(index, size),
    )


def _read_leaves(log: Log, first: int, end: int, at: Where | None) -> tuple[list[_Leaf], Where]:
    """Open the leaves [first, end) from their records; where the last of them stands. Any thread."""
    leaves: list[_Leaf] = []
    where = Where(0, 0)
    for record in log.reader.records_of_leaves(first, at):
        start = record.head.first_leaf
        part = range(max(first, start) - start, min(end, start + record.head.count) - start)
        if not part:
            break
        where = record.where
        leaves += _leaves_of(record, log.name, part)
        if len(leaves) == end - first:
            break
    if len(leaves) != end - first:
        raise Internal("the records of the newest leaves are not to be found")
    return leaves, where


def _leaves_of(record: Record, log_name: str, part: range) -> list[_Leaf]:
    event, time = record.event, record.time_ns // NANOSECONDS
    if not isinstance(event, RequestEvent):
        return [_Leaf(EventLeaf(record.hash, time), "", time)]
    shared = leaf.opening(record.spec(log_name), bytes(SALT_SIZE))[:OPENING_SHARED_SIZE]
    salts = leaf.salts(record.salt_seed, part.start, len(part))
    size, change_id = event.algorithm.size, event.change_id
    openings = (shared + salts[SALT_SIZE * i : SALT_SIZE * (i + 1)] for i in range(len(part)))
    digests = (record.digests[size * position : size * (position + 1)] for position in part)
    return [
        _Leaf(SignatureLeaf(event.key_id, opening, digest, 0), change_id, time)
        for opening, digest in zip(openings, digests, strict=True)
    ]


def _check_note(
    sealed: Sealed, size: int, checkpoint: bytes, text: bytes, names: Sequence[bytes], others: int = 0
) -> None:
    """Internal unless the signer's answer is about this head, and a checkpoint with lines of these names first."""
    try:
        right = sealed.size == size and is_note_of(checkpoint, text, names, others)
    except CoreError as error:
        raise Internal(f"the signer's answer is not a signed note: {error.message}") from error
    if not right:
        raise Internal("the signer's answer is not a checkpoint of this head")
