"""The only caller of os.urandom: everyone else is handed an Entropy."""

from __future__ import annotations

import os
import threading

POOL_BYTES = 4_096


class _Pool(threading.local):
    """What one thread of one process has drawn and not handed out."""

    drawn = b""
    at = 0


class SystemEntropy:
    """The kernel's generator (ports.Entropy), asked for a page at a time: a request takes few bytes, but three times.

    Any thread may call. No byte is handed out twice, also not after a fork: the child begins with a page of its own.
    """

    def __init__(self) -> None:
        """Nothing is drawn yet."""
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def bytes(self, size: int) -> bytes:
        """`size` bytes of getrandom(2)."""
        pool = self._pool
        end = pool.at + size
        if end > len(pool.drawn):
            if size > POOL_BYTES // 4:
                return os.urandom(size)
            pool.drawn, pool.at, end = os.urandom(POOL_BYTES), 0, size
        taken = pool.drawn[pool.at : end]
        pool.at = end
        return taken

    def _forget(self) -> None:
        self._pool = _Pool()
