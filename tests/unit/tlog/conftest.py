"""A scribe per test, closed at its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.scribe import Scribe


@pytest.fixture
def scribe(tmp_path: Path) -> Iterator[Scribe]:
    """An open log that a test may write, close and open again."""
    scribe = Scribe(tmp_path / "log")
    scribe.open()
    yield scribe
    scribe.log.close()
