"""The published checkpoint file: the newest sealed head, signed by the log and witnesses, for anybody.

Guarantees: readers see the old file or the new one, never a part, also after a crash; the size in it never goes back.
Does not: sign, say when to write, or add a line key's line (those stay with requesters).
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
from sealpress.reading import open_regular

NAME = "checkpoint"
BYTES_MAX = 64 << 10


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed note as it was read or offered."""

    text: bytes
    note: Note


class CheckpointFile:
    """Writes the file of one log. `offer` on the loop; `flush` in a thread: it waits for the disk."""

    def __init__(self, directory: Path, own: Callable[[Note], NoteLine | None] | None = None) -> None:
        """Takes up the file that is there; one that cannot be read, or has no signature of ours, is replaced.

        `own` finds that signature; None: whatever is there is ours.
        """
        self._directory = directory
        self.trouble = ""
        """Why the last write failed; empty if it did not."""
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

    def offer(self, text: bytes) -> None:
        """A sealed head, or the same with more signatures."""
        checkpoint = Checkpoint(text, parse_note(text))
        if self.newest is None or _worth(checkpoint.note) > _worth(self.newest.note):
            self.newest = checkpoint

    @property
    def waiting(self) -> bool:
        """Whether a newer head is still to be written."""
        return self.newest is not self._written

    def flush(self) -> bool:
        """Write the waiting head, if there is one; OSError, and it waits on, if the disk refuses."""
        with self._writing:  # a shutdown does not wait for the interval's
            newest = self.newest
            if newest is None or newest is self._written:
                return False
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
