"""The guard's account of one log: the accepted head, its durable mark, its recent heads, its released direct leaves.

The account is ahead of the disk by at most one write: `accept` and `cosign` change it at once, one thread writes the
newest state, and `durable` returns when everything changed before it is on the disk. So the token works while the disk
does, and whoever releases a signature waits for `durable` first.

Guarantees: after a failed write nothing is durable any more, and `durable` raises (L10). Does not: sign.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from sealpress.core.merkle import frontier_root
from sealpress.errors import CoreError, Damaged
from sealpress.hsm import heads
from sealpress.hsm.direct import Released
from sealpress.hsm.holding import Holds, Proposed, Quorum
from sealpress.hsm.mark import HeadMark, MarkFile

Written = Callable[[Damaged | None], None]  # hears once: on the disk, or that it never will be

_HEADS_MAX = 1_024  # accepted heads that a direct call may still name


class LogBook:
    """One log of this signer."""

    def __init__(
        self,
        directory: Path,
        origin: str,
        limits: heads.HeadLimits,
        on_failure: Callable[[Damaged], None],
        quorum: Quorum | None = None,
        keys: Collection[bytes] = (),
    ) -> None:
        """Reads or makes the mark; Damaged if it is not whole. `keys`: 8 bytes of the id of each that the log has."""
        self._file = MarkFile(directory, origin)
        self.mark: HeadMark = heads.remembered(self._file.mark, keys)
        self._check(self.mark)
        self._limits = limits
        self._growth = heads.Growth(limits.leaves_per_minute_max)
        self._heads: OrderedDict[int, bytes] = OrderedDict({self.mark.size: self.mark.root})
        self.released = Released(self.mark.size)
        self.holds = Holds(origin, quorum)
        self.answering = 0  # of an opened log: time of the newest leaf that its line answers for
        self._on_failure = on_failure
        self._wanted = self._done = 0
        self.failure: Damaged | None = None  # nothing is durable any more
        self._waiting: list[tuple[int, Written]] = []  # in the order of their changes
        self._started = False
        self._writing = 0  # number of the change that is being written; 0: none

    def _check(self, mark: HeadMark) -> None:
        with contextlib.suppress(CoreError):
            if frontier_root(mark.frontier) == mark.root and len(mark.frontier) // 32 == mark.size.bit_count():
                return
        raise Damaged(f"the mark of {mark.origin} contradicts itself", reason="MARK_DAMAGED")

    def start(self, now: int) -> None:
        """Begin writing; needs a running loop. What stood in the mark before may be as young as `now`."""
        self.answering = now if self.mark.size else 0
        asyncio.get_running_loop().add_reader(self._file.told, self._written)
        self._started = True
        self.write()

    async def close(self) -> None:
        """Write what is wanted, then give the file back."""
        with contextlib.suppress(Damaged):
            await self.durable()
        if self._started:
            asyncio.get_running_loop().remove_reader(self._file.told)
            self._started = False
        self._file.close()

    def accept(
        self,
        size: int,
        root: bytes,
        consistency: bytes,
        newest_leaf_time: int,
        now: int,
        second: int,
        *,
        opened: bool = False,
    ) -> None:
        """Take a new head, or refuse it and change nothing."""
        mark = heads.accept(self.mark, size, root, consistency, newest_leaf_time, now, self._limits, opened=opened)
        leaves = size - self.mark.size
        heads.check_growth(self._growth, leaves, second)
        self._growth.add(leaves, second)
        self._heads[size] = root
        if len(self._heads) > _HEADS_MAX:
            self._heads.popitem(last=False)
        self.released.forget(now - self._limits.leaf_age_s_max)
        self._change(mark)

    def propose(self, now: int) -> None:
        """Witnesses are asked about the accepted head."""
        mark = self.mark
        self.holds.propose(Proposed(mark.size, mark.root, mark.time, self.answering, now))

    def cosign(self, keys: Iterable[bytes], now: int, head: Proposed | None = None) -> int:
        """T for these keys under the accepted head, or under this earlier one."""
        size, leaf_time = (head.size, head.time) if head is not None else (None, None)
        time, mark = heads.cosign(self.mark, keys, now, size, leaf_time)
        self._change(mark)
        return time

    def head(self, size: int) -> bytes | None:
        """The root of an accepted head, as far back as we remember."""
        return self._heads.get(size)

    def when_durable(self, written: Written) -> None:
        """Tell it when everything changed so far is on the disk, perhaps before this returns."""
        if self.failure is not None or self._done == self._wanted:
            written(self.failure)
        else:
            self._waiting.append((self._wanted, written))

    async def durable(self) -> None:
        """Everything changed so far is on the disk; Damaged if it cannot be."""
        future: asyncio.Future[Damaged | None] = asyncio.get_running_loop().create_future()

        def written(failure: Damaged | None) -> None:
            if not future.done():  # whoever waits may have been cancelled
                future.set_result(failure)

        self.when_durable(written)
        failure = await future
        if failure is not None:
            raise failure

    def write(self) -> None:
        """Have the newest state written, at once if nothing is being written."""
        if self._done == self._wanted or self._writing or self.failure is not None or not self._started:
            return
        try:
            self._file.begin(self.mark)
        except Damaged as failure:
            self._fail(failure)
        else:
            self._writing = self._wanted

    def _change(self, mark: HeadMark) -> None:
        if self._done == self._wanted:
            asyncio.get_running_loop().call_soon(self.write)  # what follows at once is written with it
        self.mark = mark
        self._wanted += 1

    def _written(self) -> None:
        self._file.heard()
        try:
            self._file.ended()
        except Damaged as failure:
            self._fail(failure)
            return
        self._done, self._writing = self._writing, 0
        self.write()
        waited, self._waiting = self._waiting, []
        for change, written in waited:
            if change <= self._done:
                written(None)
            else:
                self._waiting.append((change, written))

    def _fail(self, failure: Damaged) -> None:
        self.failure = failure
        self._on_failure(failure)
        waited, self._waiting = self._waiting, []
        for _, written in waited:
            written(failure)
