"""Who lives in a town, and what there is to choose from: most choices are sensible, some are not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from kit.pick import Pick
from kit.town import Town
from kit.townsfolk import (
    PEOPLE,
    ROLES,
    person,
)
from sealpress.governance import paths
from sealpress.governance.state import Change
from sealpress.values import Identity, SignAsk


@dataclass
class Life:
    """Deeds in one town."""

    town: Town
    results: Counter[str] = field(default_factory=Counter)
    waiting: list[tuple[Identity, SignAsk]] = field(default_factory=list)  # admitted, not yet appended
    steps: int = 0

    def who(self, pick: Pick, *roles: str) -> str:
        """Somebody with one of these roles; now and then anybody."""
        if not roles or pick.odd(6):
            return pick.of(PEOPLE)
        able = [name for name, role, _, _ in ROLES if role in roles]
        return pick.of(able or PEOPLE)

    def change(self, pick: Pick, *states: str) -> tuple[str, Change] | None:
        """A change in one of these states, the newest first; now and then any."""
        known = list(self.town.state.changes.items())[::-1]
        fitting = [pair for pair in known if pair[1].state in states]
        chosen = known if pick.odd(9) else fitting
        return pick.of(chosen) if chosen else None

    def key(self, pick: Pick, *states: str) -> str:
        """A key in one of these states, or any."""
        keys = self.town.state.keys
        return pick.of([name for name, key in keys.items() if key.state in states] or [*keys, "k-none"])

    def approvers(self, change: Change) -> list[str]:
        """Who may approve it now."""
        desk = self.town.desk()
        return [name for name in PEOPLE if paths.groups_of(desk, change, person(name))]
