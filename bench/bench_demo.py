"""How long does a newcomer wait for the demos? Both are promised in less than a minute by the clock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.run import Target
from kit.shown import run_demo

if TYPE_CHECKING:
    from bench.harness import Ratios

SECONDS_MAX = 60.0


@pytest.mark.parametrize("options", [(), ("--governance",)], ids=["demo", "demo of governance"])
def test_the_demos(ratio: Ratios, tiny: bool, tmp_path: Path, options: tuple[str, ...]) -> None:
    """From the command to its end, with everything that it starts."""
    if tiny and options:
        pytest.skip("the other one shows that this still runs")
    here, temporary = tmp_path / "here", tmp_path / "tmp"
    here.mkdir()
    temporary.mkdir()
    shown = run_demo(*options, here=here, temporary=temporary)
    assert shown.code == 0, shown.errors

    name = " ".join(("sealpress demo", *options))
    ratio.row(name, shown.elapsed_s, "s", "bound", SECONDS_MAX, target=Target(ratio_max=1))
