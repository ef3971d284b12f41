"""Fixtures that many tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from kit.node import Node

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # it remarks on every process that a test starts


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A running development node, one per module."""
    with Node() as running:
        yield running
