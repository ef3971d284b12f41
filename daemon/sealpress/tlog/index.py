"""The indexes of a log's sealed segments, `index/<number>.idx`: derived, made when missing or wrong.

Guarantees: what `places` leaves out is not in the segment, or it answers None and the frames must be searched; a file
that cannot be written costs time, never an answer. Does not: know the active segment (it is searched directly), or
protect from somebody who may write into the log's directory: as he can damage a record, he can make an index that hides
it from Explain; `sealpress log verify` reads the records alone.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sealpress.core.filter import Filter
from sealpress.core.index import Index
from sealpress.core.names import sync_directory
from sealpress.core.segment import Segment
from sealpress.errors import CoreError

OPEN_MAX = 256  # mapped at the same time


def path_of(directory: Path, number: int) -> Path:
    """Where the index of a segment of this log stands."""
    return directory / "index" / f"{number:020}.idx"


class SegmentIndexes:
    """Of one log directory. Any thread."""

    def __init__(self, directory: Path, segment: Callable[[int], Segment]) -> None:
        """`directory` is the log's; `segment` opens a segment of it."""
        self._directory = directory
        self._segment = segment
        self._open: OrderedDict[int, Index] = OrderedDict()
        self._lock = threading.Lock()
        self._making = threading.Lock()

    def places(self, number: int, key: int) -> list[int] | None:
        """Offsets of the frames of a sealed segment that may hold what `key` stands for; None: search it yourself."""
        try:
            return self._opened(number).find(key)
        except CoreError as error:
            if error.name == "SP_E_SYSTEM":
                return None  # there is none yet
        try:
            return self.make(number, anew=True).find(key)
        except CoreError:
            return None

    def make(self, number: int, *, anew: bool = False) -> Index:
        """Of a sealed segment, checked; built and saved if there is no good one. CoreError: its frames are damaged."""
        with self._making:  # one at a time: it takes three times the memory of its file
            if not anew:
                with contextlib.suppress(CoreError):
                    index = self._opened(number)
                    index.check()
                    return index
            segment = self._segment(number)
            index = Index.build(segment)
            with contextlib.suppress(CoreError):  # no room, or a failing disk: this one serves from memory
                index.save(self._directory, segment)
                index = Index.open(self._directory, segment)  # pages of a file can be had back, ours could not
            return self._keep(number, index)

    def filter(self, numbers: Sequence[int], secret: int) -> Filter:
        """Of sealed segments: indexes are made if need be, and not kept in memory where there is a file."""
        found = Filter([self.make(number) for number in numbers], secret)
        self.let_go(lambda number: number in numbers and path_of(self._directory, number).exists())
        return found

    def missing(self, numbers: Iterable[int]) -> list[int]:
        """Those of these segments that have no file."""
        return [number for number in numbers if not path_of(self._directory, number).exists()]

    def remove(self, since: int) -> None:
        """Of the segment that is written on, and of those behind it: what a disk lost after it was sealed. OSError."""
        paths = [path for path in (self._directory / "index").glob("*.idx") if path.stem.isdigit()]
        stale = [path for path in paths if int(path.stem) >= since]
        for path in stale:
            path.unlink(missing_ok=True)
        if stale:  # before other records stand there, of which these would say nothing
            sync_directory(self._directory / "index")
        self.let_go(lambda number: number >= since)

    def let_go(self, gone: Callable[[int], bool]) -> None:
        """Unmap some: those whose segment is gone, say."""
        with self._lock:
            for number in [number for number in self._open if gone(number)]:
                del self._open[number]

    def close(self) -> None:
        """Let go of the mappings."""
        with self._lock:
            self._open.clear()

    def _opened(self, number: int) -> Index:
        with self._lock:
            found = self._open.get(number)
            if found is not None:
                self._open.move_to_end(number)
                return found
        return self._keep(number, Index.open(self._directory, self._segment(number)))

    def _keep(self, number: int, index: Index) -> Index:
        with self._lock:
            self._open[number] = index
            if len(self._open) > OPEN_MAX:
                self._open.popitem(last=False)  # whoever still searches it holds it
        return index
