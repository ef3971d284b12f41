"""Files that somebody names, read as far as their format allows.

Guarantees: a file that is larger, or has no end, is refused before more of it is read; nobody is waited for who might
write into it, but by a person who named a pipe in a command. Does not: say what is in it.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

TEXT_BYTES_MAX = 1 << 20  # of configurations, policies, documents, keys and certificates
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


def open_regular(path: Path) -> IO[bytes]:
    """For reading; OSError, ENOTSUP for a device or a fifo, which would be waited for."""
    file = open(path, "rb", opener=lambda name, _: os.open(name, _FLAGS))  # noqa: SIM115
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.ENOTSUP, "not a regular file", str(path))


def read_whole(path: Path, bytes_max: int = TEXT_BYTES_MAX) -> bytes:
    """All of it; OSError, EFBIG for one that is larger, ENOTSUP for what is no file."""
    with open_regular(path) as file:
        return _whole(file, path, bytes_max)


def read_named(path: Path, bytes_max: int = TEXT_BYTES_MAX) -> bytes:
    """The same of what a command names, which may be what another one writes: `<(…)`, `/dev/stdin`."""
    with path.open("rb") as file:
        return _whole(file, path, bytes_max)


def _whole(file: IO[bytes], path: Path, bytes_max: int) -> bytes:
    body = file.read(bytes_max + 1)
    if len(body) > bytes_max:
        raise OSError(errno.EFBIG, f"larger than {bytes_max} bytes", str(path))
    return body
