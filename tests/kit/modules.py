"""PKCS#11 modules of other makers, each on a token of its own.

What a token is asked for is what it lists: a line whose mechanism the module does not list for a key of that size is
not in `lines` of its node (kit/module_node.py), nor is one that it lists and gets wrong (`Module.broken`).

Guarantees: tokens, databases and daemons live below the directory that is given and end with the context; no key or
token of this machine is seen. Does not: stand in for hardware: a TPM here is swtpm.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

from kit.pins import new_pin
from sealpress.hsm.provision import softhsm_conf
from sealpress.values import Format, Mode
from sealpress.wiring import dev

START_S = 20.0
PIN = new_pin()


@dataclass(frozen=True, slots=True)
class LineKind:
    """A line with a key of its own: the mechanism that it needs of a module, and how it signs."""

    name: str
    kind: str  # of the key
    mechanism: int
    bits: int
    mode: Mode
    format: Format
    digest: str

    @property
    def line(self) -> str:
        """Its name in the node."""
        return dev.PREFIX + self.name


_ECDSA, _EDDSA, _PKCS1, _PSS = 0x1041, 0x1057, 0x1, 0xD
_PROOF = (Mode.PROOF, Format.TLOG_PROOF)
KINDS = (
    LineKind("proof-ed25519", "ed25519", _EDDSA, 256, *_PROOF, "sha256"),
    LineKind("proof-p256", "p256", _ECDSA, 256, *_PROOF, "sha256"),
    LineKind("proof-p384", "p384", _ECDSA, 384, *_PROOF, "sha384"),
    LineKind("proof-p521", "p521", _ECDSA, 521, *_PROOF, "sha512"),
    LineKind("proof-rsa2048", "rsa2048", _PSS, 2048, *_PROOF, "sha256"),
    LineKind("direct-p256", "p256", _ECDSA, 256, Mode.DIRECT, Format.ECDSA_DER, "sha256"),
    LineKind("direct-p384", "p384", _ECDSA, 384, Mode.DIRECT, Format.ECDSA_DER, "sha384"),
    LineKind("direct-p521", "p521", _ECDSA, 521, Mode.DIRECT, Format.ECDSA_DER, "sha512"),
    LineKind("direct-rsa2048", "rsa2048", _PKCS1, 2048, Mode.DIRECT, Format.RSA_PKCS1V15, "sha256"),
    LineKind("direct-rsa3072", "rsa3072", _PKCS1, 3072, Mode.DIRECT, Format.RSA_PKCS1V15, "sha384"),
    LineKind("direct-pss2048", "rsa2048", _PSS, 2048, Mode.DIRECT, Format.RSA_PSS, "sha256"),
)

# Makes the token where it is wanted, then a key for every line that the module lists and has none: in a process of its
# own, which has one module. It prints {line: PEM} of the new keys, null for those that stand, or why there is none.
_MAKE = """
import contextlib, json, os, sys
from pathlib import Path
import pkcs11
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from sealpress.core import p11
from sealpress.errors import CannotStart
from sealpress.hsm import login, module, objects, provision
ask = json.loads(sys.stdin.read())
name = module.TokenName(ask["module"], ask["reserved"], "", ask["label"])
pins = [os.open(ask[pin], os.O_RDONLY) for pin in ("so_pin_file", "pin_file")]
if ask["initialise"]:
    p11.init_token(provision.free_slot(name.module, name.reserved, name.label), name.label, pins[0])
token = module.Token(name)
session = token.open_session(write=True)
if ask["initialise"]:
    token.close_anchor()
    p11.init_pin(session.handle, *pins)
login.login(session.handle, ask["pin_file"], bytes(32))
most = {}
for mechanism in token.raw.slot.get_mechanisms():
    with contextlib.suppress(pkcs11.exceptions.MechanismInvalid):  # p11-kit's client lists what it cannot pass on
        most[int(mechanism)] = token.raw.slot.get_mechanism_info(mechanism).max_key_length
made = {}
for number, (line, kind, mechanism, bits) in enumerate(ask["lines"], start=1):
    if most.get(mechanism, 0) >= bits:
        made[line] = None
        if ask["make"]:
            try:
                spki = objects.make(session, kind, bytes([number]), line).spki
            except CannotStart as error:
                made[line] = error.message
                continue
            pem = load_der_public_key(spki).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            made[line] = pem.decode()
