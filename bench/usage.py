"""What a node's processes take of the machine: memory, sampled while something else happens, and processor time.

Guarantees: a sample a second of each process, and one at the end. Does not: disturb what it watches.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from kit.node import Node

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MIB = 1 << 20
CPUCLOCK_SCHED = 2  # clock_getcpuclockid(3), which Python lacks: the process's id inverted, above three bits of kind


def resident_bytes(pid: int) -> int:
    """Memory of a process now, with what it holds of mapped files."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


def anonymous_bytes(pid: int) -> int:
    """The same without mapped files (journal, tree, libraries), which are the kernel's to drop."""
    resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
    return (int(resident) - int(shared)) * PAGE_BYTES


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, with those of threads that have ended; to the nanosecond, not the clock tick."""
    return time.clock_gettime(~pid << 3 | CPUCLOCK_SCHED)


class Memory:
    """Samples serve, signer and workers from entry to exit."""

    def __init__(self, node: Node, every_s: float = 1.0) -> None:
        """Starts with `with`."""
        self._pids = [node.children["serve"].process.pid, node.children["signer"].process.pid, *node.workers()]
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.mib: list[float] = []

    def __enter__(self) -> Self:
        """From now on."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Until now."""
        self._over.set()
        self._thread.join()

    def quarters(self) -> tuple[float, float]:
        """Medians of the second and the last quarter of the time, in MiB: the first one warms up."""
        length = max(1, len(self.mib) // 4)
        return statistics.median(self.mib[length : 2 * length] or self.mib), statistics.median(self.mib[-length:])

    def _watch(self) -> None:
        while True:
            over = self._over.wait(self._every_s)
            self.mib.append(sum(resident_bytes(pid) for pid in self._pids) / MIB)
            if over:
                return
