"""Makes a development node: token, keys, certificates, configuration, policy and trust files in one directory.

Guarantees: what it leaves is what `sealpress serve` and `sealpress signer` read in production, of class `test` only; an
existing directory is used as it is, but that certificates which have ended are made anew. Does not: start anything.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

import tomli_w
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sealpress.clock import SystemClock
from sealpress.config import check_address
from sealpress.entropy import SystemEntropy
from sealpress.errors import CannotStart, ConfigError
from sealpress.hsm.provision import KeyPlan, provision_token, softhsm_conf
from sealpress.values import Format, Mode
from sealpress.verify.note import canonical_spki, line_key, log_key
from sealpress.wiring.certificates import has_ended, issue, make_authority, now_utc, write_authority

LOG_NAME = "dev.localhost/ci-1"
BUILDER = "spiffe://dev.localhost/ci/builder"
STRANGER = "spiffe://dev.localhost/ci/stranger"
PREFIX = "dev/demo/local/test/"
PROBE = "probe"  # the key that only shows whether the token works
LISTEN = "127.0.0.1:7443"
MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
)

# purpose, kind of key, mode, format, digests
LINES: tuple[tuple[str, Any, Mode, Format, tuple[str, ...]], ...] = (
    ("proof-ed25519", "ed25519", Mode.PROOF, Format.TLOG_PROOF, ("sha256", "sha384", "sha512")),
    ("proof-p256", "p256", Mode.PROOF, Format.TLOG_PROOF, ("sha256", "sha384", "sha512")),
    ("direct-p256", "p256", Mode.DIRECT, Format.ECDSA_DER, ("sha256",)),
    ("direct-p384", "p384", Mode.DIRECT, Format.ECDSA_DER, ("sha384",)),
    ("direct-rsa3072", "rsa3072", Mode.DIRECT, Format.RSA_PKCS1V15, ("sha256",)),
    ("direct-pss3072", "rsa3072", Mode.DIRECT, Format.RSA_PSS, ("sha256",)),
)


def monotonic_ns() -> int:
    """A stopwatch for commands, which have no clock of their own."""
    return SystemClock().monotonic_ns()


def flat(line: str) -> str:
    """A line name as a file name."""
    return line.replace("/", "--")


def softhsm_module() -> str:
    """Where this machine has SoftHSM; CannotStart with what to install."""
    for path in MODULES:
        if Path(path).exists():
            return path
    raise CannotStart(
        "SoftHSM2 is not installed here", reason="MODULE_MISSING", hint="Debian: apt-get install softhsm2"
    )


def environment(directory: Path) -> dict[str, str]:
    """What the signer of this node needs in its environment."""
    return {**os.environ, "SOFTHSM2_CONF": str(directory / "token" / "softhsm2.conf")}


def provision(directory: Path, listen: str | None = None, module: str | None = None) -> bool:
    """Make the node; False if it stands there already (then only `listen`, if given, is put in).

    ConfigError if something else stands there, or for an address that is none; CannotStart if there can be no such
    directory.
    """
    if listen is not None:
        check_address("--listen", listen)
    try:
        return _provision(directory, listen, module)
    except OSError as error:
        raise CannotStart(
            f"a node cannot be made in {directory}: {error.strerror}",
            reason="DIRECTORY",
            hint="give a directory that you may write with --dir",
        ) from error


def _provision(directory: Path, listen: str | None, module: str | None) -> bool:
    target = directory / "sealpress.toml"
    if target.exists():
        if listen is not None:
            _put_listen(target, listen)
        if has_ended(directory / "tls" / "server.pem", now_utc(SystemClock().now_ns())):
            _make_certificates(directory)  # with another CA: the key of the first is kept nowhere
        return False
    if directory.exists() and any(directory.iterdir()):
        raise ConfigError(f"{directory} is neither empty nor a development node", hint="choose another --dir")
    building = directory.with_name(f".{directory.name}.making-{os.getpid()}")
    try:
        for name in ("tls", "token", "trust", "keys", "log-key", "run", "signer", "data"):
            (building / name).mkdir(parents=True, mode=0o700)
        public = _make_token(building, module or softhsm_module())
        _make_certificates(building)
        log_vkey = _make_log_key(building)
        _write_trust(building, public, log_vkey)
        _write_config(building, directory, module or softhsm_module(), listen or LISTEN)
        _write_policy(building)
        if directory.exists():
            directory.rmdir()
        building.rename(directory)  # a node is whole or absent
    finally:
        shutil.rmtree(building, ignore_errors=True)
    softhsm_conf(directory / "token")
    return True


def _make_token(directory: Path, module: str) -> dict[str, str]:
    os.environ["SOFTHSM2_CONF"] = str(softhsm_conf(directory / "token"))
    entropy = SystemEntropy()
    for name in ("pin", "so-pin"):
        path = directory / "token" / name
        path.touch(mode=0o600)
        path.write_text(entropy.bytes(16).hex() + "\n")
    plans = [
        KeyPlan(purpose, kind, bytes([number]), purpose) for number, (purpose, kind, *_) in enumerate(LINES, start=1)
    ]
    plans.append(KeyPlan(PROBE, "p256", bytes([len(plans) + 1]), PROBE))
    token = directory / "token"
    public = provision_token(module, "sealpress-dev", token / "so-pin", token / "pin", plans)
    (directory / "keys" / f"{PROBE}.pem").write_text(public.pop(PROBE))
    for purpose, pem in public.items():
        (directory / "keys" / f"{flat(PREFIX + purpose)}.pem").write_text(pem)
    return public


def _make_certificates(directory: Path) -> None:
    now = now_utc(SystemClock().now_ns())
    authority = make_authority(now)
    tls = directory / "tls"
    write_authority(authority, tls / "ca.pem")
    issue(authority, tls, "builder", now=now, uris=(BUILDER,))
    issue(authority, tls, "stranger", now=now, uris=(STRANGER,))
    issue(authority, tls, "server", now=now, hosts=("localhost", "127.0.0.1", "::1"), server=True)  # it tells their age


def _make_log_key(directory: Path) -> str:
    key = ed25519.Ed25519PrivateKey.generate()
    private = directory / "log-key" / "ci-1.key"
    private.touch(mode=0o600)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key()
    (directory / "keys" / "log.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return log_key(f"{LOG_NAME}/1", public.public_bytes_raw()).vkey


def _write_trust(directory: Path, public: dict[str, str], log_vkey: str) -> None:
    for purpose, _, mode, _, _ in LINES:
        if mode is Mode.PROOF:
            line = PREFIX + purpose
            vkey = line_key(f"{LOG_NAME}/{line}", canonical_spki(public[purpose].encode())).vkey
            text = f"log {log_vkey}\nwitness line {vkey}\nquorum line\n"
            (directory / "trust" / f"{flat(line)}.policy").write_text(text)


def _write_config(building: Path, directory: Path, module: str, listen: str) -> None:
    config: dict[str, Any] = {
        "schema": 1,
        "node": {"name": "dev", "data": "data", "environment": "test", "policy": "policy.toml"},
        "listen": [
            {"address": listen, "services": ["signing", "audit"], "auth": "mtls"},
            {"address": f"{listen.rpartition(':')[0]}:0", "services": ["http"], "auth": "none"},
        ],
        "tls": {"cert": "tls/server.pem", "key": "tls/server.key", "client_ca": "tls/ca.pem", "reload_s": 1},
        "log": {
            "ci": {
                "name": LOG_NAME,
                "number": 1,
                "key": "log-key/ci-1.key",
                "public_key": "keys/log.pem",
                "governance": True,
            }
        },
        "slot": {
            "soft": {
                "module": module,
                "label": "sealpress-dev",
                "pin_file": "token/pin",
                "sessions": 4,
                "probe_key": {"public_key": f"keys/{PROBE}.pem", "cka_label": PROBE},
            }
        },
        "key": {},
        "signer": {"socket": "run/signer.sock", "state": "signer"},
        "journal": {"write": "auto"},
    }
    for number, (purpose, _, mode, format_, _) in enumerate(LINES, start=1):
        config["key"][purpose] = {
            "log": "ci",
            "slots": ["soft"],
            "public_key": f"keys/{flat(PREFIX + purpose)}.pem",
            "line": PREFIX + purpose,
            "mode": mode.value,
            "format": format_.value,
            "class": "test",
            "cka_id": f"{number:02x}",
            "cka_label": purpose,
        }
    (building / "sealpress.toml").write_text(tomli_w.dumps(config))


def _write_policy(directory: Path) -> None:
    lines = {
        PREFIX + purpose: {
            "class": "test",
            "mode": mode.value,
            "format": format_.value,
            "digest_algs": list(digests),
            "rule": {"builder": {"action": "sign", "identities": [f"uri:{BUILDER}"]}},
        }
        for purpose, _, mode, format_, digests in LINES
    }
    policy = {"schema": 1, "line": lines, "audit": {"identities": [f"uri:{BUILDER}"]}}
    (directory / "policy.toml").write_text(tomli_w.dumps(policy))


def _put_listen(path: Path, listen: str) -> None:
    config = tomllib.loads(path.read_text())
    host = listen.rpartition(":")[0]
    for section in config.get("listen", []):
        section["address"] = f"{host}:0" if "http" in section["services"] else listen
    path.write_text(tomli_w.dumps(config))


def write_clients(directory: Path, ready: dict[str, Any]) -> None:
    """`client.toml` and `stranger.toml` for the addresses that the daemon really listens on."""
    for name, who in (("client", "builder"), ("stranger", "stranger")):
        document = {
            "signing": ready["signing"],
            "audit": ready.get("audit", ready["signing"]),
            "ca": "tls/ca.pem",
            "cert": f"tls/{who}.pem",
            "key": f"tls/{who}.key",
            "line": PREFIX + "proof-ed25519",
        }
        temporary = directory / f".{name}.toml"
        temporary.write_text(tomli_w.dumps(document))
        temporary.replace(directory / f"{name}.toml")
