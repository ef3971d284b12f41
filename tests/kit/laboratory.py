"""The laboratory of `sealpress demo --governance` for tests: three processes, persons, a CI; all over the wire.

    with Lab() as lab:              # anchors signed and adopted, everybody enrolled, policy in force, key app-1 active
        lab.people.of("rena").suspend_key("app-1", "…")
        lab.cli("key", "list", by="olga")

Guarantees: made once per Lab; nothing is left running or lying about.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from kit.vitals import children
from sealpress.cli.demo_people import People
from sealpress.cli.governing import sign_with
from sealpress.client import Client, load_client
from sealpress.client.control import Item
from sealpress.governance import changes as c
from sealpress.values import DigestAlgorithm
from sealpress.verify import anchors
from sealpress.verify.policy import TrustPolicy, load_policy
from sealpress.wiring import lab_charter, lab_ci, laboratory
from sealpress.wiring.lab_charter import FIRMWARE
from sealpress.wiring.pair import Process

SHA256 = DigestAlgorithm.SHA256


def digest_of(text: str) -> bytes:
    """Something to have signed."""
    return hashlib.sha256(text.encode()).digest()


class Lab:
    """One governed node."""

    def __init__(
        self, *, settled: bool = True, settings: str = "", prepare: Callable[[Path], None] | None = None
    ) -> None:
        """`settled`: with persons, policy and app-1; otherwise with its anchors alone. `settings`: of [governance].

        `prepare` may change the files of its directory before anything is started.
        """
        self.place = Path(tempfile.mkdtemp(prefix="sp-", dir="/tmp"))  # short, for a Unix socket
        self.directory = self.place / "l"
        self._former = dict(os.environ)
        with ExitStack() as undo:
            undo.callback(self._remove)
            self._provide(settings, prepare)
            self.node = laboratory.Laboratory(self.directory, self.place / "words")
            undo.callback(self.node.stop)
            self.people = People(self.directory)
            undo.callback(self.people.close)
            if settled:
                self.people.settle()
                self.people.policy()
                self.people.issue_key("app-1")
                self.restart()
                self.people.activate_key("app-1")
            self._undo = undo.pop_all()

    def _provide(self, settings: str, prepare: Callable[[Path], None] | None) -> None:
        # in a process of its own: a process opens one PKCS#11 module
        program = "import sys; from pathlib import Path; from sealpress.wiring import laboratory; "
        program += "laboratory.provision(Path(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", program, str(self.directory)], check=True)
        os.environ.update(laboratory.environment(self.directory))
        self._anchors()
        if settings:
            path = self.directory / "serve.toml"
            path.write_text(path.read_text().replace("[governance]\n", f"[governance]\n{settings}\n"))
        if prepare is not None:
            prepare(self.directory)

    def _anchors(self) -> None:
        self.cli("anchors", "make", "draft.toml")
        document = (self.directory / "anchors.json").read_bytes()
        for name in lab_charter.OFFICERS:
            signature = sign_with(self.directory / "fido" / name, anchors.NAMESPACE, document)
            (self.directory / f"{name}.anchors.sig").write_text(signature)

    def __enter__(self) -> Self:
        """The node."""
        return self

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stop and remove."""
        self._undo.close()

    def _remove(self) -> None:
        os.environ.clear()
        os.environ.update(self._former)
        shutil.rmtree(self.place, ignore_errors=True)

    @property
    def words(self) -> str:
        """What the processes said on stderr."""
        return (self.place / "words").read_text(errors="replace")

    def restart(self) -> None:
        """With the configurations as they are now."""
        self.people.close()
        self.node.restart()

    def stop_serve(self) -> int:
        """SIGTERM for the daemon alone; its exit code."""
        self.people.close()
        return self.node.running.pop().stop()

    def kill_serve(self) -> None:
        """kill -9 of the daemon alone, and wait for its end."""
        self.people.close()
        serve = self.node.running.pop()
        serve.process.kill()
        serve.stop()

    def start_serve(self) -> None:
        """The daemon alone, again."""
        with (self.place / "words").open("ab") as said:
            serve = Process(("serve", "--config", str(self.directory / "serve.toml")), os.environ, said)
        self.node.running.append(serve)

    def pids(self) -> dict[str, int]:
        """Of those processes that run now: `serve`, and the guard and worker of the ordinary lines' signer."""
        found: dict[str, int] = {}
        for process in list(self.node.running):  # a copy: it may be asked while another thread starts one
            found.setdefault("serve" if process.command == "serve" else "guard", process.process.pid)
        if "guard" in found:
            found |= dict(zip(("worker",), children(found["guard"]), strict=False))
        return found

    def client(self, name: str) -> Client:
        """For signing, as this machine."""
        return Client(load_client(self.directory / f"{name}.toml"))

    def trust(self, key: str) -> TrustPolicy:
        """The published trust file of a key."""
        return load_policy(self.directory / "trust" / f"{key}.policy")

    def token(self, name: str = "token", **claims: str) -> None:
        """The CI has a fresh token."""
        lab_ci.write_token(self.directory, name, **claims)

    def cli(self, *arguments: str, by: str = "", code: int = 0) -> dict[str, Any]:
        """A command with --json: its document. Fails unless it ends with `code`."""
        who = ("--client", f"{by}.toml") if by else ()
        done = subprocess.run(
            [sys.executable, "-P", "-m", "sealpress", *arguments, *who, "--json"], cwd=self.directory,
            env=os.environ | {"SEALPRESS_CLIENT": ""}, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return dict(json.loads(done.stdout)) if done.stdout else {}

    def release(self, *digests: bytes, approved_by: tuple[str, ...] = ("rita", "rob"), released: bool = True) -> str:
        """A firmware release asked for by the CI: the grant."""
        self.token()
        asked = self.people.of("ci").request_grant(
            FIRMWARE, "r", SHA256, [Item(one, f"{at}.img") for at, one in enumerate(digests)]
        )
        change = self.people.approve(asked.change_id, *approved_by)
        if released:
            self.people.of("lena").release(change.grant_id)
        return str(change.grant_id)


NO_GRANT = "01JD8W6Q2N0K3M7T9V5X1Z4B6C"


def told(error: grpc.RpcError) -> error_details_pb2.ErrorInfo:
    """Reason and metadata."""
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)
    assert status is not None and status.details[0].Unpack(info)
    return info


def enrolment(name: str) -> c.EnrolRequest:
    """Of somebody new."""
    return c.EnrolRequest(identity=f"person:{name}", kind="person", names=(f"uri:spiffe://lab.localhost/{name}",))


def laboratory_texts() -> Any:
    """Why."""
    from sealpress.client.control import Texts

    return Texts("a test")


def wait_until(holds: Any, seconds: float = 10) -> None:
    """Fails if it does not come true."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def need_firmware_key(lab: Lab) -> None:
    """The firmware key, active; made by the first test that wants it."""
    if not (lab.directory / "keys" / "fw-1.pem").exists():
        lab.people.issue_key("fw-1", FIRMWARE, "p384")
        lab.restart()
        lab.people.activate_key("fw-1", FIRMWARE)
