"""Digests of many files at once: threads of the C core read and hash them while the caller does something else.

Guarantees: memory does not grow with the size of a file (4 MiB of buffers for each thread); what changed while it was
read has an error and no digest. Does not: notice a change after a file was read: what a digest says is what was hashed.
"""

from __future__ import annotations

import errno
import os
import resource
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from sealpress.core._native import ffi, lib
from sealpress.core.digests import digest_size
from sealpress.core.status import check

UNFINISHED = errno.EINPROGRESS
CHANGED = errno.ESTALE  # while it was read
NO_FILE = (errno.EISDIR, errno.ENOTSUP)  # a directory; a fifo, socket or device
_WORKERS_MAX = 256
_OPEN_MAX = 32  # files that a thread has open: SP_LANES_MAX


def _usual_workers(count: int) -> int:
    """One for each processor; where many have more files than that, so many that they open a quarter of what we may.

    The rest is for who hashes the next part meanwhile, and for connections.
    """
    processors, (soft, _) = len(os.sched_getaffinity(0)), resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or count <= soft // 4:
        return processors
    return max(1, min(processors, soft // 4 // _OPEN_MAX))


class FileDigests:
    """Begins at once. Use as a context manager: leaving it stops what still runs."""

    def __init__(self, algorithm: int, paths: Sequence[str | os.PathLike[str]], workers: int | None = None) -> None:
        """`workers` threads hash, default: one for each processor, as far as files may be open.

        Nothing is raised for a file: see `error`.
        """
        self.paths = paths
        self._size = digest_size(algorithm)
        joined = b"".join([os.fsencode(path) + b"\0" for path in paths])
        self._columns = (
            ffi.new("uint8_t[]", self._size * len(paths) + 1),
            ffi.new("uint64_t[]", len(paths) + 1),
            ffi.new("int32_t[]", len(paths) + 1),
        )
        self._digests, self._sizes, self._errors = self._columns
        self._joined = ffi.from_buffer("char[]", joined)
        threads = min(workers or _usual_workers(len(paths)), _WORKERS_MAX) if paths else 1
        slot = ffi.new("sp_files **")
        check(lib.sp_files_new(algorithm, len(paths), self._joined, len(joined), threads, *self._columns, slot))
        self._files = ffi.gc(slot[0], lib.sp_files_free)
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads if paths else 0)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        check(lib.sp_files_work(self._files))

    def wait(self, count: int, timeout_s: float) -> tuple[int, int]:
        """Until the first `count` files are finished, or for `timeout_s`.

        Returns how many are finished in front of the first one that is not, and the bytes hashed so far, of all.
        """
        finished, done = ffi.new("size_t *"), ffi.new("uint64_t *")
        check(lib.sp_files_wait(self._files, count, int(timeout_s * 1000), finished, done))
        return int(finished[0]), int(done[0])

    def finished(self, timeout_s: float) -> bool:
        """Whether all are, after waiting for so long at most."""
        return self.wait(len(self.paths), timeout_s)[0] == len(self.paths)

    def digest(self, position: int) -> bytes:
        """Of a finished file without error."""
        return bytes(ffi.buffer(self._digests + position * self._size, self._size))

    def size(self, position: int) -> int:
        """The bytes that were hashed."""
        return int(self._sizes[position])

    def error(self, position: int) -> int:
        """An errno value or 0; CHANGED, one of NO_FILE, UNFINISHED; ECANCELED after `close`."""
        return int(self._errors[position])

    def close(self) -> None:
        """Stop and wait for the threads."""
        lib.sp_files_stop(self._files)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()
