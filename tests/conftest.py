"""Fixtures that many tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.matrix import Matrix
from kit.node import Node

if "PYTHONPATH" in os.environ:  # programs that a test starts in another directory find the same package
    os.environ["PYTHONPATH"] = os.pathsep.join(
        str(Path(path).resolve()) for path in os.environ["PYTHONPATH"].split(":")
    )
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # it remarks on every process that a test starts


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A running development node, one per module."""
    with Node() as running:
        yield running


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The matrix of PKCS#11 modules, where their tests ran: seen without -s."""
    for matrix in Matrix.shown:
        for number, line in enumerate(matrix.table()):
            if number == 0:
                terminalreporter.section("PKCS#11 modules")
            terminalreporter.write_line(line)
