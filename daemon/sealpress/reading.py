"""Files that somebody names, read as far as their format allows.

Guarantees: a file that is larger, or has no end, is refused before more of it is read. Does not: say what is in it.
"""

from __future__ import annotations

import errno
from pathlib import Path

TEXT_BYTES_MAX = 1 << 20  # of configurations, policies, documents, keys and certificates


def read_whole(path: Path, bytes_max: int = TEXT_BYTES_MAX) -> bytes:
    """All of it; OSError, EFBIG for one that is larger."""
    with path.open("rb") as file:
        body = file.read(bytes_max + 1)
    if len(body) > bytes_max:
        raise OSError(errno.EFBIG, f"larger than {bytes_max} bytes", str(path))
    return body
