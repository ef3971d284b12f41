"""Starts the processes of a load, lets them begin together, and merges what they saw.

Guarantees: none of them outlives `Running`. Does not: measure the node.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from bench.load.plan import Part, Plan, Result

ROOT = Path(__file__).resolve().parents[2]
BEGIN_S = 0.2  # from "all are connected" to the first call


class Running:
    """A load that is under way: connected on entry, begun with `begin`, over with `result`."""

    def __init__(self, plan: Plan) -> None:
        """Starts the processes. They connect while their plan is on its way."""
        self.plan = plan
        command = [sys.executable, "-m", "bench.load.worker"]
        self._processes = [
            subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(plan.processes)
        ]
        for number, process in enumerate(self._processes):
            _tell(process, msgspec.json.encode(plan.shared(number)).decode())

    def __enter__(self) -> Self:
        """All are connected; RuntimeError if one is not."""
        try:
            for process in self._processes:
                _hear(process)
        except BaseException:
            self._end()
            raise
        return self

    def begin(self) -> None:
        """The first calls come 0.2 s later, everywhere at the same time."""
        begin = time.monotonic() + BEGIN_S
        for process in self._processes:
            _tell(process, repr(begin))

    def result(self) -> Result:
        """Wait until it is over; RuntimeError if a process ended before."""
        return Result(self.plan, [msgspec.json.decode(_hear(process), type=Part) for process in self._processes])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what is left of it."""
        self._end()

    def _end(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


def run(plan: Plan) -> Result:
    """A load from its beginning to its end."""
    with Running(plan) as running:
        running.begin()
        return running.result()


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("a process of the load generator ended; its stderr says why")
    return line
