"""Does who follows something in a pipe hear of it when it comes?"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from sealpress.cli import approve, grant, log
from sealpress.client import Client
from sealpress.v1 import audit_pb2, governance_pb2, grant_pb2

STATES = [{"state": "in_review"}, {"state": "revoked"}]


class Pipe(io.StringIO):
    """What its reader has."""

    heard = ""

    def flush(self) -> None:
        """To the reader."""
        self.heard = self.getvalue()


def piped(monkeypatch: pytest.MonkeyPatch) -> Pipe:
    """Where standard output goes from now on."""
    monkeypatch.setattr(sys, "stdout", made := Pipe())
    return made


def coming(pipe: Pipe, answers: list[Any], words: list[str]) -> Iterator[Any]:
    """Each answer; before the next the reader has heard its word."""
    for answer, word in zip(answers, words, strict=True):
        yield answer
        assert word in pipe.heard


def test_a_log_s_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """`log tail --follow | grep` shows a refusal when it happens, and not with the hundredth after it."""
    piped_to = piped(monkeypatch)
    events = [audit_pb2.LogEvent(json=f'{{"seq": {seq}, "type": "refusal"}}') for seq in (71, 72)]
    monkeypatch.setattr(log, "load_client", lambda _: None)
    monkeypatch.setattr(Client, "__init__", lambda *_: None)
    monkeypatch.setattr(Client, "__exit__", lambda *_: None)
    monkeypatch.setattr(Client, "tail", lambda *_, **__: coming(piped_to, events, ["seq 71", "seq 72"]))

    log.tail(follow=True)


def test_what_waits_for_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """`approve --watch`."""
    piped_to = piped(monkeypatch)
    changes = [governance_pb2.Change(change_id=id_) for id_ in ("one", "two")]
    daemon: Any = SimpleNamespace(watch=lambda: coming(piped_to, changes, ["one", "two"]))

    approve._watch(daemon, as_json=False)


def test_a_grant_s_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """`grant watch`."""
    piped_to = piped(monkeypatch)
    grants = [grant_pb2.Grant(**state) for state in STATES]
    daemon: Any = SimpleNamespace(watch_grant=lambda _: coming(piped_to, grants, ["in_review", "revoked"]))
    monkeypatch.setattr(grant, "connected", lambda *_, **__: nullcontext(daemon))

    with pytest.raises(typer.Exit):
        grant.watch("g", until="active")
