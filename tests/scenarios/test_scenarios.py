"""Do the histories that anybody can read come out as they say?

The tables are the text files of this folder; `kit/play.py` says how they are read.
"""

from __future__ import annotations

import pytest

from kit.histories import History, histories
from kit.play import play
from kit.stage import Stage
from sealpress.governance.state import encode

REQUIREMENTS = {
    f"GR-{number}"
    for number in (
        *range(10, 16), 23, *range(30, 34), 36, 40, 41, 43, 44, 50, 71, 80, 83, 84, 94, 100, 110, 111, 113,
    )
}  # fmt: skip


@pytest.mark.parametrize("history", histories(), ids=lambda history: history.name)
def test_history(history: History) -> None:
    """Each step comes out as the table says; no invariant breaks; the facts alone give the same state."""
    stage = Stage()
    for step in history.steps:
        play(stage, step)

    assert encode(stage.town.folded_again()) == encode(stage.town.state)


def test_every_requirement_has_a_history() -> None:
    """All requirements of the issue occur, in a hundred steps or more."""
    told = {number for history in histories() for number in history.requirements}

    assert told >= REQUIREMENTS
    assert sum(len(history.steps) for history in histories()) >= 100
    assert all(history.steps for history in histories())
