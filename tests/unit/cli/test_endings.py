"""Does a command that did not do what it was to do end with an error that a script can read?"""

from __future__ import annotations

import errno
import io
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest
import typer
from typer.testing import CliRunner

from sealpress.cli import approve, dev, key, serve
from sealpress.cli.app import build
from sealpress.cli.output import reporting
from sealpress.v1 import governance_pb2


@pytest.mark.parametrize("answer", ["", "\n", "no\n", "yes, of course\n"])
def test_who_does_not_say_yes_signs_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str
) -> None:
    """Also where nobody is there to say it: one line, and exit 1."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    with pytest.raises(typer.Exit) as caught, reporting(as_json=False):
        approve._sign(SimpleNamespace(), b"text", Path("key"), ask=True, as_json=False)  # type: ignore[arg-type]

    assert (1, "sealpress: NOT_SIGNED: nothing was signed") == (
        caught.value.exit_code, capsys.readouterr().err.splitlines()[-1].partition("] ")[2].partition(" (")[0]
    )  # fmt: skip


def test_a_change_that_is_not_approved_is_no_evidence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The custodian is handed nothing, and the document says so."""
    change = governance_pb2.Change(change_id="c", state="in_review", missing="1 of security-officer")
    daemon: Any = SimpleNamespace(change=lambda _: SimpleNamespace(change=change))
    with pytest.raises(typer.Exit) as caught, reporting(as_json=True):
        key._hand_over(daemon, "c", tmp_path / "evidence", "generate", as_json=True)
    error = json.loads(capsys.readouterr().out)["error"]

    assert (1, "CHANGE_NOT_APPROVED", "c is in_review" in error["message"]) == (
        caught.value.exit_code, error["reason"], True
    )  # fmt: skip
    assert "1 of security-officer" in error["message"]
    assert not (tmp_path / "evidence").exists()


class _Pair:
    """Of which one ends at once."""

    ready = {"signing": "127.0.0.1:1"}  # noqa: RUF012

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ended(self) -> Any:
        return SimpleNamespace(command="signer", process=SimpleNamespace(returncode=3))


@contextmanager
def _signals() -> Iterator[None]:
    former = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def test_a_node_of_which_a_part_ends_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--json` as JSON, after the line that said that it was ready, with the exit code of the part."""
    monkeypatch.setattr(dev, "Pair", lambda _: _Pair())
    monkeypatch.setattr(dev, "WATCH_S", 0.0)
    for name in ("provision", "write_clients"):
        monkeypatch.setattr(dev.wiring, name, lambda *_: True)
    with _signals():
        done = CliRunner().invoke(build("dev"), ["dev", "--dir", str(tmp_path), "--json"])
    ready, ended = (json.loads(line) for line in done.stdout.splitlines())

    assert (3, "127.0.0.1:1", "NODE_ENDED") == (done.exit_code, ready["signing"], ended["error"]["reason"])
    assert "`sealpress signer` ended with exit code 3" in ended["error"]["message"]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device", "/a/state"), BrokenPipeError(32, "Broken pipe")]
)
def test_a_start_that_the_system_ends_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: OSError
) -> None:
    """As JSON, too, with exit 4, which no service manager tries again; never without a word."""

    def refused() -> int:
        raise error

    with pytest.raises(typer.Exit) as caught:
        serve._run(refused, as_json=True)
    told = capsys.readouterr()

    assert (4, "SYSTEM") == (caught.value.exit_code, json.loads(told.out)["error"]["reason"])
    assert f"{error.strerror}" in told.err
