"""Where is the PIN while a node works? In its file and in the token, and nowhere else: a random PIN is looked for.

As root, in every readable mapping of serve, of the signer and of its workers, a second after login. What a module of
another maker keeps in its own process is looked at as well (`test_modules.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit import pins
from kit.node import DIRECT, PROOF, Node
from kit.shim import answer, nth
from sealpress.wiring import dev

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="reads another process's memory"),
    pytest.mark.skipif("SEALPRESS_SANITIZED" in os.environ, reason="the shadow memory of ASan fills the address space"),
]

USER_NOT_LOGGED_IN = 0x101
SIGNER_USER, SERVE_USER, LINK_GROUP = 61_801, 61_802, 61_803


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A node at work, its token behind the shim."""
    with Node(shim=True) as running:
        yield running


def sign(node: Node) -> None:
    """Once with each mode."""
    with node.client() as client:
        for line in (PROOF, DIRECT):
            client.sign(hashlib.sha256(os.urandom(8)).digest(), line=line)


def found(node: Node, text: str) -> dict[str, dict[str, int]]:
    """In which of its processes, and there in which mappings."""
    processes = {name: child.process.pid for name, child in node.children.items()}
    processes |= {f"worker {pid}": pid for pid in node.workers()}
    return {name: dict(where) for name, pid in processes.items() if (where := pins.where(pid, text))}


def test_what_is_there_is_found(node: Node) -> None:
    """The search itself: the label of a key stands in serve, guard and worker; a PIN in who holds it, by halves too."""
    assert {"signer", "serve"} <= set(found(node, "direct-p256"))
    assert any(name.startswith("worker") for name in found(node, "direct-p256"))
    pin = pins.new_pin()
    for program in (f"pin = b'{pin}'", f"half = b'{pin[16:]}'"):
        with subprocess.Popen(
            [sys.executable, "-c", f"{program}\nprint(flush=True)\ninput()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as holder:
            assert holder.stdout is not None
            holder.stdout.readline()
            assert pins.where(holder.pid, pin)
            holder.kill()


def test_what_is_said_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that nodes print and leave is looked through at their end: half a PIN in it fails the run."""
    leaked: list[str] = []
    monkeypatch.setattr(pins, "LEAKED", leaked)
    pin = pins.new_pin()
    (tmp_path / "token").mkdir()
    (tmp_path / "token" / "pin").write_text(pin)
    pins.check_files(tmp_path, but="token")
    (tmp_path / "words").write_text(f"login failed: {pin[:16]}…")

    with pytest.raises(AssertionError) as told:
        pins.check_files(tmp_path, but="token")
    assert leaked == [str(tmp_path / "words")]
    assert not pins.says_one(str(told.value))


def test_no_pin_stays_in_memory(node: Node) -> None:
    """Not after the first login, not after a second one in the same worker, not after a worker was replaced."""
    pin = (node.directory / "token" / "pin").read_text().strip()
    assert len(pin) == 32
    sign(node)
    logins = node.shim["C_Login"]
    time.sleep(1)
    assert found(node, pin) == {}

    node.shim.inject("C_Sign", answer(USER_NOT_LOGGED_IN), nth(1))
    sign_until_it_works(node)
    time.sleep(1)
    assert node.shim["C_Login"] > logins
    assert found(node, pin) == {}

    node.kill_worker()
    sign_until_it_works(node)
    time.sleep(1)
    assert found(node, pin) == {}


def sign_until_it_works(node: Node) -> None:
    """Clients ask again."""
    ends = time.monotonic() + 10
    while True:
        try:
            return sign(node)
        except Exception:
            if time.monotonic() > ends:
                raise
            time.sleep(0.1)


def test_no_core_and_no_new_privileges(node: Node) -> None:
    """Serve, signer and worker: no core file, no new privileges."""
    for pid in (*(child.process.pid for child in node.children.values()), *node.workers()):
        limits = Path(f"/proc/{pid}/limits").read_text()
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        assert limits.split("Max core file size")[1].split()[:2] == ["0", "0"]
        assert status["NoNewPrivs"] == "1"


# ---- two users -------------------------------------------------------------------------------------------------------


def test_signer_and_serve_are_two_users() -> None:
    """The node signs; serve's user reads neither PIN nor marks nor the signer's memory, and neither can be dumped."""
    with Node(start=False) as node:
        python = _python()
        _share(node)
        signer, serve = (_Running(node, python, *who) for who in (("signer", SIGNER_USER), ("serve", SERVE_USER)))
        with signer as ready, serve as told:
            assert ready["ready"]
            dev.write_clients(node.directory, told)
            with node.client() as client:
                client.sign(hashlib.sha256(b"two users").digest(), line=PROOF)
            # What stands in /proc of a process belongs to its user, but to root where PR_SET_DUMPABLE is 0.
            assert {Path(f"/proc/{one.pid}/environ").stat().st_uid for one in (signer, serve)} == {0}
            for secret in (node.directory / "token" / "pin", node.directory / "signer", f"/proc/{signer.pid}/mem"):
                tried = subprocess.run([*_as(SERVE_USER), "cat", secret], capture_output=True, check=False)
                assert b"Permission denied" in tried.stderr, secret


def _as(user: int) -> list[str]:
    """What to put before a command, to run it as this user: for `user` subprocess forks, beside the threads of gRPC."""
    return ["/usr/sbin/chroot", f"--userspec={user}:{LINK_GROUP}", f"--groups={LINK_GROUP}", "--skip-chdir", "/"]


def _python() -> str:
    """An interpreter that other users may run: not one below /root."""
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    for python in (sys.executable, "/usr/bin/python3"):
        program = [*_as(SERVE_USER), python, "-c", "import sealpress.core.p11, grpc"]
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            subprocess.run(program, env=environment, capture_output=True, check=True)
            return python
    pytest.skip("no Python here that another user may run")


def _share(node: Node) -> None:
    """To each its own, as with the systemd units: token, log key and marks, or the data; and a socket for both."""
    for name, user in {
        **dict.fromkeys(("token", "log-key", "signer"), SIGNER_USER),
        **dict.fromkeys(("data", "tls"), SERVE_USER),
    }.items():
        for path in (node.directory / name, *(node.directory / name).rglob("*")):
            os.chown(path, user, user)
    os.chown(node.directory / "run", SIGNER_USER, LINK_GROUP)
    (node.directory / "run").chmod(0o750)
    for path in (node.place, node.directory, node.directory / "keys", node.directory / "trust"):
        path.chmod(0o755)
    node.configure({"signer": {"users": [SERVE_USER]}})


class _Running:
    """A command as another user; a context manager that gives its ready line."""

    def __init__(self, node: Node, python: str, command: str, user: int) -> None:
        self._arguments = [*_as(user), python, "-m", "sealpress", command, "--config", str(node.config), "--json"]
        self._environment = {**dev.environment(node.directory), "PYTHONPATH": os.pathsep.join(sys.path)}
        self._words = node.place / "words"

    def __enter__(self) -> dict[str, Any]:
        with self._words.open("a") as words:
            self._process = subprocess.Popen(
                self._arguments, env=self._environment, stdout=subprocess.PIPE, stderr=words
            )
        assert self._process.stdout is not None
        ready: dict[str, Any] = json.loads(self._process.stdout.readline())
        return ready

    @property
    def pid(self) -> int:
        return self._process.pid

    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        self._process.communicate(timeout=30)
