"""Reads the histories of tests/scenarios/: who does what, and what comes of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parents[1] / "scenarios"


@dataclass(frozen=True)
class Step:
    """One line of a table."""

    where: str
    who: str
    does: str
    then: str


@dataclass
class History:
    """One table."""

    name: str
    requirements: tuple[str, ...]
    steps: list[Step] = field(default_factory=list)


def histories() -> list[History]:
    """Of every text file there."""
    found: list[History] = []
    for path in sorted(HERE.glob("*.txt")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            head = re.fullmatch(r"== (.*) \((GR-[0-9]+(?:, GR-[0-9]+)*)\)", line)
            if head is not None:
                found.append(History(head[1], tuple(head[2].split(", "))))
            elif line.strip() and not line.startswith("#"):
                who, does, then = (part.strip() for part in line.split("|"))
                found[-1].steps.append(Step(f"{path.name}:{number}", who, does, then))
    return found
