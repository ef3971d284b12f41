"""Who may read a whole log and who may move its segments: readers beside one another, a mover alone.

The lock is one of journal/ itself; the daemon, which holds another, may run beside any of them.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sealpress.errors import CannotStart, Invalid


@contextmanager
def unmoved(directory: Path) -> Iterator[None]:
    """No segment moves for so long: waits for who moves some, and lets nobody begin. Anybody may read beside us."""
    with ExitStack() as stack:
        with suppress(OSError):  # no log, or a file system that knows no locks: who reads it finds out, or is lucky
            handle = os.open(directory / "journal", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield


@contextmanager
def alone(directory: Path) -> Iterator[Callable[[], None]]:
    """One at a time; the daemon, which holds another lock, may run. What is given, once called, lets others read."""
    try:
        handle = os.open(directory / "journal", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Invalid(f"{directory}: no log stands here", reason="LOG_MISSING") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CannotStart(
                f"{directory}: it is being verified, copied or archived at the moment",
                reason="LOG_IN_USE",
                hint="wait for that",
            ) from error
        except OSError:  # a file system that knows no such locks, as of `unmoved`
            yield lambda: None
        else:
            yield lambda: fcntl.flock(handle, fcntl.LOCK_SH)
    finally:
        os.close(handle)
