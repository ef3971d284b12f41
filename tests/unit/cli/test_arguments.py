"""Does a wrong argument or file end a command with one line, a reason and a documented exit code?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from kit.fabricate import World
from sealpress.cli import grant
from sealpress.cli.app import build
from sealpress.cli.governing import tell_change
from sealpress.cli.output import fail
from sealpress.client.control import ControlClient
from sealpress.errors import Busy
from sealpress.v1 import governance_pb2, grant_pb2
from sealpress.wiring.certificates import make_authority, write_authority

BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
LONG = "x" * 300  # no file system has such a name


def ran(*arguments: str | Path) -> Any:
    """A command, as it ends when it is called."""
    return CliRunner().invoke(build(str(arguments[0])), [str(argument) for argument in arguments])


def refused(result: Any, reason: str, code: int) -> bool:
    """Whether it said why in one line, and nothing else went wrong."""
    words = result.stderr.splitlines()
    return result.exit_code == code and len(words) == 1 and words[0].startswith(f"sealpress: {reason}: ")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("sign", "--dry-run", ".", "--client"), 2),
        (("serve", "--config"), 4),
        (("signer", "--config"), 4),
        (("hsm", "check", "--config"), 2),
        (("anchors", "make"), 2),
        (("verify", ".", "--trust", "trust.policy", "--limits"), 2),
    ],
)
@pytest.mark.parametrize("body", [b"\xff\xfe", b"schema = " + b"9" * 5_000, b"schema = " + b"[" * 5_000])
def test_a_configuration_that_cannot_be_read_is_named(
    tmp_path: Path, command: tuple[str, ...], code: int, body: bytes
) -> None:
    """No UTF-8, no number, no depth that TOML has: a wrong file, and exit 4 where a supervisor would start it again."""
    path = tmp_path / "wrong.toml"
    path.write_bytes(body)
    (tmp_path / "trust.policy").write_text(World.make().policy)
    command = tuple(str(tmp_path / word) if word == "trust.policy" else word for word in command)

    assert refused(ran(*command, path), "CONFIG", code)


@pytest.mark.parametrize("command", [("sign", "--dry-run"), ("verify", "--trust", "policy")])
def test_a_path_that_cannot_be_looked_at_is_named(tmp_path: Path, command: tuple[str, ...]) -> None:
    """A name that no file can have, or a folder that is closed to us, is an argument like one that is missing."""
    assert refused(ran(*command, tmp_path / LONG), "FILE_UNREADABLE", 2)
    assert refused(ran(*command, tmp_path / "nothing"), "CONFIG", 2)


@pytest.mark.parametrize(
    "command", [("sign", "--dry-run"), ("verify", "--trust", "policy"), ("grant", "request", "--release", "r")]
)
def test_an_empty_path_is_not_the_folder_we_are_in(command: tuple[str, ...]) -> None:
    """`sealpress sign "$FILE"` in a script that forgot to set it: wrong usage, instead of everything below here."""
    result = ran(*command, "")

    assert (result.exit_code, type(result.exception)) == (2, SystemExit)
    assert "an empty path" in result.stderr


@pytest.mark.parametrize("given", [("--from", -1), ("--from", 1 << 64), ("--limit", 0), ("--limit", 1 << 63)])
def test_numbers_of_records_are_numbers_of_records(tmp_path: Path, given: tuple[str, int]) -> None:
    """What no sequence number can be is a wrong argument: neither the whole log, nor nothing, nor a traceback."""
    assert ran("log", "show", tmp_path, given[0], str(given[1])).exit_code == 2


@pytest.fixture
def client(tmp_path: Path) -> Path:
    """A client.toml with which a request can be made, and nobody be reached."""
    path = tmp_path / "client.toml"
    write_authority(make_authority(datetime.now(UTC)), tmp_path / "ca.pem")
    path.write_text('signing = "127.0.0.1:1"\nca = "ca.pem"\ntoken = "token"\n')
    return path


@pytest.mark.parametrize(
    "command",
    [("sign", ".", "--key"), ("log", "tail", "--log"), ("log", "explain"), ("change", "show")],
)
def test_an_argument_that_is_no_text_is_refused(client: Path, command: tuple[str, ...]) -> None:
    """Names of lines, logs and events travel as UTF-8: other bytes are wrong usage."""
    assert refused(ran(*command, os.fsdecode(b"\xff"), "--client", client), "USAGE", 2)


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_a_file_whose_name_is_no_text_is_named(client: Path, arguments: tuple[str, ...]) -> None:
    """Its bytes that are no UTF-8 are shown as such, on the line and in the document."""
    result = ran("sign", os.fsdecode(b"missing\xff"), "--client", client, *arguments)

    assert refused(result, "CONFIG", 2)
    assert not arguments or json.loads(result.stdout)["error"]["message"] == r"missing\xff: no such file"


@pytest.mark.parametrize("number", [-1, 1 << 64])
@pytest.mark.parametrize("command", [("log", "tail", "--from"), ("grant", "request", "--ttl")])
def test_a_number_that_cannot_be_is_refused(client: Path, command: tuple[str, ...], number: int) -> None:
    """Below zero, or more than the wire carries: wrong usage."""
    result = ran(*command, str(number), "--client", client)

    assert (result.exit_code, type(result.exception)) == (2, SystemExit)


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_an_output_that_cannot_be_written_is_told(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """A full disk under standard output: one line and exit 4, whatever else there was to say."""
    policy = tmp_path / "policy.toml"
    policy.write_text("")
    command = [sys.executable, "-m", "sealpress", "policy", "validate", str(policy), *arguments]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=BUFFERED, text=True, check=False)

    assert (done.returncode, done.stderr.splitlines()) == (
        4,
        ["sealpress: SYSTEM: the output: No space left on device (see to it, and try again)"],
    )


def test_a_reader_who_leaves_is_no_error_to_speak_of(tmp_path: Path) -> None:
    """`| head` ends a command without a word, also when what it had to say was still to be written."""
    policy = tmp_path / "policy.toml"
    policy.write_text("")
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "sealpress", "policy", "validate", str(policy)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=BUFFERED, text=True, check=False)
    os.close(writing)

    assert (done.returncode, done.stderr) == (1, "")


def test_a_client_without_an_address_is_a_wrong_file(client: Path) -> None:
    """An empty address is named as such, and nobody is asked there."""
    client.write_text(client.read_text().replace("127.0.0.1:1", ""))

    assert refused(ran("status", "--client", client), "CONFIG", 2)


ISSUE = ("key", "propose", "k", "--line", "a/b/c/d/e", "--class", "test", "--slot", "s", "--owner", "person:a")
WRONG = [
    ("access", "enrol", "person:a", "--name", "uri:a", "--reason", "r", "--expires", "tomorrow"),
    ("access", "bind", "person:a", "releaser", "--reason", "r", "--not-after", "tomorrow"),
    (*ISSUE, "--backup-owner", "person:b", "--reason", "r", "--algorithm", "rot13"),
]


@pytest.mark.parametrize("command", WRONG)
def test_what_cannot_be_proposed_is_refused(client: Path, command: tuple[str, ...]) -> None:
    """A date, or a word, that is none is wrong usage, told as such."""
    client.write_text(client.read_text() + 'control = "127.0.0.1:1"\n')

    assert refused(ran(*command, "--client", client), "CONFIG", 2)


@pytest.mark.parametrize("arguments", [("--help",), ("sign", "--help"), (), ("--version",)])
def test_help_that_cannot_be_written_is_told(arguments: tuple[str, ...]) -> None:
    """A full disk under what no command says itself is no traceback either."""
    command = [sys.executable, "-m", "sealpress", *arguments]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=BUFFERED, text=True, check=False)

    assert (done.returncode, done.stderr.splitlines()) == (
        4,
        ["sealpress: SYSTEM: the output: No space left on device (see to it, and try again)"],
    )


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("policy", "validate"), 2),
        (("sign", "--client", "client.toml", "--digests-file"), 2),
        (("verify", "client.toml", "--public-key"), 2),
        (("status", "--client"), 2),
        (("hsm", "check", "--config"), 2),
        (("signer", "--config"), 4),
    ],
)
def test_a_file_without_an_end_is_refused(client: Path, command: tuple[str, ...], code: int) -> None:
    """What is larger than its format allows is a wrong file, and is not read into memory to find out."""
    endless = client.parent / "endless"
    with endless.open("wb") as file:
        file.truncate(1 << 40)
    words = [str(client) if word == client.name else word for word in command]

    assert refused(ran(*words, endless), "CONFIG", code)


@pytest.mark.parametrize("arguments", [(), ("--json",)])
@pytest.mark.parametrize("asked", [("a/b/c/d/tpyo",), ("--environment", "tpyo")])
def test_nobody_is_told_of_a_line_that_is_not_there(
    client: Path, monkeypatch: pytest.MonkeyPatch, asked: tuple[str, ...], arguments: tuple[str, ...]
) -> None:
    """Silence would mean that nobody can sign there."""
    monkeypatch.setattr(ControlClient, "who_can_sign", lambda *_: [])

    assert refused(ran("access", "who", *asked, "--client", client, *arguments), "NO_SUCH_LINE", 1)


def test_a_refusal_is_one_line_whoever_words_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Reason and text of a daemon are shown and not obeyed: it moves no cursor, and adds no line of its own."""
    with pytest.raises(typer.Exit):
        fail(Busy("a\x1b[2K", reason="FULL\nsealpress: good"), as_json=False)

    assert capsys.readouterr().err == "sealpress: FULL\\nsealpress: good: a\\x1b[2K\n"


def test_a_grant_and_a_change_say_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """The same of what a daemon calls them: one line for each that it tells."""
    odd = "a\n\x1b[2K"
    grant._tell(grant_pb2.Grant(grant_id=odd, key=odd, state=odd), as_json=False)
    grant._tell(grant_pb2.Grant(change_id=odd, key=odd, state=odd), as_json=False)
    tell_change(governance_pb2.Change(change_id=odd, kind=odd, state=odd, grant_id=odd), as_json=False)
    told = capsys.readouterr().out

    assert (len(told.splitlines()), "\x1b" in told) == (5, False)