print(json.dumps(made))
sys.stdout.flush()
os._exit(0)
"""


class Module:
    """A module with a token in `place`; a context manager that ends what it started."""

    name: ClassVar[str]
    packages: ClassVar[str]  # Debian's names
    broken: ClassVar[dict[str, str]] = {}  # kind of key that it lists and gets wrong: how
    needs: ClassVar[tuple[str, ...]] = ()  # programs
    libraries: ClassVar[tuple[str, ...]]
    label: ClassVar[str] = "kit"
    reserved: str = ""
    keys: dict[str, str]  # public keys (PEM) of the lines that it can sign for
    refused: dict[str, str]  # lines that it lists and has no key for: what was wrong

    def __init__(self, place: Path) -> None:
        """`place` has a short name, because of the sockets in it, and is removed by whoever made it."""
        self.place = place
        self.env: dict[str, str] = {}
        self._ended = ExitStack()
        (place / "so-pin").write_text("kit-so-pin-2209\n")
        (place / "pin").touch(0o600)
        (place / "pin").write_text(PIN + "\n")

    @classmethod
    def path(cls) -> str:
        """Where this machine has the module; empty if it has none."""
        roots = [Path("/usr/lib"), *Path("/usr/lib").glob("*-linux-gnu"), Path("/usr/lib64")]
        found = (root / name for root in roots for name in cls.libraries if (root / name).exists())
        return str(next(found, ""))

    @classmethod
    def missing(cls) -> str:
        """What this machine lacks, and how to get it; empty if it lacks nothing."""
        lacks = [need for need in cls.needs if shutil.which(need) is None]
        if not cls.path():
            lacks.append(cls.libraries[0])
        return f"{', '.join(lacks)} not here: apt-get install {cls.packages}" if lacks else ""

    def __enter__(self) -> Module:
        """Token and keys made, what serves them running."""
        try:
            self.start()
        except BaseException:
            self._ended.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        """Nothing is left running."""
        self._ended.close()

    def start(self) -> None:
        """Bring up what the module needs, then `make`."""
        raise NotImplementedError

    def make(self, *, token: bool = False) -> None:
        """A key for each line that the module lists, and with `token` first the token."""
        made = {line: text or "" for line, text in self._ask(token=token, make=True).items()}
        self.keys = {line: text for line, text in made.items() if text.startswith("-----BEGIN")}
        self.refused = {line: text for line, text in made.items() if line not in self.keys}

    def listed(self) -> set[str]:
        """Lines that the module lists the mechanism for, with keys of that size."""
        return set(self._ask(token=False, make=False))

    def _ask(self, *, token: bool, make: bool) -> dict[str, str | None]:
        ask = {
            "module": self.path(),
            "reserved": self.reserved,
            "label": self.label,
            "so_pin_file": str(self.place / "so-pin"),
            "pin_file": str(self.place / "pin"),
            "initialise": token,
            "make": make,
            "lines": [(kind.name, kind.kind, kind.mechanism, kind.bits) for kind in KINDS],
        }
        done = subprocess.run(
            [sys.executable, "-c", _MAKE],
            input=json.dumps(ask),
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answer: dict[str, str | None] = json.loads(done.stdout)
        return answer

    def run(self, *command: str, until: Callable[[], bool]) -> subprocess.Popen[bytes]:
        """A program in the background, up when this returns, gone at the end; what it says is in `place`/said."""
        with (self.place / "said").open("ab") as said:
            process = subprocess.Popen(command, env={**os.environ, **self.env}, stdout=said, stderr=said)
        self._ended.callback(_end, process)
        deadline = time.monotonic() + START_S
        while not until():
            assert process.poll() is None and time.monotonic() < deadline, (self.place / "said").read_text()
            time.sleep(0.02)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


class SoftHsm(Module):
    """SoftHSM2, directly; the tokens behind p11-kit are copies of this one."""

    name = "SoftHSM2"
    packages = "softhsm2"
    libraries = ("softhsm/libsofthsm2.so",)

    def start(self) -> None:
        """Copy the token that was made once."""
        template = _softhsm()
        self.keys, self.refused = template.keys, template.refused
        shutil.copytree(template.place / "tokens", self.place / "tokens")
        self.env["SOFTHSM2_CONF"] = str(softhsm_conf(self.place))

    def through(self) -> None:
        """Another module stands before it: of the keys, those that it lists."""
        listed = self.listed()
        self.keys = {line: pem for line, pem in self.keys.items() if line in listed}


@cache
def _softhsm() -> SoftHsm:
    place = Path(tempfile.mkdtemp(prefix="sp-soft-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    module = SoftHsm(place)
    module.env["SOFTHSM2_CONF"] = str(softhsm_conf(place))
    module.make(token=True)
    return module


class Proxy(SoftHsm):
    """p11-kit's proxy, which shows the tokens of all modules that it is configured with: here of SoftHSM alone."""

    name = "p11-kit proxy"
    packages = "p11-kit-modules softhsm2"
    libraries = ("p11-kit-proxy.so",)

    def start(self) -> None:
        """A configuration of our own: what the machine has is disabled by files of the same names."""
        super().start()
        modules = self.place / "xdg" / "pkcs11" / "modules"
        modules.mkdir(parents=True)
        (modules.parent / "pkcs11.conf").write_text("user-config: merge\n")
        for theirs in Path("/usr/share/p11-kit/modules").glob("*.module"):
            (modules / theirs.name).write_text("disable-in: p11-kit-proxy\n")
        (modules / "softhsm2.module").write_text(f"module: {SoftHsm.path()}\n")
        self.env["XDG_CONFIG_HOME"] = str(self.place / "xdg")
        self.through()


