"""Signer and daemon as two child processes: only `dev` and tests start both (DESIGN L8).

Guarantees: the children die with us (PR_SET_PDEATHSIG) and are stopped in order, daemon first; their exit codes and
last words reach the caller. Does not: restart them.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from sealpress.errors import CannotStart, Damaged
from sealpress.wiring.dev import environment

READY_S = 30.0
STOP_S = 40.0
DAMAGED = 3  # exit code of a damaged log or node
# Asked for in the child itself: a hook between fork and exec would run in a copy of a process full of gRPC's threads.
_PROGRAM = """
import sys
from sealpress.core.p11 import die_with_parent
die_with_parent(int(sys.argv.pop(1)))
from sealpress.cli.app import main
main()
"""


class Process:
    """One of our commands with `--json`, up and ready once this exists."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str] | None = None,
        stderr: IO[bytes] | int | None = None,
    ) -> None:
        """Start and wait for the ready line. CannotStart, or Damaged if it says so, if it ends before."""
        self.command = arguments[0]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, str(os.getpid()), *arguments, "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            process_group=0,  # Ctrl-C reaches us alone: we stop them in order
        )
        try:
            self.ready = self._await_ready()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def _await_ready(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], READY_S)
        line = self.process.stdout.readline() if readable else b""
        try:
            ready = json.loads(line) if line else {}
        except ValueError:
            ready = {}
        if not isinstance(ready, dict) or not ready.get("ready"):
            code = self.process.wait(5) if not line or "error" in ready else self.process.poll()
            kind = Damaged if code == DAMAGED else CannotStart
            raise kind(
                f"`sealpress {self.command}` did not get ready (exit code {code})",
                reason=str(ready.get("error", {}).get("reason", "CANNOT_START")),
                hint="its message stands above",
            )
        return ready

    def stop(self) -> int:
        """SIGTERM, then SIGKILL when it takes too long; the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()


class Child(Process):
    """Signer or daemon of a development node."""

    def __init__(self, directory: Path, command: str, stderr: IO[bytes] | int | None = None) -> None:
        """`command` is `signer` or `serve`."""
        config = str(directory / "sealpress.toml")
        super().__init__((command, "--config", config), environment(directory), stderr)


class Pair:
    """A running development node; use as a context manager."""

    def __init__(self, directory: Path, stderr: IO[bytes] | int | None = None) -> None:
        """Start the signer, then the daemon."""
        self.signer = Child(directory, "signer", stderr)
        try:
            self.daemon = Child(directory, "serve", stderr)
        except BaseException:
            self.signer.stop()
            raise
        self.ready = self.daemon.ready

    def __enter__(self) -> Pair:
        """The node itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop both."""
        self.stop()

    def stop(self) -> int:
        """Daemon first, so that it drains; the worse of both exit codes."""
        return max(self.daemon.stop(), self.signer.stop(), key=abs)

    def ended(self) -> Child | None:
        """The child that ended by itself, if one did."""
        return next((child for child in (self.daemon, self.signer) if child.process.poll() is not None), None)
