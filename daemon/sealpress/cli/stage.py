"""Where the demos play: a directory in which each command that is shown is run as it is shown.

Guarantees: what is printed after `$` is what was run. Does not: know the story.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from sealpress.cli.output import say
from sealpress.errors import Invalid

SHOWN_LINES = 3
OURS = (sys.executable, "-P", "-m", "sealpress")


_interrupted = threading.Event()


def interruptible() -> None:
    """Let Ctrl-C and SIGTERM end the play, wherever it is.

    An exception that a handler raises can be lost on its way (in a callback, or in a task that is just ending), so it
    is remembered, too, and raised again before the next step.
    """
    _interrupted.clear()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def check_interrupted() -> None:
    """KeyboardInterrupt if somebody wanted the play to end."""
    if _interrupted.is_set():
        raise KeyboardInterrupt


def play(act: Coroutine[Any, Any, None]) -> None:
    """Run an act that is asynchronous; KeyboardInterrupt if it was ended before its time."""
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(act)
    check_interrupted()


def _interrupt(*_signal: object) -> None:
    _interrupted.set()
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise KeyboardInterrupt from None
    for task in asyncio.all_tasks(loop):  # an exception here would tear through callbacks that are not ours
        task.cancel()


class Stage:
    """One directory and environment."""

    def __init__(self, place: Path, environment: Mapping[str, str]) -> None:
        """`environment` is what was exported."""
        self.place = place
        self.environment = environment

    def shell(self, *command: str, ok: bool = True, shown: int = SHOWN_LINES) -> str:
        """Show and run a command, show `shown` lines of its answer and the last one; all of what it said."""
        say(f"  $ {shlex.join(command)}")
        code, said = self._run(command)
        lines = said.splitlines()
        for line in lines[:shown]:
            say(f"  | {line}")
        if len(lines) > shown + 1:
            say("  | …")
        if len(lines) > shown:
            say(f"  | {lines[-1]}")
        if (code == 0) is not ok:
            raise Invalid(f"`{shlex.join(command)}` ended with exit code {code}", reason="DEMO")
        return said

    def quiet(self, *command: str) -> None:
        """Run a command that is like one shown before; Invalid with its words if it fails."""
        code, said = self._run(command)
        if code:
            raise Invalid(f"`{shlex.join(command)}` ended with exit code {code}: {said}", reason="DEMO")

    def _run(self, command: Sequence[str]) -> tuple[int, str]:
        check_interrupted()
        real = [part for word in command for part in (OURS if word == "sealpress" else (word,))]
        done = subprocess.run(real, cwd=self.place, env=self.environment, capture_output=True, text=True, check=False)
        check_interrupted()
        return done.returncode, done.stdout + done.stderr


def title(text: str) -> None:
    """What comes now."""
    say(f"\n{text}")
