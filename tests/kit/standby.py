"""A node's process that stands by: it has read all modules, and becomes the daemon or the signer when told, by a fork.

For tests that start one a thousand times: most of a start is Python reading modules. What runs in the child is the
command itself, from its first step on, with files, sockets and threads of its own; nothing was opened before.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

from sealpress.wiring.dev import environment
from sealpress.wiring.pair import Process

# Each byte that it reads starts a child; what it says of it on stdout: its pid, the command's own lines, its end.
_PROGRAM = """
import os, sys
from importlib import import_module
from sealpress.core.p11 import die_with_parent
die_with_parent(int(sys.argv.pop(1)))
from sealpress.cli.app import main
import_module("sealpress.wiring." + sys.argv[1])
own = os.getpid()
while os.read(0, 1):
    child = os.fork()
    if not child:
        die_with_parent(own)
        print(os.getpid(), flush=True)
        sys.exit(main())
    print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Standby:
    """`serve` or `signer`, as often as it is wanted, one at a time."""

    def __init__(self, directory: Path, command: str, stderr: IO[bytes] | int | None = None) -> None:
        """Starts reading modules, and returns at once."""
        self.command = command
        config = str(directory / "sealpress.toml")
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, str(os.getpid()), command, "--config", config, "--json"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment(directory),
            bufsize=0,
            process_group=0,
        )

    def go(self) -> Started:
        """The command begins; it need not be ready."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"x")
        return Started(self.process.stdout)

    def start(self) -> Process:
        """The running command, once it is ready. CannotStart or Damaged if it ends before."""
        return _Ready(self.command, self.go())

    def close(self) -> None:
        """End it, and what it started."""
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        self.process.wait()


class Started:
    """The child: what sealpress.wiring.pair needs of a Popen."""

    def __init__(self, stdout: Any) -> None:
        """`stdout` is that of the process that stands by; the child's pid is its next line."""
        self.stdout: Any = stdout
        self._lines = stdout
        self.pid = int(stdout.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code; TimeoutExpired after so many seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left = None if until is None else max(0.0, until - time.monotonic())
            if not select.select([self._lines], [], [], left)[0]:
                raise subprocess.TimeoutExpired("child", timeout or 0.0)
            line = self._lines.readline()
            if line.startswith(b"ended"):
                self.returncode = int(line.split()[1])
        return self.returncode

    def send_signal(self, number: int) -> None:
        """To the child alone."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class _Ready(Process):
    def __init__(self, command: str, started: Started) -> None:
        self.command = command
        self.process: Any = started
        try:
            self.ready = self._await_ready()
        except BaseException:
            started.kill()
            started.wait()
            raise
        started.stdout = None  # it is the other process's, and more will be said there
