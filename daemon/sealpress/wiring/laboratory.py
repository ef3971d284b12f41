"""Makes a governed node to try things out on: tokens and FIDO2 keys in software, a CA, persons, a CI with tokens.

    lab/serve.toml          the daemon: the governance log `main`, and the firmware log `fw`
    lab/main-signer.toml    the signer of the first
    lab/fw-signer.toml      the second's, alone; both have trust anchors of their own
    lab/custodian.toml      who makes and destroys keys
    lab/draft.toml          of the trust anchors
    lab/policy.toml         the first policy, to be proposed
    lab/<person>.toml       a client configuration each; their FIDO2 keys are in lab/fido/
    lab/ci/                 a CI's token issuer: key, key set, tokens

Everything is of profile `lab`, and says so in every record. Guarantees: what it leaves is what the commands read in
production. Does not: protect anything, start anything, or decide: anchors, persons and keys come by the commands.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import tomli_w
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from sealpress.clock import SystemClock
from sealpress.entropy import SystemEntropy
from sealpress.errors import CannotStart
from sealpress.hsm.provision import provision_token, softhsm_conf
from sealpress.verify.note import canonical_spki, line_key, log_key
from sealpress.wiring.certificates import issue, make_authority, now_utc, write_authority
from sealpress.wiring.dev import softhsm_module
from sealpress.wiring.lab import COUNTER, build_provider
from sealpress.wiring.lab_charter import (
    APP,
    AUDIENCE,
    DEPLOYMENT,
    FIRMWARE,
    FW,
    ISSUER,
    LOG_NAMES,
    MACHINES,
    MAIN,
    OFFICERS,
    PEOPLE,
    WITH_KEYS,
    draft,
    policy_text,
    uri,
)
from sealpress.wiring.lab_ci import make_issuer
from sealpress.wiring.pair import Process

APPLICATION = "ssh:sealpress"


def environment(directory: Path) -> dict[str, str]:
    """For every command of the laboratory: where the tokens are, and what stands in for FIDO2 keys."""
    return {
        **os.environ,
        "SOFTHSM2_CONF": str(directory / "token" / "softhsm2.conf"),
        "SSH_SK_PROVIDER": str(directory / "fido" / "libsealpress-lab-sk.so"),
        COUNTER: "0",  # as of authenticators that do not count: a second is long here
        "SSH_ASKPASS_REQUIRE": "never",
    }


def provision(directory: Path) -> None:
    """Make the node's directory."""
    for name in ("tls", "token", "keys", "log-key", "trust", "run", "fido", "ci"):
        (directory / name).mkdir(parents=True, mode=0o700)
    build_provider(directory / "fido")
    _make_tokens(directory)
    _make_certificates(directory)
    vkeys = [make_log_key(directory, log) for log in (MAIN, FW)]
    for name in WITH_KEYS:
        make_fido_key(directory, name)
    make_issuer(directory)
    ports = _free_ports(3)
    _write_configs(directory, ports)
    _write(directory / "draft.toml", draft(vkeys))
    (directory / "policy.toml").write_text(policy_text())
    for name in (*PEOPLE, *MACHINES):
        write_client(directory, name, ports)
    write_client(directory, "ci", ports, bearer="ci/token.jwt")


# ---- parts -----------------------------------------------------------------------------------------------------------


def _make_tokens(directory: Path) -> None:
    os.environ["SOFTHSM2_CONF"] = str(softhsm_conf(directory / "token"))
    entropy = SystemEntropy()
    for log in (MAIN, FW):
        for name in (f"{log}.pin", f"{log}.so-pin"):
            path = directory / "token" / name
            path.touch(mode=0o600)
            path.write_text(entropy.bytes(12).hex() + "\n")
        place = directory / "token"
        provision_token(softhsm_module(), f"lab-{log}", place / f"{log}.so-pin", place / f"{log}.pin", [])


