"""Where the demos play: a directory in which each command that is shown is run as it is shown.

Guarantees: what is printed after `$` is what was run. Does not: know the story.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sealpress.cli.output import say
from sealpress.errors import Invalid

SHOWN_LINES = 3
OURS = (sys.executable, "-P", "-m", "sealpress")


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
        real = [part for word in command for part in (OURS if word == "sealpress" else (word,))]
        done = subprocess.run(real, cwd=self.place, env=self.environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


def title(text: str) -> None:
    """What comes now."""
    say(f"\n{text}")