class Remoting(SoftHsm):
    """p11-kit's client and server: the token is in another process, behind a Unix socket."""

    name = "p11-kit remoting"
    packages = "p11-kit p11-kit-modules softhsm2"
    needs = ("p11-kit",)
    libraries = ("pkcs11/p11-kit-client.so",)

    def start(self) -> None:
        """One server, which makes a process of its own for every client."""
        super().start()
        socket = self.place / "p11"
        command = ("p11-kit", "server", "--foreground", "--name", str(socket), "--provider", SoftHsm.path())
        self.run(*command, "pkcs11:token=kit", until=socket.exists)
        self.env["P11_KIT_SERVER_ADDRESS"] = f"unix:path={socket}"
        self.through()


class Tpm(Module):
    """tpm2-pkcs11 on swtpm, behind the resource manager that a TPM without the kernel's needs for two processes."""

    name = "tpm2-pkcs11"
    packages = "libtpm2-pkcs11-1 swtpm tpm2-abrmd libtss2-tcti-tabrmd0 dbus"
    needs = ("swtpm", "tpm2-abrmd", "dbus-daemon")
    libraries = ("pkcs11/libtpm2_pkcs11.so", "libtpm2_pkcs11.so.1")
    broken: ClassVar[dict[str, str]] = {"p521": "its EC_POINT is no DER, and C_Sign fails on it (version 1.9)"}

    def start(self) -> None:
        """A TPM, a bus, the resource manager on both; then a token in an empty store."""
        for name in ("tpm", "store"):
            (self.place / name).mkdir()
        command, control, bus = (self.place / name for name in ("tpm.sock", "tpm.sock.ctrl", "bus"))
        server = ("--server", f"type=unixio,path={command}", "--ctrl", f"type=unixio,path={control}")
        self.run(
            *("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.place / 'tpm'}", *server),
            *("--flags", "not-need-init,startup-clear"),
            until=command.exists,
        )
        (self.place / "bus.conf").write_text(
            f'<busconfig><type>session</type><listen>unix:path={bus}</listen><policy context="default">'
            '<allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy></busconfig>'
        )
        self.run("dbus-daemon", f"--config-file={self.place / 'bus.conf'}", "--nofork", until=bus.exists)
        self.env |= {
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={bus}",
            "TPM2_PKCS11_TCTI": "tabrmd:bus_type=session",
            "TPM2_PKCS11_STORE": str(self.place / "store"),
            "TSS2_LOG": "all+none",
        }
        manager = ("tpm2-abrmd", "--session", "--allow-root", "--max-transients=100", f"--tcti=swtpm:path={command}")
        self.run(*manager, until=self._managed)
        self.make(token=True)

    def _managed(self) -> bool:
        asked = "--session --dest=org.freedesktop.DBus --type=method_call --print-reply /org/freedesktop/DBus"
        ask = ("dbus-send", *asked.split(), "org.freedesktop.DBus.NameHasOwner", "string:com.intel.tss2.Tabrmd")
        done = subprocess.run(ask, env={**os.environ, **self.env}, capture_output=True, text=True, check=False)
        return "true" in done.stdout


class Nss(Module):
    """NSS softokn: refuses to be initialised without a string that says where its database is (`reserved`)."""

    name = "NSS softokn"
    packages = "libnss3 libnss3-tools"
    needs = ("certutil",)
    libraries = ("libsoftokn3.so", "nss/libsoftokn3.so")
    label = "NSS Certificate DB"

    def start(self) -> None:
        """A database, which comes with its PIN."""
        database = self.place / "db"
        database.mkdir()
        command = ["certutil", "-N", "-d", f"sql:{database}", "-f", str(self.place / "pin")]
        subprocess.run(command, check=True, capture_output=True)
        self.reserved = f"configdir='sql:{database}' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
        self.make()


MODULES: tuple[type[Module], ...] = (SoftHsm, Proxy, Remoting, Tpm, Nss)
