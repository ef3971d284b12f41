"""The only caller of os.urandom: everyone else is handed an Entropy."""

from __future__ import annotations

import os

POOL_BYTES = 4_096


class SystemEntropy:
    """The kernel's generator (ports.Entropy), asked for a page at a time: a request takes few bytes, but three times.

    Owned by one thread. No byte is handed out twice; this process never forks.
    """

    def __init__(self) -> None:
        """Nothing is drawn yet."""
        self._pool = b""
        self._at = 0

    def bytes(self, size: int) -> bytes:
        """`size` bytes of getrandom(2)."""
        end = self._at + size
        if end > len(self._pool):
            if size > POOL_BYTES // 4:
                return os.urandom(size)
            self._pool, self._at, end = os.urandom(POOL_BYTES), 0, size
        taken = self._pool[self._at : end]
        self._at = end
        return taken
