"""A signer on a SoftHSM token of its own, and a log to feed it: used by tests and benchmarks.

`make_node` writes a directory as `dev` would: token, log key, pinned public keys, sealpress.toml. `Signer` runs the
real process on it. `FakeLog` is an honest front end's log in memory.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from kit.entropy import SeededEntropy
from kit.pins import check, new_pin
from sealpress.config import load, resolve
from sealpress.core import leaf
from sealpress.core.merkle import Tree
from sealpress.hsm import frames as f
from sealpress.hsm import messages as m
from sealpress.hsm.guard import Guard
from sealpress.hsm.keytable import key_table
from sealpress.hsm.leaves import DirectItem
from sealpress.hsm.pinned import load_anchors
from sealpress.hsm.server import GuardServer
from sealpress.hsm.state import State
from sealpress.ports import Clock
from sealpress.values import DigestAlgorithm, LeafKind

SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
LOG_NAME = "dev.example/main"
OTHER_LOG = "dev.example/other"
ORIGIN = f"{LOG_NAME}/1"
OTHER_ORIGIN = f"{OTHER_LOG}/1"
PIN = new_pin()
# key id: kind on the token, log id, mode, format
KEYS = {
    "proof-ed25519": ("ed25519", "main", "proof", "tlog-proof"),
    "proof-p256": ("p256", "main", "proof", "tlog-proof"),
    "direct-p256": ("p256", "main", "direct", "ecdsa-der"),
    "direct-p384": ("p384", "main", "direct", "ecdsa-der"),
    "direct-rsa3072": ("rsa3072", "main", "direct", "rsa-pkcs1v15"),
    "direct-pss3072": ("rsa3072", "main", "direct", "rsa-pss"),
    "other-p256": ("p256", "other", "proof", "tlog-proof"),
}
_PROVISION = """
import json, sys
from pathlib import Path
from sealpress.hsm.provision import KeyPlan, provision_token
directory, module, plans = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
keys = [KeyPlan(name, kind, bytes([0xA0 + i]), name) for i, (name, kind) in enumerate(plans.items())]
print(json.dumps(provision_token(module, "kit", directory / "so-pin", directory / "pin", keys)))
"""


def line_of(key: str) -> str:
    """The line of a key of `KEYS`."""
    return f"dev/kit/local/test/{key}"


@dataclass(frozen=True)
class Node:
    """A directory that a signer can run on."""

    directory: Path
    config: Path
    env: dict[str, str]

    @property
    def socket(self) -> Path:
        """Where its guard listens."""
        return self.directory / "run" / "signer.sock"

    def public(self, key: str) -> bytes:
        """Canonical SPKI of a key."""
        public = load_pem_public_key((self.directory / "keys" / f"{key}.pem").read_bytes())
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def copy(self, directory: Path) -> Node:
        """The same token, keys and configuration elsewhere, with marks of its own."""
        shutil.copytree(self.directory, directory, dirs_exist_ok=True)
        conf = directory / "softhsm2.conf"
        conf.write_text(conf.read_text().replace(str(self.directory), str(directory)))
        return Node(directory, directory / self.config.name, {**self.env, "SOFTHSM2_CONF": str(conf)})

    def edit(self, before: str, after: str) -> None:
        """Change the configuration file."""
        text = self.config.read_text()
        assert before in text
        self.config.write_text(text.replace(before, after))


def make_node(
    directory: Path,
    *,
    keys: dict[str, tuple[str, str, str, str]] | None = None,
    module: str = SOFTHSM,
    sessions: int = 2,
    signer: str = "",
) -> Node:
    """Token, keys and configuration; `module` is what the signer loads (a shim), `signer` more of [signer]."""
    keys = KEYS if keys is None else keys
    (directory / "keys").mkdir(parents=True)
    (directory / "tokens").mkdir()
    (directory / "softhsm2.conf").write_text(
        f"directories.tokendir = {directory / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    (directory / "pin").touch(0o600)
    (directory / "so-pin").write_text("kit-so-pin-5512")
    (directory / "pin").write_text(PIN + "\n")
    env = {**os.environ, "SOFTHSM2_CONF": str(directory / "softhsm2.conf")}
    plans = json.dumps({name: plan[0] for name, plan in keys.items()})
    made = subprocess.run(
        [sys.executable, "-c", _PROVISION, str(directory), SOFTHSM, plans],
        env=env,
        check=True,
        capture_output=True,
        text=True,
    )
    for name, pem in json.loads(made.stdout).items():
        (directory / "keys" / f"{name}.pem").write_text(pem)
    config = directory / "sealpress.toml"
    config.write_text(_toml(directory, keys, module, sessions, signer))
    return Node(directory, config, env)


def _toml(directory: Path, keys: dict[str, tuple[str, str, str, str]], module: str, sessions: int, signer: str) -> str:
    text = 'schema = 1\n[node]\nname = "kit"\ndata = "data"\nenvironment = "test"\n'
    text += f"[signer]\nworker_backoff_ms = 100\n{signer}\n"
    for log, name in (("main", LOG_NAME), ("other", OTHER_LOG)):
        _log_key(directory, log)
        text += f'[log.{log}]\nname = "{name}"\nkey = "{log}.key"\npublic_key = "{log}.pub"\n'
    text += f'[slot.s1]\nmodule = "{module}"\nlabel = "kit"\npin_file = "pin"\nsessions = {sessions}\n'
    for i, (name, (_, log, mode, format_)) in enumerate(keys.items()):
        text += (
            f'[key.{name}]\nlog = "{log}"\nslots = ["s1"]\npublic_key = "keys/{name}.pem"\nline = "{line_of(name)}"\n'
            f'mode = "{mode}"\nformat = "{format_}"\nclass = "test"\ncka_id = "{0xA0 + i:02x}"\ncka_label = "{name}"\n'
        )
    return text


def _log_key(directory: Path, log: str) -> None:
    key = Ed25519PrivateKey.generate()
    (directory / f"{log}.key").touch(0o600)
    (directory / f"{log}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (directory / f"{log}.pub").write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )


class Signer:
    """The real process on a node."""

    def __init__(self, node: Node, env: dict[str, str] | None = None) -> None:
        """Start it; `wait_ready` says when it listens."""
        self.node = node
        command = (
            "import sys; from pathlib import Path; from sealpress.errors import SealpressError\n"
            "from sealpress.wiring.signer import run_signer\n"
            "codes = {'CannotStart': 4, 'PinRefused': 4, 'ConfigError': 2, 'Damaged': 3}\n"
            "try: sys.exit(run_signer(Path(sys.argv[1]), True))\n"
            "except SealpressError as error:\n"
            "    print(f'{error.reason}: {error.message}; {error.hint}', file=sys.stderr)\n"
            "    sys.exit(codes[type(error).__name__])\n"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", command, str(node.config)],
            env={**node.env, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_ready(self) -> None:
        """Returns when the socket is there."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            _, err = self.process.communicate(timeout=10)
            raise AssertionError(f"the signer did not start: {err}")

    def fails(self) -> tuple[int, str]:
        """Exit code and standard error of a signer that does not start."""
        err = self._end(30)
        return self.process.returncode, err

    def workers(self) -> list[int]:
        """Process ids of its workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self._end(10)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self._end(20)
        return self.process.returncode

    def _end(self, seconds: int) -> str:
        said, err = self.process.communicate(timeout=seconds)
        check("a signer", said + err)
        return err

    def __enter__(self) -> Signer:
        """Ready when this returns."""
        self.wait_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gone when this returns."""
        if self.process.poll() is None:
            self.kill()


