"""The published checkpoint file: the newest sealed head, signed by the log and witnesses, for anybody.

Guarantees: readers see the old file or the new one, never a part, also after a crash; the size in it never goes back;
at most one write per interval, but for `flush`. Does not: sign, or add a line key's line (those stay with requesters).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sealpress.core.names import sync_directory
from sealpress.core.proof import Note, NoteLine, parse_note
from sealpress.errors import CoreError, Invalid
from sealpress.ports import Clock
from sealpress.reading import open_regular

NAME = "checkpoint"
BYTES_MAX = 64 << 10


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed note as it was read or offered."""

    text: bytes
    note: Note


class CheckpointFile:
    """Writes the file of one log. `offer` on the loop; `publish` and `flush` in a thread: they wait for the disk."""

    def __init__(
        self,
        directory: Path,
        interval_ms: int,
        clock: Clock,
        own: Callable[[Note], NoteLine | None] | None = None,
    ) -> None:
        """Takes up the file that is there; one that cannot be read, or has no signature of ours, is replaced.

        `own` finds that signature; None: whatever is there is ours.
        """
        self._directory = directory
        self._interval_ns = interval_ms * 1_000_000
        self._clock = clock
        self._written_ns: int | None = None
        self._writing = threading.Lock()
        try:
            self.newest = read(directory)
        except Invalid:
            self.newest = None
        self.line = own(self.newest.note) if own is not None and self.newest is not None else None
        """Our signature of the head that was there."""
        if own is not None and self.line is None:
            self.newest = None
        self._written = self.newest

    @property
    def size(self) -> int:
        """Tree size of the newest head offered or found."""
        return self.newest.note.size if self.newest is not None else 0

    def offer(self, text: bytes) -> bool:
        """A sealed head, or the same with more signatures. True: it is time to call `publish`."""
        checkpoint = Checkpoint(text, parse_note(text))
        if self.newest is None or _worth(checkpoint.note) > _worth(self.newest.note):
            self.newest = checkpoint
        return self.due

    @property
    def waiting(self) -> bool:
        """Whether a newer head is still to be written."""
        return self.newest is not self._written

    @property
    def due(self) -> bool:
        """Whether a newer head waits and the interval has passed."""
        if not self.waiting:
            return False
        return self._written_ns is None or self._clock.monotonic_ns() - self._written_ns >= self._interval_ns

    def publish(self) -> bool:
        """Write the waiting head if it is due; OSError if the disk refuses (the file is a convenience: go on)."""
        return self.due and self.flush()

    def flush(self) -> bool:
        """Write the waiting head now: at SEAL and at shutdown. It waits on if the disk refuses."""
        with self._writing:  # a shutdown does not wait for the interval's
            newest = self.newest
            if newest is None or newest is self._written:
                return False
            self._written_ns = self._clock.monotonic_ns()
            write(self._directory, newest.text)
            self._written = newest
            return True


def _worth(note: Note) -> tuple[int, int]:
    return note.size, len(note.lines)


def write(directory: Path, text: bytes) -> None:
    """Replace the file. Killed at any point: the old file or the new one is there, whole."""
    target = directory / NAME
    temporary = directory / f".{NAME}.new"
    with temporary.open("wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(target)
    sync_directory(directory)


def read(directory: Path) -> Checkpoint | None:
    """The published checkpoint; None if there is none. Invalid if it is no signed note."""
    path = directory / NAME
    try:
        with open_regular(path) as file:
            text = file.read(BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}", reason="CHECKPOINT", hint="it is derived: remove it") from error
    try:
        if len(text) > BYTES_MAX:
            raise Invalid(f"{path}: larger than a checkpoint may be", reason="CHECKPOINT")
        return Checkpoint(text, parse_note(text))
    except CoreError as error:
        raise Invalid(f"{path}: {error.message}", reason="CHECKPOINT", hint="it is derived: remove it") from error
