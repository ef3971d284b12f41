"""What a log is to be: its directory and name, and how it is written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LogSettings:
    """One log: a directory, a name, a number."""

    directory: Path
    name: str  # host/label
    number: int
    segment_bytes: int = 64 << 20
    write: str = "map"  # map | pwrite | auto
    governance: bool = False  # GOVERNANCE records of the node live here
    batch_bytes_max: int = 16 << 20
    window_s: int = 86_400  # [idempotency]
    entries_max: int = 4_000_000
    back_max_s: int = 5  # [clock]
    space_bytes_max: int = 0  # 0: as much as the file system gives
    commits_in_flight_max: int = 1  # 1 to 4

    @property
    def origin(self) -> str:
        """The C2SP origin line."""
        return f"{self.name}/{self.number}"

    @property
    def log_id(self) -> bytes:
        """SHA-256 of the origin: stands in every segment header."""
        return hashlib.sha256(self.origin.encode()).digest()
