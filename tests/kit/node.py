"""One way to run a whole node in tests: provisioned once, copied for each test, its two processes started apart.

    with Node(settings={"signer": {"leaf_age_s_max": 3}}, shim=True) as node:
        with node.client() as client: ...
        node.kill("serve"); node.start("serve")

Guarantees: ports are free ones; nothing is left running or lying about; what the processes said is in `words`.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import tomli_w

from kit import pins
from kit.shim import Shim, built
from kit.standby import Standby
from kit.vitals import children
from sealpress.client import AsyncClient, Client, load_client
from sealpress.hsm.provision import softhsm_conf
from sealpress.verify.policy import TrustPolicy, load_policy
from sealpress.wiring import dev
from sealpress.wiring.pair import Child, Process

PROOF = dev.PREFIX + "proof-ed25519"
PROOF_P256 = dev.PREFIX + "proof-p256"
DIRECT = dev.PREFIX + "direct-p256"


@cache
def _template() -> Path:
    """A provisioned node that is only copied; made in a process of its own: a process opens one PKCS#11 module."""
    place = Path(tempfile.mkdtemp(prefix="sp-template-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    program = "import sys; from pathlib import Path; from sealpress.wiring import dev; "
    program += "dev.provision(Path(sys.argv[1]), '127.0.0.1:0')"
    subprocess.run([sys.executable, "-c", program, str(place / "node")], check=True)
    for name in ("pin", "so-pin"):
        pins.remember((place / "node" / "token" / name).read_text().strip())
    return place / "node"


def _merge(base: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in more.items():
        if value is None:
            base.pop(name, None)
        else:
            base[name] = _merge(base.get(name, {}), value) if isinstance(value, Mapping) else value
    return base


class Node:
    """A development node with its signer and daemon as separate processes."""

    def __init__(self, *, settings: Mapping[str, Any] | None = None, shim: bool = False, start: bool = True) -> None:
        """`settings` are merged into sealpress.toml (None: taken out).

        With `shim` the token stands behind it, and is probed by no key: what it counts is what a test asked for.
        """
        # a Unix socket's path must be short, so not below pytest's directories
        self.place = Path(tempfile.mkdtemp(prefix="sp-", dir="/tmp"))
        self.directory = self.place / "n"
        self._shim: Shim | None = None
        self._environment: dict[str, str] = {}
        self.children: dict[str, Process] = {}
        self._standbys: dict[str, Standby] = {}
        self._words = (self.place / "words").open("ab")
        with self._or_nothing():
            self._provide(settings or {}, shim)
        if start:
            self.start_all()

    def _provide(self, settings: Mapping[str, Any], shim: bool) -> None:
        shutil.copytree(_template(), self.directory)
        softhsm_conf(self.directory / "token")
        if shim:
            real = tomllib.loads((self.directory / "sealpress.toml").read_text())["slot"]["soft"]["module"]
            self._shim = Shim(self.place / "shim", real)
            self._environment = self._shim.env
            self.configure({"slot": {"soft": {"module": str(built()), "probe_key": None}}})
        self.configure(settings)

    @contextmanager
    def _or_nothing(self) -> Iterator[None]:
        """Nothing is left of it if this fails; pytest shows what the processes said."""
        try:
            yield
        except BaseException:
            print(self.words[-6000:])  # noqa: T201 - pytest shows it with the failure
            self.close()
            raise

    # ---- its files ----

    @property
    def config(self) -> Path:
        """sealpress.toml."""
        return self.directory / "sealpress.toml"

    @property
    def log_directory(self) -> Path:
        """The log's."""
        data: str = tomllib.loads(self.config.read_text())["node"]["data"]
        return self.directory / data / "ci"

    @property
    def words(self) -> str:
        """What both processes said on stderr."""
        return (self.place / "words").read_text(errors="replace")

    @property
    def shim(self) -> Shim:
        """What counts and disturbs the token's calls; of a node that was made with it."""
        assert self._shim is not None
        return self._shim

    def configure(self, settings: Mapping[str, Any], name: str = "sealpress.toml") -> None:
        """Merge into sealpress.toml, or policy.toml; for the next start."""
        path = self.directory / name
        path.write_text(tomli_w.dumps(_merge(tomllib.loads(path.read_text()), settings)))

    def trust_file(self, line: str = PROOF) -> Path:
        """The tlog-policy of a proof line."""
        return self.directory / "trust" / f"{dev.flat(line)}.policy"

    def trust(self, line: str = PROOF) -> TrustPolicy:
        """The same, parsed."""
        return load_policy(self.trust_file(line))

    def public_key(self, line: str) -> Path:
        """PEM of a line's key."""
        return self.directory / "keys" / f"{dev.flat(line)}.pem"

    # ---- its processes ----

    @property
    def ready(self) -> dict[str, Any]:
        """The daemon's ready line: its addresses."""
        return self.children["serve"].ready

    def start_all(self) -> None:
        """Signer, then daemon; nothing is left if one does not start."""
        with self._or_nothing():
            self.start("signer")
            self.start("serve")

    def start(self, command: str) -> Process:
        """Start `signer` or `serve` and wait until it is ready; CannotStart otherwise."""
        standby = self._standbys.get(command)
        child = self.children[command] = standby.start() if standby is not None else self._start(command)
        if command == "serve":
            dev.write_clients(self.directory, child.ready)
        return child

    def _start(self, command: str) -> Child:
        kept = dict(os.environ)
        os.environ.update(self._environment)
        try:
            return Child(self.directory, command, self._words)
        finally:
            os.environ.clear()
            os.environ.update(kept)

    def stand_by(self, command: str) -> None:
        """From now on `signer` or `serve` is forked by a process that has read its modules: starts are quick."""
        self._standbys[command] = Standby(self.directory, command, self._words)

    def start_and_kill(self, command: str, seconds: float) -> None:
        """Start one that stands by; kill -9 so much later, ready or not."""
        started = self._standbys[command].go()
        time.sleep(seconds)
        started.kill()
        started.wait()

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run `signer` or `serve` until it ends by itself: for starts that must fail."""
        arguments = [sys.executable, "-m", "sealpress", command, "--config", str(self.config)]
        environment = {**dev.environment(self.directory), **self._environment}
        environment.pop("GRPC_VERBOSITY", None)  # set for the tests' own process
        return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60, check=False)

    def kill(self, command: str) -> None:
        """kill -9, and wait for the end."""
        child = self.children.pop(command)
        child.process.kill()
        child.process.wait()
        if child.process.stdout is not None:
            child.process.stdout.close()

    def stop(self, command: str) -> int:
        """SIGTERM; the exit code."""
        return self.children.pop(command).stop()

    def workers(self) -> list[int]:
        """Process ids of the signer's workers."""
        return children(self.children["signer"].process.pid)

    def kill_worker(self) -> None:
        """kill -9 of the worker."""
        for pid in self.workers():
            os.kill(pid, signal.SIGKILL)

    # ---- its callers ----

    def client(self, name: str = "client", **settings: Any) -> Client:
        """A client; `stranger` has no right to anything."""
        return Client(load_client(self.directory / f"{name}.toml"), **settings)

    def aclient(self, name: str = "client", **settings: Any) -> AsyncClient:
        """The same for async code."""
        return AsyncClient(load_client(self.directory / f"{name}.toml"), **settings)

    def metrics(self) -> dict[str, float]:
        """What /metrics shows, by name with labels."""
        with urllib.request.urlopen(f"http://{self.ready['http']}/metrics", timeout=5) as page:
            lines = page.read().decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    # ---- its end ----

    def close(self) -> None:
        """Stop what runs and remove the directory; a second call does nothing."""
        for command in ("serve", "signer"):
            if command in self.children:
                self.stop(command)
        for standby in self._standbys.values():
            standby.close()
        self._words.close()
        if self._shim is not None:
            self._shim.close()
            self._shim = None
        try:
            pins.check_files(self.place, but="token")  # what the processes said, wrote and left
        finally:
            shutil.rmtree(self.place, ignore_errors=True)

    def __enter__(self) -> Node:
        """The node itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; if a test fails, pytest shows what the processes said."""
        if error is not None:
            print(self.words[-6000:])  # noqa: T201 - pytest shows it with the failure
        self.close()
