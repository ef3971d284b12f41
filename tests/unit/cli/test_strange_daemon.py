"""Does a command end with one line whatever a daemon answers?"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sealpress.cli.app import build
from sealpress.client import Client, load_client
from sealpress.client.control import PENDING_MAX, ControlClient
from sealpress.client.listeners import Listeners
from sealpress.errors import Busy
from sealpress.v1 import approval_pb2, audit_pb2, governance_pb2
from sealpress.wiring.certificates import issue, make_authority, write_authority

EVENTS = ["", "not JSON", "[1]", "[" * 5_000]


@pytest.fixture
def client(tmp_path: Path) -> Path:
    """A client.toml with which nobody is reached."""
    authority, now = make_authority(datetime.now(UTC)), datetime.now(UTC)
    write_authority(authority, tmp_path / "ca.pem")
    issue(authority, tmp_path, "client", now=now, uris=("spiffe://a/b",))
    path = tmp_path / "client.toml"
    names = 'ca = "ca.pem"\ncert = "client.pem"\nkey = "client.key"\n'
    path.write_text(f'signing = "127.0.0.1:1"\ncontrol = "127.0.0.1:1"\n{names}')
    return path


def refused(client: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and reason."""
    done = CliRunner().invoke(build(arguments[0]), [*arguments, "--json", "--client", str(client)])
    return done.exit_code, json.loads(done.stdout)["error"]["reason"]


@pytest.mark.parametrize("body", EVENTS)
def test_an_event_that_is_none_is_no_traceback(client: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """What a daemon sends for an event is taken as one, or refused as an answer that is wrong."""
    monkeypatch.setattr(Client, "tail", lambda *_, **__: iter([audit_pb2.LogEvent(json=body)]))
    monkeypatch.setattr(Client, "explain", lambda *_, **__: [audit_pb2.LogEvent(json=body)])

    assert (1, "ANSWER") == refused(client, "log", "tail")
    assert (1, "ANSWER") == refused(client, "log", "explain", "event")


def test_what_is_not_recorded_is_no_answer(client: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that asks whether something was signed decides by the exit code."""
    monkeypatch.setattr(Client, "explain", lambda *_, **__: [])

    assert (1, "NOT_RECORDED") == refused(client, "log", "explain", "event")


@pytest.mark.parametrize("body", [b"", b"\xff", b"a/b\n1\n\x1b[2J\n"])
def test_a_checkpoint_that_is_none_is_not_shown(client: Path, monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    """It goes to a terminal, or into a file that others verify: only in its one form."""
    monkeypatch.setattr(Client, "get_checkpoint", lambda *_: body)

    assert (1, "ANSWER") == refused(client, "log", "checkpoint")


@pytest.mark.parametrize("step", [0, 1])
def test_a_list_without_an_end_is_refused(client: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Pages that lead back, or on for ever, fill no memory."""
    page = [governance_pb2.Change()] * (PENDING_MAX // 4)

    def call(_self: Any, _call: Any, request: Any) -> approval_pb2.ListPendingResponse:
        return approval_pb2.ListPendingResponse(changes=page, next_after_seq=request.after_seq + step or 1)

    monkeypatch.setattr(Listeners, "call", call)

    assert (1, "ANSWER") == refused(client, "approve")


def test_a_daemon_s_word_for_unreachable_is_no_reason_to_send_again(client: Path) -> None:
    """A change that it heard is not proposed twice because it says so."""
    with ControlClient(load_client(client)) as daemon, pytest.raises(Busy):
        daemon._to._knock(Busy("", reason="UNREACHABLE"), 0, 6)


def test_a_state_that_no_grant_has_is_not_waited_for(client: Path) -> None:
    """`--until aktive` would wait until the grant is over, and call it a failure."""
    assert (2, "USAGE") == refused(client, "grant", "watch", "g", "--until", "aktive")


@pytest.mark.parametrize("days", [0, -1, 1 << 62])
def test_a_draft_lasts_as_long_as_a_calendar_goes(tmp_path: Path, days: int) -> None:
    """A number of days that is none is a wrong draft, and no overflow."""
    draft = tmp_path / "draft.toml"
    draft.write_text(
        f'deployment = "d"\nprofile = "lab"\nlog = "a/b"\nofficers = []\nroot_threshold = 1\ndays = {days}'
    )
    done = CliRunner().invoke(build("anchors"), ["anchors", "make", str(draft), "--json"])

    assert (2, "CONFIG") == (done.exit_code, json.loads(done.stdout)["error"]["reason"])
