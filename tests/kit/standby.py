"""A node's process that stands by: started and imported beforehand, it becomes the daemon or the signer when told.

For tests that start one a thousand times: most of a start is Python reading modules, which can happen while the last
process is still at work. What runs from `go` on is the command itself, on the files as they are then.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

from sealpress.wiring.dev import environment
from sealpress.wiring.pair import Process

_PROGRAM = """
import sys
from importlib import import_module
from sealpress.core.p11 import die_with_parent
die_with_parent(int(sys.argv.pop(1)))
from sealpress.cli.app import main
import_module("sealpress.wiring." + sys.argv[1])
if sys.stdin.read(1):
    main()
"""


class Standby:
    """`serve` or `signer` before its first step."""

    def __init__(self, directory: Path, command: str, stderr: IO[bytes] | int | None = None) -> None:
        """Starts it; importing goes on by itself."""
        self.command = command
        config = str(directory / "sealpress.toml")
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, str(os.getpid()), command, "--config", config, "--json"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment(directory),
            process_group=0,
        )

    def go(self) -> None:
        """From here on it is the command."""
        assert self.process.stdin is not None
        with self.process.stdin as told:
            told.write(b"x")

    def ready(self) -> Process:
        """Wait until it is ready: the running command. CannotStart or Damaged if it ends before."""
        return _Ready(self)

    def kill(self) -> None:
        """kill -9, and wait for the end."""
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        self.process.wait()


class _Ready(Process):
    def __init__(self, standby: Standby) -> None:
        self.command = standby.command
        self.process = standby.process
        try:
            self.ready = self._await_ready()
        except BaseException:
            standby.kill()
            raise
