"""Would the tests notice? Each day other five of the seeded bugs are put in; `make seeded` takes all of them."""

from __future__ import annotations

import datetime as dt
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _seeding() -> ModuleType:
    """The module beside this one."""
    spec = importlib.util.spec_from_file_location("seeding", Path(__file__).with_name("seeding.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["seeding"] = module
    spec.loader.exec_module(module)
    return module


seeding = _seeding()
BUGS = seeding.bugs()
A_DAY = 5
FEWEST = 15


def todays(position: int) -> Any:
    """One of five bugs; after a while it was each one's turn."""
    first = dt.datetime.now(dt.UTC).toordinal() * A_DAY
    return BUGS[(first + position) % len(BUGS)]


def test_every_patch_still_applies() -> None:
    """To the tree as it is, each alone; there are enough, and no number stands twice."""
    with seeding.copied() as tree:
        refused = {bug.name: said for bug in BUGS if (said := seeding.apply(bug, tree, "--check"))}

    assert refused == {}
    assert len(BUGS) >= FEWEST
    assert len({bug.name.partition("-")[0] for bug in BUGS}) == len(BUGS)


@pytest.mark.slow
@pytest.mark.parametrize("position", range(A_DAY))  # not by name: processes that share a run may collect on two days
def test_a_seeded_bug_is_caught(position: int) -> None:
    """The tests that its header names fail, all of them, and by their own words."""
    verdict = seeding.judge(todays(position))

    assert verdict.missed == "", f"{verdict.bug.name}: {verdict.bug.says}"
