"""What the process asks of the C library's allocator.

Guarantees: nothing but that. Does not: bound memory (the queues and limits do).
"""

from __future__ import annotations

from sealpress.core._native import lib
from sealpress.core.status import check


def share_heaps(count: int) -> None:
    """All threads share `count` heaps, 1 to 64; call it before there are threads.

    glibc gives each thread one of its own, up to 8 a core, and each keeps what its thread once needed. Other
    allocators do as they like.
    """
    check(lib.sp_memory_arenas(count))
