"""One governed node for all tests of this folder: it takes seconds to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kit.laboratory import Lab


@pytest.fixture(scope="package")
def lab() -> Iterator[Lab]:
    """One node for all tests here; each uses what it made itself."""
    with Lab() as made:
        yield made
