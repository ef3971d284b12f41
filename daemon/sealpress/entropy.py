"""The only caller of os.urandom: everyone else is handed an Entropy."""

from __future__ import annotations

import os


class SystemEntropy:
    """The kernel's generator (ports.Entropy)."""

    def bytes(self, size: int) -> bytes:
        """`size` bytes of getrandom(2)."""
        return os.urandom(size)
