"""What processes hold of the machine over a long run: anonymous memory and descriptors, once a second.

    vitals = Vitals(lab.pids)
    watching = asyncio.create_task(vitals.watch())
    ...
    early, late = vitals.of("serve", 100, 160), vitals.of("serve", 900, 960)

Guarantees: a process that goes while it is looked at is no error; what is asked for by role outlives the processes that
had it. Does not: judge.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MIB = 1 << 20


def children(pid: int) -> list[int]:
    """Process ids of a process's children."""
    threads = Path(f"/proc/{pid}/task").glob("*/children")  # a child belongs to the thread that made it
    return [int(child) for thread in threads for child in thread.read_text().split()]


@dataclass(frozen=True, slots=True)
class Sample:
    """Of one process at one moment."""

    at_s: float  # since the watch began
    role: str
    anonymous: float  # MiB without mapped files, which are the kernel's to drop
    descriptors: int


@dataclass(frozen=True, slots=True)
class Held:
    """Medians over a while."""

    anonymous: float
    descriptors: float
    samples: int


@dataclass(slots=True)
class Vitals:
    """The samples so far."""

    pids: Callable[[], Mapping[str, int]]
    samples: list[Sample] = field(default_factory=list)
    began_s: float = field(default_factory=time.monotonic)

    async def watch(self, every_s: float = 1.0) -> None:
        """For ever."""
        while True:
            self.look()
            await asyncio.sleep(every_s)

    def look(self) -> None:
        """A sample of each that is there."""
        at_s = time.monotonic() - self.began_s
        try:
            for role, pid in self.pids().items():
                resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
                descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
                anonymous = (int(resident) - int(shared)) * PAGE_BYTES / MIB
                self.samples.append(Sample(at_s, role, anonymous, descriptors))
        except (OSError, ValueError):
            pass  # it went just now; there is a next second

    def of(self, role: str, from_s: float, to_s: float) -> Held:
        """What a role held from one moment to another; AssertionError if nobody had it then."""
        found = [one for one in self.samples if one.role == role and from_s <= one.at_s < to_s]
        assert found, f"no sample of {role} between {from_s:.0f} and {to_s:.0f} s"
        return Held(
            statistics.median(one.anonymous for one in found),
            statistics.median(one.descriptors for one in found),
            len(found),
        )
