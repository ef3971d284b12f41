"""Does the command line say what it should before and after a command is at work: version, interruption, tables?"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from rich.text import Text

import sealpress
from sealpress.cli import output, status
from sealpress.cli.app import build
from sealpress.v1 import audit_pb2
from sealpress.wiring.certificates import issue, make_authority, write_authority

# whatever is imported once the command runs takes a minute, in small pieces: a signal that comes right before a sleep
# is heard after it
SLOW_IMPORT = """
import sys, time
from sealpress.__main__ import main
class Slow:
    def find_spec(self, *_):
        print(flush=True)
        for _ in range(6_000): time.sleep(0.01)
sys.meta_path.insert(0, Slow())
main()
"""
LONG = "sign.acme.example/a-log-with-quite-a-long-name-of-its-own/1"


def test_the_version_is_told_without_a_command() -> None:
    """`sealpress --version` prints one line and exits with 0."""
    done = subprocess.run(
        [sys.executable, "-m", "sealpress", "--version"], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stdout) == (0, f"sealpress {sealpress.__version__}\n"), done.stderr


def test_interrupted_while_it_loads_it_ends_without_a_traceback() -> None:
    """Ctrl-C before the command is imported: 130 and not a word."""
    process = subprocess.Popen([sys.executable, "-c", SLOW_IMPORT], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    os.kill(process.pid, signal.SIGINT)
    _, words = process.communicate(timeout=30)

    assert (process.returncode, words) == (130, b"")


def test_a_table_in_a_pipe_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody looks, names stand whole, however long they are."""
    found = audit_pb2.GetStatusResponse(
        node="dev",
        slots=[audit_pb2.SlotStatus(slot="soft", up=True, reason="because " * 20)],
        logs=[audit_pb2.LogStatus(log="ci", origin=LONG)],
    )
    status._tell(found)
    told = capsys.readouterr().out

    assert LONG in told
    assert "…" not in told


def test_brackets_in_a_table_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Labels of keys and reasons are others' words: nothing in them is taken away, styled, or an error."""
    why = "[slot.soft] module [/usr] is [bold]gone[/bold] :key:"
    found = audit_pb2.GetStatusResponse(node="[red]dev", slots=[audit_pb2.SlotStatus(slot="soft", reason=why)])
    status._tell(found)
    told = capsys.readouterr().out

    assert why in told
    assert "[red]dev" in told


def test_nothing_that_is_said_moves_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """A daemon that was taken over names a person so that lines above disappear: what was sent is shown instead."""
    output.say("approved by person:a\x1b[2J\x1b[1;1H\u202e\nand\r nobody else")

    assert capsys.readouterr().out == "approved by person:a\\x1b[2J\\x1b[1;1H\\u202e\nand\\r nobody else\n"


def test_a_refused_handshake_is_one_line(tmp_path: Path) -> None:
    """gRPC's own words about it do not stand before ours."""
    now = datetime.now(UTC)
    for name in ("ca", "other"):
        write_authority(authority := make_authority(now), tmp_path / f"{name}.pem")
    issue(authority, tmp_path, "server", now=now, hosts=("127.0.0.1",), server=True)
    issue(authority, tmp_path, "client", now=now, uris=("spiffe://a/b",))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    context.set_alpn_protocols(["h2"])
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        (tmp_path / "client.toml").write_text(
            f'signing = "{address}"\nca = "ca.pem"\ncert = "client.pem"\nkey = "client.key"\n'
        )
        command = [sys.executable, "-m", "sealpress", "status", "--client", str(tmp_path / "client.toml")]
        bare = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
        process = subprocess.Popen(command, env=bare, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        with server.accept()[0] as connection, contextlib.suppress(OSError):
            context.wrap_socket(connection, server_side=True)
        _, words = process.communicate(timeout=60)

    assert (process.returncode, len(words.splitlines())) == (1, 1), words
    assert words.startswith("sealpress: HANDSHAKE_REFUSED: ")


def test_help_says_all_that_it_was_given() -> None:
    """Help is shown as markup: the name of a section stands in it only where its bracket is escaped."""
    texts: list[str] = []
    commands = [typer.main.get_command(build())]
    while commands:
        command = commands.pop()
        commands += getattr(command, "commands", {}).values()
        texts += [command.help or "", *(getattr(option, "help", None) or "" for option in command.params)]

    assert len(texts) > 200
    assert [text for text in texts if Text.from_markup(text).plain != text.replace(r"\[", "[")] == []


def test_closed_streams_end_nothing(tmp_path: Path) -> None:
    """A command without standard streams does its work, and no file of its own takes their place."""
    (tmp_path / "policy.toml").write_text("schema = 1\n")
    program = "import os, sys; os.closerange(0, 3); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    command = ["-m", "sealpress", "policy", "validate", str(tmp_path / "policy.toml")]
    done = subprocess.run([sys.executable, "-c", program, *command], timeout=60, check=False)

    assert done.returncode == 0
