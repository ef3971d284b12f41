"""Does the package put into site-packages what is its own, and nothing under a name that is another's?"""

from __future__ import annotations

import tomllib
from pathlib import Path

from setuptools import find_namespace_packages

ROOT = Path(__file__).resolve().parents[2]


def test_the_wheel_has_one_top_level_name() -> None:
    """`systemd` is another project's: with our units below it, importing it succeeds where it is not installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = project["tool"]["setuptools"]["packages"]["find"]
    (place,) = found["where"]
    names = find_namespace_packages(ROOT / place, include=found.get("include", ["*"]))

    assert {"sealpress"} == {name.partition(".")[0] for name in names}
    assert {"sealpress.cli", "sealpress.lab", "sealpress.v1"} <= set(names)
