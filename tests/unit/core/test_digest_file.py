"""What `digest_file` says of a file that can be opened and not read."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from sealpress.core.digests import digest_file


@pytest.mark.parametrize("progress", [None, lambda _done: None])
def test_what_cannot_be_read_is_an_os_error(progress: object) -> None:
    """With and without progress the same: who catches OSError for a file catches this."""
    path = Path("/proc/self/mem")  # nothing is mapped at its start
    with pytest.raises(OSError) as caught:
        digest_file(1, path, progress)  # type: ignore[arg-type]

    assert errno.EIO == caught.value.errno
