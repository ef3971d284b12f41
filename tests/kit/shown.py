"""A demonstration that ran to its end: what it showed, how long it took, what it left."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

DEMO = (sys.executable, "-m", "sealpress", "demo")


@dataclass(frozen=True)
class Shown:
    """One run of `sealpress demo`."""

    code: int
    text: str
    errors: str
    elapsed_s: float
    cpu_s: float  # of all its processes
    left: list[Path]

    @property
    def commands(self) -> list[str]:
        """What one could type."""
        return re.findall(r"^  \$ (.+)$", self.text, re.MULTILINE)

    def answer(self, command: str) -> str:
        """What stands under the first command that begins so."""
        found = re.search(rf"^  \$ {re.escape(command)}.*\n((?:  \|.*\n)*)", self.text, re.MULTILINE)
        assert found is not None, f"{command} was not shown"
        return found[1]


def run_demo(*options: str, here: Path, temporary: Path) -> Shown:
    """Run in the folder `here`; what is left is what stands in `temporary` afterwards."""
    began, used_s = time.monotonic(), _cpu_s()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    done = subprocess.run(
        [*DEMO, *options], cwd=here, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    elapsed_s, cpu_s = time.monotonic() - began, _cpu_s() - used_s
    return Shown(done.returncode, done.stdout, done.stderr, elapsed_s, cpu_s, list(temporary.iterdir()))


def _cpu_s() -> float:
    """Of the processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
