"""What this process holds in memory of files that it has mapped."""

from __future__ import annotations

from pathlib import Path


def mapped_kib(directory: Path) -> int:
    """Of files in there, KiB."""
    kib, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line[0] in "0123456789abcdef":
            inside = str(directory) in line
        elif inside and line.startswith("Rss:"):
            kib += int(line.split()[1])
    return kib
