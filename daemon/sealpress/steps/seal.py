"""Step 4: have the signer sign the newest head with the line's key, or each leaf's digest (direct lines).

Lines are independent: each asks when it has durable leaves, and takes the newest committed head, so that one token
operation settles everything durable of the line. A head is told to the signer once per log (`advance`), in the same
breath as the call that needs it: the signer writes its mark while the token works.

Guarantees: heads reach the signer in growing order; an answer is checked for its shape here (the signer verified the
signatures, DESIGN L5); nothing is retried that might have produced an unrecorded signature. Does not: settle, record,
or hold anything that could be signed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from sealpress.core import leaf
from sealpress.core.proof import Note, parse_note
from sealpress.errors import CoreError, Damaged, Internal, Refusal, SealpressError, Unavailable
from sealpress.hsm.link import DirectItem, DirectResult, Sealed, SignerStatus, advance_path
from sealpress.steps._state import Head, Line, LogState, Ticket
from sealpress.tlog.record import Stored
from sealpress.verify.note import checkpoint_text

RETRYABLE = frozenset({"SLOT_DOWN", "HEAD_NOT_CURRENT", "SIGNER_STOPPING"})
DIRECT_PART = 512  # items of one call: the loop stays free, and a lost answer leaves few unknown

T = TypeVar("T")


class Signer(Protocol):
    """What this step needs of hsm.link.SignerLink."""

    async def advance(self, origin: str, size: int, root: bytes, consistency: bytes, newest_leaf_time: int) -> None:
        """Durable in the mark when it returns."""
        ...

    async def seal(self, origin: str, size: int, keys: list[str]) -> Sealed:
        """Signature lines of the log key and these keys under the last accepted head."""
        ...

    async def direct(self, key: str, items: list[DirectItem], size: int) -> list[DirectResult]:
        """One result per item, in order."""
        ...

    async def status(self) -> SignerStatus:
        """Marks, keys, slots."""
        ...


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A head under the signatures of the log and one line."""

    size: int
    time: int  # T of the line's cosignature
    log_note: bytes  # text and the log's signature
    checkpoint: bytes  # the same and the line's
    rv: int
    latency_us: int
    slot: str


@dataclass(frozen=True, slots=True)
class DirectPart:
    """What came of a part of one ticket's leaves."""

    positions: tuple[int, ...]
    results: tuple[DirectResult, ...]
    size: int  # head that the leaves were proved in


class Heads:
    """What the signer was told of one log."""

    def __init__(self, log: LogState, signer: Signer, mark_size: int) -> None:
        """`mark_size`: of the signer's mark, which the log was compared with."""
        self._log = log
        self._signer = signer
        self._told: int | None = mark_size  # None: ask for the mark first
        self._asking = asyncio.Lock()

    async def under_newest(self, call: Callable[[int], Awaitable[T]]) -> tuple[Head, T]:
        """Tell the newest head if it is news, and make the call under it in the same breath."""
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
        self._told = head.size
        path = advance_path(self._log.log.tree, told, head.size)
        advance = self._signer.advance(self._log.log.origin, head.size, head.root, path, head.time)
        # Both are written to the socket in this order before either is answered.
        done, answer = await asyncio.gather(advance, call(head.size), return_exceptions=True)
        for outcome in (done, answer):
            if isinstance(outcome, BaseException):
                self._told = None
                raise outcome
        assert not isinstance(answer, BaseException)
        return head, answer

    async def _ask(self) -> None:
        """The link was lost or a call failed: the mark says what the signer knows."""
        async with self._asking:
            if self._told is not None:
                return
            mark = (await self._signer.status()).logs.get(self._log.log.origin)
            size = mark.size if mark is not None else 0
            if mark is not None and (size > self._log.log.size or self._log.log.root(size) != mark.root):
                raise Damaged(
                    f"log {self._log.id}: the signer's mark of size {size} is not a head of this log",
                    reason="LOG_DIFFERS_FROM_MARK",
                    hint="another daemon signs with this signer, or its state was replaced: stop and compare",
                )
            self._told = size


async def seal_proof(heads: Heads, signer: Signer, line: Line) -> SignedHead:
    """The newest head of the line's log under the signatures of log and line. Refusal: try again, or give up."""
    origin, key = line.log.log.origin, line.key
    head, sealed = await heads.under_newest(lambda size: signer.seal(origin, size, [key]))
    by = sealed.lines.get(key)
    if by is None or not by.line:
        reason = by.reason if by is not None else "INTERNAL"
        raise Unavailable("the key did not sign", reason=reason, retry_after_ms=1_000)
    text = checkpoint_text(origin, head.size, head.root)
    log_note = text + b"\n" + sealed.log_signature_line
    checkpoint = log_note + by.line
    note = _parsed(checkpoint)
    names = [found.name for found in note.lines]
    if sealed.size != head.size or note.text != text or names != [origin, f"{line.log.log.name}/{line.name}"]:
        raise Internal("the signer's answer is not a checkpoint of this head")
    return SignedHead(head.size, sealed.time, log_note, checkpoint, by.rv, by.latency_us, by.slot)


async def sign_direct(heads: Heads, signer: Signer, line: Line, ticket: Ticket) -> list[DirectPart]:
    """Sign every leaf of a ticket that has no recorded signature yet, part by part. Refusals per part, never raised."""
    act = ticket.act
    assert act is not None
    missing = [position for position in range(act.count) if position not in ticket.signatures]
    salts = leaf.salts(act.salt_seed, 0, act.count)
    parts: list[DirectPart] = []
    for at in range(0, len(missing), DIRECT_PART):
        positions = missing[at : at + DIRECT_PART]

        async def call(size: int, positions: list[int] = positions) -> list[DirectResult]:
            return await signer.direct(line.key, _items(line, act, salts, positions, size), size)

        try:
            head, results = await heads.under_newest(call)
            size = head.size
            if len(results) != len(positions):
                raise Internal("the signer answered another number of items", reason="OUTCOME_UNKNOWN")
        except Refusal as error:
            if not parts and error.reason in RETRYABLE:
                raise  # nothing was signed: the whole ticket is tried again while its leaves are young
            results, size = [DirectResult(b"", 0, 0, "", error.reason)] * len(positions), line.log.head.size
        parts.append(DirectPart(tuple(positions), tuple(results), size))
    return parts


def _items(line: Line, act: Stored, salts: bytes, positions: list[int], size: int) -> list[DirectItem]:
    shared, tree, digest_size = act.opening, line.log.log.tree, act.event.algorithm.size
    return [
        DirectItem(
            shared + salts[16 * position : 16 * position + 16],
            act.digests[digest_size * position : digest_size * (position + 1)],
            act.first_leaf + position,
            tree.inclusion(act.first_leaf + position, size),
        )
        for position in positions
    ]


def _parsed(checkpoint: bytes) -> Note:
    try:
        return parse_note(checkpoint)
    except CoreError as error:
        raise Internal(f"the signer's answer is not a signed note: {error.message}") from error