async def raw_status(node: Node) -> m.StatusView:
    """The guard's own answer, with all that it tells."""
    reader, writer = await asyncio.open_unix_connection(str(node.socket))
    writer.write(f.frame(f.Hello(f.VERSION)) + f.frame(m.Status(1)))
    frames = f.Frames(m.answer_decoder)
    try:
        while data := await reader.read(1 << 16):
            for answer in frames.feed(data):
                if isinstance(answer, m.StatusView) and answer.id == 1:
                    return answer
    finally:
        writer.close()
    raise AssertionError("no answer")


class LocalSigner:
    """Guard and socket in this process, on a clock of the test's; workers are real processes."""

    def __init__(self, node: Node, clock: Clock) -> None:
        """Call within a running loop; the node's environment must be this process's."""
        config = load(node.config)

        def path_of(value: str) -> Path:
            return resolve(node.config, value)

        self.state = State(path_of(config.signer.state), SeededEntropy())
        anchors = load_anchors(config.signer, path_of, self.state)
        table = key_table(config, path_of, anchors.anchors.lines if anchors is not None else None)
        self.guard = Guard(config, path_of, table, self.state, clock, anchors)
        self._server = GuardServer(self.guard, path_of(config.signer.socket), config.signer.users)

    async def __aenter__(self) -> LocalSigner:
        """Ready when this returns."""
        await self.guard.start()
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Workers gone, marks written."""
        await self._server.close()
        await self.guard.close()
        self.state.close()


class FakeLog:
    """An honest log in memory: leaves in, heads and paths out."""

    def __init__(self, origin: str = ORIGIN) -> None:
        """Empty."""
        self.origin = origin
        self.name = origin.rsplit("/", 1)[0]
        self.tree = Tree()
        self.told = 0

    def event(self, time: int, count: int = 1) -> None:
        """Leaves that nobody signs."""
        for _ in range(count):
            spec = leaf.LeafSpec(LeafKind.EVENT, 0, bytes(32), leaf.scope(self.name, ""), 0, time, os.urandom(32))
            self.tree.append(leaf.leaf_hashes(spec, None, None, 1))

    def direct(
        self, spki: bytes, line: str, digest: bytes, time: int, algorithm: DigestAlgorithm = DigestAlgorithm.SHA256
    ) -> tuple[int, bytes]:
        """A direct leaf: its index and opening."""
        return self._leaf(LeafKind.DIRECT, spki, line, digest, time, algorithm)

    def proof(
        self, spki: bytes, line: str, digest: bytes, time: int, algorithm: DigestAlgorithm = DigestAlgorithm.SHA256
    ) -> tuple[int, bytes]:
        """A proof leaf: its index and opening."""
        return self._leaf(LeafKind.PROOF, spki, line, digest, time, algorithm)

    def _leaf(
        self, kind: LeafKind, spki: bytes, line: str, digest: bytes, time: int, algorithm: DigestAlgorithm
    ) -> tuple[int, bytes]:
        scope = leaf.scope(self.name, line)
        spec = leaf.LeafSpec(kind, algorithm, leaf.key_id(spki), scope, 0, time, os.urandom(32))
        seed = os.urandom(32)
        self.tree.append(leaf.leaf_hashes(spec, seed, digest, 1))
        return self.tree.size - 1, leaf.opening(spec, leaf.salts(seed, 0, 1))

    def item(self, index: int, opening: bytes, digest: bytes) -> DirectItem:
        """What a direct call carries, under the tree as it is."""
        return DirectItem(opening, digest, index, self.tree.inclusion(index, self.tree.size))

    def growth(self) -> tuple[int, bytes, bytes]:
        """Size, root and consistency for the next `advance`; taken for told."""
        size = self.tree.size
        path = self.tree.growth(self.told, size)
        self.told = size
        return size, self.tree.root(), path
