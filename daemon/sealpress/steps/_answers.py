"""What answers are made of: a range proof, whole proofs, what the log holds of a request that is asked for again.

Guarantees: made of the same bytes whether fresh, joined, or read back from the log; a head that witnesses cosigned
stands for another only while the leaves are young enough for it. Does not: wait, or settle.
"""

from __future__ import annotations

from dataclasses import dataclass

from sealpress.core import proof
from sealpress.core.merkle import Range
from sealpress.steps._request import Settled
from sealpress.steps._shared import Shared
from sealpress.steps._ticket import Line
from sealpress.tlog.entry import OutcomeStatus
from sealpress.tlog.known import KnownRequest
from sealpress.tlog.log import Log
from sealpress.values import Mode


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """What SignBatch hands out besides the checkpoint."""

    opening: bytes
    left: bytes
    right: bytes


def batch(settled: Settled) -> BatchAnswer:
    """SignBatch's answer: one range proof whatever N is."""
    act = settled.act
    if settled.signatures:
        return BatchAnswer(act.opening, b"", b"")
    left, right = settled.log.tree.range(act.first_leaf, act.count, settled.tree_size)
    return BatchAnswer(act.opening, left, right)


def expand(settled: Settled) -> list[bytes]:
    """N whole proofs, made in C; up to a second, so not on the loop."""
    act, tree = settled.act, settled.log.tree
    left, right = tree.range(act.first_leaf, act.count, settled.tree_size)
    root = tree.root(settled.tree_size)
    paths = Range(act.leaf_hashes(), act.first_leaf, settled.tree_size, left, right, root)
    return proof.write_proofs(paths, act.opening, act.salt_seed, settled.checkpoint)


def stored_answer(log: Log, known: KnownRequest) -> Settled:
    """The answer of a request that the log holds, read back; not on the loop."""
    act = log.stored(known.where)
    outcomes = [log.outcome(where).event for where in known.outcomes]
    if known.mode is Mode.PROOF:
        sealed = next(event for event in outcomes if event.status is OutcomeStatus.SEALED)
        return Settled(log, act, sealed.tree_size, sealed.checkpoint)
    signatures = stored_signatures(log, known)
    whole = tuple([signatures[position] for position in range(act.count)])
    return Settled(log, act, max(event.tree_size for event in outcomes), b"", whole)


def with_cosignatures(shared: Shared, line: Line | None, settled: Settled) -> Settled:
    """The same leaves under a head of their line that witnesses cosigned meanwhile, where there is one."""
    head, act = line.cosigned if line is not None else None, settled.act
    if head is None or head.size < act.first_leaf + act.count:
        return settled
    if head.time - act.spec.time > shared.leaf_age_s_max:
        return settled
    return Settled(settled.log, act, head.size, head.checkpoint)


def stored_signatures(log: Log, known: KnownRequest) -> dict[int, bytes]:
    """Direct signatures recorded so far, by position; not on the loop."""
    found: dict[int, bytes] = {}
    for where in known.outcomes:
        by_leaf = log.outcome(where).signatures_of(known.seq)
        found.update((index - known.first_leaf, signature) for index, signature in by_leaf.items())
    return found
