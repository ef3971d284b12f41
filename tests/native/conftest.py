"""Fixtures of the C core's tests."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `make -C csrc` builds: each variant is compiled once, whoever asks for its programs first."""
    return tmp_path_factory.mktemp("native")
