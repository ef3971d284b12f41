"""What the steps need of the signer, and what it was told of each log.

A head is told to the signer once per log (`advance`), in the same breath as the call that needs it. A log of class
firmware or root opens its leaves to it first, a part at a time (_opened.py).

Guarantees: heads reach the signer in growing order; after a call that failed, its mark says what it knows. Does not:
make a call by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol, TypeVar

from sealpress.errors import Damaged, Refusal, SealpressError, Unavailable
from sealpress.hsm.leaves import DirectItem, Openings
from sealpress.hsm.link import Call, advance_path
from sealpress.hsm.outcomes import DirectResult, Sealed
from sealpress.hsm.status import Mark
from sealpress.steps._head import Head
from sealpress.steps._opened import read_leaves, with_evidence
from sealpress.steps._ticket import LogState
from sealpress.tlog.entry import Where
from sealpress.verify.evidence import Evidence, no_evidence
from sealpress.verify.witness import Cosignature

LEAVES_MAX = 2_048  # opened in one advance, unless the configuration says otherwise
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

    async def known(self) -> None:
        """Until it is known how far the signer is: after a call that failed it is asked, and may take its time."""
        if self._told is None:
            await self._ask()

    async def under_newest(self, call: Callable[[int], Call[T]]) -> tuple[Head, T]:
        """Tell the newest head if it is news, and make the call under it in the same breath."""
        if self.opens:
            return await self._under_opened(call)
        await self.known()
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
            await self.known()
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
        found, where = await loop.run_in_executor(None, read_leaves, self._log.log, told, end, self._read_to)
        opened = with_evidence(found, self._evidence)
        end = told + len(opened.leaves)
        time = found[len(opened.leaves) - 1].time
        root = self._log.log.root(end)
        await self._signer.advance(self._log.log.origin, end, root, b"", time, opened)
        if len(opened.leaves) == len(found):
            self._read_to = where
        return end

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
