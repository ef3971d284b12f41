"""What every PKCS#11 module did with every mechanism, as a table: filled by tests, printed at the end of the run.

Guarantees: a cell that was begun is good or FAILED; what a module does not list is shown as that, and so is a module
that this machine lacks. Does not: decide what is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from kit.modules import KINDS, LineKind, Module


class Matrix:
    """Module by mechanism by what was asked of it."""

    ASKED = ("sign", "verify", "refuse", "kill", "wrong PIN")
    shown: ClassVar[list[Matrix]] = []

    def __init__(self) -> None:
        """Empty; from now on it is shown."""
        self._missing: dict[str, str] = {}
        self._seen: dict[type[Module], set[str]] = {}
        self._cells: dict[tuple[str, str, str], str] = {}
        self.shown.append(self)

    def lacks(self, module: type[Module], what: str) -> None:
        """This machine has no such module."""
        self._missing[module.name] = what

    def lists(self, module: type[Module], lines: set[str]) -> None:
        """What the module lists."""
        self._seen[module] = lines

    @contextmanager
    def cell(self, module: Module, kind: LineKind, asked: str) -> Iterator[None]:
        """Good if the block ends without an error, every time."""
        place = module.name, kind.name, asked
        good, self._cells[place] = self._cells.get(place) != "FAILED", "FAILED"
        yield
        self._cells[place] = "yes" if good else "FAILED"

    def failed(self) -> list[tuple[str, str, str]]:
        """Cells that are not good."""
        return [place for place, what in self._cells.items() if what != "yes"]

    def table(self) -> list[str]:
        """As text; nothing if nothing ran."""
        rows = [f"{module.name:<17}{kind.name:<16}{self._row(module, kind)}" for module in self._seen for kind in KINDS]
        rows += [f"{name:<17}MISSING: {what}" for name, what in self._missing.items()]
        head = f"{'module':<17}{'line':<16}" + "".join(f"{asked:>11}" for asked in self.ASKED)
        return [head, *rows] if rows else []

    def _row(self, module: type[Module], kind: LineKind) -> str:
        if kind.name not in self._seen[module]:
            return "  not offered: not listed, or C_GetMechanismInfo knows no key of that size"
        if kind.kind in module.broken:
            return f"  broken: {module.broken[kind.kind]}"
        cells = (self._cells.get((module.name, kind.name, asked), "not run") for asked in self.ASKED)
        return "".join(f"{cell:>11}" for cell in cells)
