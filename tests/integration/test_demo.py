"""Does the demo show what it says, on real files, in time, and leave nothing behind?"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.shown import DEMO, Shown, run_demo

SECONDS_MAX = 60
FILES_MIN = 500


@pytest.fixture
def place() -> Iterator[Path]:
    """Where temporary directories go; a short path, as a Unix socket needs it."""
    with tempfile.TemporaryDirectory(prefix="sp-demo-", dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture(scope="module")
def shown() -> Shown:
    """One run; a file that looks like a built wheel lies in ./dist."""
    with tempfile.TemporaryDirectory(prefix="sp-demo-", dir="/tmp") as directory:
        here, temporary = Path(directory) / "here", Path(directory) / "tmp"
        (here / "dist").mkdir(parents=True)
        temporary.mkdir()
        (here / "dist" / "sealpress-0-py3-none-any.whl").write_bytes(b"wheel")
        return run_demo(here=here, temporary=temporary)


def number(shown: Shown, pattern: str) -> int:
    """A figure that the demo prints."""
    found = re.search(pattern, shown.text)
    assert found is not None, shown.text
    return int(found[1].replace(",", ""))


def test_it_succeeds_and_leaves_nothing(shown: Shown) -> None:
    """Exit code 0, nothing on stderr, no file left."""
    assert shown.code == 0, shown.text + shown.errors
    assert shown.errors == ""
    assert shown.left == []


@pytest.mark.slow
def test_it_is_short(shown: Shown) -> None:
    """Under a minute of processors; by the clock three, for machines that do other things meanwhile."""
    assert shown.cpu_s < SECONDS_MAX
    assert shown.elapsed_s < 3 * SECONDS_MAX


def test_it_signs_and_verifies_many_real_files(shown: Shown) -> None:
    """At least 500 files, the wheel among them, in one batch and one by one; every one verifies, twice."""
    signed = number(shown, r"(\d+) signed with dev/demo/local/test/proof-ed25519")

    assert signed >= FILES_MIN
    assert ["0", "0"] == re.findall(rf"{signed} verified, (\d+) failed", shown.text)
    assert "sealpress-0-py3-none-any.whl" in shown.text


def test_it_shows_refusals(shown: Shown) -> None:
    """A flipped bit, and a line without right with its recorded event."""
    event = re.search(r"recorded as (\w+)", shown.text)

    assert "0 verified, 1 failed" in shown.text
    assert event is not None
    assert f"sealpress log explain {event[1]}" in shown.commands
    assert re.search(r"reason +NOT_PERMITTED", shown.text)


def test_openssl_agrees(shown: Shown) -> None:
    """The direct signature is judged by another program."""
    assert "Verified OK" in shown.text
    assert [command for command in shown.commands if command.startswith("openssl dgst ")]


def test_it_explains_and_counts(shown: Shown) -> None:
    """One digest explained; files/s, signatures/s, and far fewer token operations than signatures."""
    signatures, operations = number(shown, r"(\d+) signatures with"), number(shown, r"with (\d+) token operations")

    assert re.search(r"decision +allow", shown.text)
    assert number(shown, r"([\d,]+) files/s") > 0
    assert number(shown, r"([\d,]+) signatures/s") > 0
    assert 2 * FILES_MIN < signatures
    assert 0 < operations < signatures / 2
    assert "the log holds" in shown.text


def test_its_commands_can_be_typed(shown: Shown) -> None:
    """Each is shown in full, first the directory and the environment; the programs are ours or on every machine."""
    programs = {command.split()[0] for command in shown.commands}

    assert programs == {"cd", "export", "kill", "openssl", "sealpress", "xargs"}
    assert shown.commands[0].startswith("cd ")
    assert "export SEALPRESS_CLIENT=node/client.toml" in shown.commands


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_interrupted_it_leaves_nothing(place: Path, sent: int) -> None:
    """Stopped in the middle: no process, no file."""
    environment = {**os.environ, "TMPDIR": str(place)}
    demo = subprocess.Popen(
        DEMO, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )
    assert demo.stdout is not None
    for line in demo.stdout:
        if "serving on" in line:
            break
    os.killpg(demo.pid, sent)
    demo.communicate(timeout=60)

    assert demo.returncode not in (0, None)
    assert running(str(place)) == []
    assert list(place.iterdir()) == []


def running(word: str) -> list[str]:
    """Command lines of processes that have this word in them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if word in command:
            found.append(command)
    return found
