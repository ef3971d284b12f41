"""Fixtures that many tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit import pins
from kit.matrix import Matrix
from kit.node import Node

if "PYTHONPATH" in os.environ:  # programs that a test starts in another directory find the same package
    os.environ["PYTHONPATH"] = os.pathsep.join(
        str(Path(path).resolve()) for path in os.environ["PYTHONPATH"].split(":")
    )
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # it remarks on every process that a test starts
TABLES: list[list[str]] = []  # of matrices that other processes of this run filled


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A running development node, one per module."""
    with Node() as running:
        yield running


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """No PIN of this run is in anything that a test or a process of it printed, logged or failed with."""
    said = [text for _, text in report.sections]
    if pins.says_one("\n".join([*said, report.longreprtext])):
        pins.LEAKED.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run that says a PIN has failed, whatever its tests say. One of several tells who began it."""
    told = getattr(session.config, "workeroutput", None)
    if told is not None:
        told["leaked"], told["tables"] = pins.LEAKED, [matrix.table() for matrix in Matrix.shown]
    if pins.LEAKED:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """What a process of several told at its end."""
    del error
    told = getattr(node, "workeroutput", {})
    pins.LEAKED.extend(told.get("leaked", ()))
    TABLES.extend(told.get("tables", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Who said a PIN; and the matrix of PKCS#11 modules, where their tests ran: seen without -s."""
    for leak in pins.LEAKED:
        terminalreporter.write_line(f"A PIN WAS SAID: {leak}", red=True)
    for table in (*TABLES, *(matrix.table() for matrix in Matrix.shown)):
        for number, line in enumerate(table):
            if number == 0:
                terminalreporter.section("PKCS#11 modules")
            terminalreporter.write_line(line)
