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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from sealpress.core import leaf
from sealpress.core.leaf import SALT_SIZE
from sealpress.core.proof import is_note_of
from sealpress.errors import Busy, CoreError, Internal, Precondition, Refusal, Unavailable
from sealpress.hsm.leaves import DirectItem
from sealpress.hsm.link import Call
from sealpress.hsm.outcomes import DirectResult, Sealed
from sealpress.steps._head import SignedHead, Witnessed
from sealpress.steps._signer import Heads, Signer
from sealpress.steps._ticket import Line, LogState, Ticket
from sealpress.tlog.record import Stored
from sealpress.verify.note import checkpoint_text

RETRYABLE = frozenset({"SLOT_DOWN", "HEAD_NOT_CURRENT", "SIGNER_STOPPING", "EVIDENCE_MISSING", "NOT_WITNESSED"})
SLOT_FULL = "SLOT_FULL"  # the slot is up, and as many operations wait for it as may
DIRECT_PART = 512  # items of one call: the loop stays free, and a lost answer leaves few unknown


@dataclass(frozen=True, slots=True)
class DirectPart:
    """What came of a part of one ticket's leaves."""

    positions: tuple[int, ...]
    results: tuple[DirectResult, ...]
    size: int  # head that the leaves were proved in


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
    heads: Heads,
    signer: Signer,
    line: Line,
    tickets: Sequence[Ticket],
    held: Witnessed | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> list[list[DirectPart]]:
    """Sign every leaf of these tickets that has no recorded signature yet, part by part; what came of it, per ticket.

    Refusals per part, never raised, unless nothing was signed yet and trying again may help. Of a held line the leaves
    are shown in the head that its witnesses have cosigned. `stopped`: whether the key is by now; asked between parts.
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
            if at and stopped():
                raise Precondition("the key was stopped", reason="KEY_NOT_ACTIVE")
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