def _make_certificates(directory: Path) -> None:
    now = now_utc(SystemClock().now_ns())
    authority = make_authority(now, "sealpress laboratory CA")
    tls = directory / "tls"
    write_authority(authority, tls / "ca.pem")
    issue(authority, tls, "server", now=now, hosts=("localhost", "127.0.0.1", "::1"), server=True)
    for name in (*PEOPLE, *MACHINES):
        issue(authority, tls, name, now=now, uris=(uri(name).removeprefix("uri:"),))


def make_log_key(directory: Path, log: str) -> str:
    """A fresh key for a log; its verifier key under the log's first number."""
    key = ed25519.Ed25519PrivateKey.generate()
    private = directory / "log-key" / f"{log}.key"
    private.touch(mode=0o600)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (directory / "keys" / f"log-{log}.pem").write_bytes(pem)
    return log_key(f"{LOG_NAMES[log]}/1", public.public_bytes_raw()).vkey


def make_fido_key(directory: Path, name: str) -> None:
    """`ssh-keygen` makes it, with the stand-in for an authenticator."""
    command = [
        "ssh-keygen", "-q", "-t", "ed25519-sk", "-O", "verify-required", "-O", f"application={APPLICATION}",
        "-N", "", "-C", name, "-f", str(directory / "fido" / name),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, env=environment(directory), capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise CannotStart("there is no ssh-keygen here", reason="TOOL_MISSING", hint="Debian: openssh-client") from None
    if done.returncode:
        raise CannotStart(f"ssh-keygen: {done.stderr.strip()}", reason="TOOL_FAILED", hint="OpenSSH 8.2 or later")


def _free_ports(count: int) -> dict[str, int]:
    """Ports that stay the same over restarts."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return dict(zip(("signing", "control", "token"), ports, strict=True))


def _write_configs(directory: Path, ports: Mapping[str, int]) -> None:
    logs = {log: _log_section(log) for log in (MAIN, FW)}
    slots = {log: _slot_section(log) for log in (MAIN, FW)}
    node = {"name": "lab", "data": "data", "environment": "prod"}
    anchors = {"anchors": "anchors.json", "anchors_signatures": [f"{name}.anchors.sig" for name in OFFICERS]}
    serve: dict[str, Any] = {
        "schema": 1,
        "node": node,
        "listen": [
            {"address": f"127.0.0.1:{ports['signing']}", "services": ["signing", "audit"], "auth": "mtls"},
            {"address": f"127.0.0.1:{ports['control']}", "services": ["control"], "auth": "mtls"},
            {"address": f"127.0.0.1:{ports['token']}", "services": ["signing"], "auth": "token"},
        ],
        "tls": {"cert": "tls/server.pem", "key": "tls/server.key", "client_ca": "tls/ca.pem"},
        "governance": {
            "deployment": DEPLOYMENT,
            "anchors": "anchors.json",
            "signatures": anchors["anchors_signatures"],
        },
        "token": {"audience": AUDIENCE},
        "issuer": {"ci": {"url": ISSUER, "kind": "github", "jwks_file": "ci/jwks.json"}},
        "log": logs,
        "slot": {log: {"module": softhsm_module(), "label": f"lab-{log}"} for log in (MAIN, FW)},
        "journal": {"write": "auto"},
    }
    _write(directory / "serve.toml", serve)
    for log in (MAIN, FW):
        own: dict[str, Any] = {"socket": f"run/{log}.sock", "state": f"signer-{log}"}
        document = {"schema": 1, "node": node, "log": {log: logs[log]}, "slot": {log: slots[log]}}
        _write(directory / f"{log}-signer.toml", document | {"signer": own | anchors})
    _write(directory / "custodian.toml", {"schema": 1, "node": node, "slot": slots, "signer": anchors})


def _log_section(log: str) -> dict[str, Any]:
    return {
        "name": LOG_NAMES[log], "number": 1, "key": f"log-key/{log}.key", "public_key": f"keys/log-{log}.pem",
        "governance": log == MAIN, "signer": f"run/{log}.sock",
    }  # fmt: skip


def _slot_section(log: str) -> dict[str, Any]:
    return {
        "module": softhsm_module(), "label": f"lab-{log}", "pin_file": f"token/{log}.pin", "sessions": 2,
        "laboratory": True,
    }  # fmt: skip


def write_client(directory: Path, name: str, ports: Mapping[str, int], bearer: str = "") -> None:
    """`<name>.toml`: who one is, and where the node listens."""
    document = {"signing": f"127.0.0.1:{ports['token' if bearer else 'signing']}", "ca": "tls/ca.pem"}
    if bearer:
        document |= {"token": bearer, "line": FIRMWARE}
    else:
        document |= {
            "control": f"127.0.0.1:{ports['control']}",
            "audit": f"127.0.0.1:{ports['signing']}",
            "cert": f"tls/{name}.pem",
            "key": f"tls/{name}.key",
            "line": APP,
        }
    _write(directory / f"{name}.toml", document)


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(tomli_w.dumps(document))


# ---- keys ------------------------------------------------------------------------------------------------------------


def install_key(directory: Path, report: Path) -> str:
    """Put what the custodian made into the configurations of signer and daemon, and publish its trust file."""
    found = msgspec.json.decode(report.read_bytes())
    key, line, log = found["report"]["key"], found["line"], found["slot"]
    pem = directory / "keys" / f"{key}.pem"
    pem.write_text(found["public_key"])
    section = {
        "log": log, "slots": [log], "public_key": f"keys/{key}.pem", "line": line, "mode": "proof",
        "format": "tlog-proof", "class": "firmware" if line == FIRMWARE else "low", "cka_id": found["cka_id"],
        "cka_label": found["cka_label"], "state": "governed",
    }  # fmt: skip
    for name in ("serve.toml", f"{log}-signer.toml", "custodian.toml"):
        with (directory / name).open("a") as file:
            file.write("\n" + tomli_w.dumps({"key": {key: section}}))
    if f"[log.{log}]" not in (directory / "custodian.toml").read_text():
        with (directory / "custodian.toml").open("a") as file:
            file.write("\n" + tomli_w.dumps({"log": {log: _log_section(log)}}))
    trust = directory / "trust" / f"{key}.policy"
    trust.write_text(trust_text(directory, log, line, pem.read_bytes()))
    return f"trust/{key}.policy"


def trust_text(directory: Path, log: str, line: str, pem: bytes, number: int = 1) -> str:
    """The C2SP tlog-policy with which one key's proofs under a log of that number verify."""
    public = load_pem_public_key((directory / "keys" / f"log-{log}.pem").read_bytes())
    assert isinstance(public, ed25519.Ed25519PublicKey)
    log_vkey = log_key(f"{LOG_NAMES[log]}/{number}", public.public_bytes_raw()).vkey
    vkey = line_key(f"{LOG_NAMES[log]}/{line}", canonical_spki(pem)).vkey
    return f"log {log_vkey}\nwitness line {vkey}\nquorum line\n"


# ---- processes -------------------------------------------------------------------------------------------------------

COMMANDS = (
    ("signer", "--config", "main-signer.toml"),
    ("signer", "--config", "fw-signer.toml"),
    ("serve", "--config", "serve.toml"),
)


class Laboratory:
    """The three processes; use as a context manager."""

    def __init__(self, directory: Path, words: Path | None = None) -> None:
        """Start them, signers first; what they say on stderr is added to the file `words`."""
        self.directory = directory
        self._words = words
        self.running: list[Process] = []
        self.start()

    def __enter__(self) -> Laboratory:
        """The node."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop all."""
        self.stop()

    def start(self) -> None:
        """All three; what started is stopped again if one does not."""
        try:
            for verb, option, file in COMMANDS:
                arguments = (verb, option, str(self.directory / file))
                with (self._words or Path(os.devnull)).open("ab") as said:
                    self.running.append(Process(arguments, environment(self.directory), said))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> int:
        """The daemon first, so that it drains; the worst exit code."""
        codes = [process.stop() for process in reversed(self.running)]
        self.running.clear()
        return max(codes, key=abs, default=0)

    def restart(self) -> None:
        """With the configurations as they are now."""
        self.stop()
        self.start()
