"""SoftHSM tokens of a node that tests furnish themselves: keys made outside, on one token or several; many tenants.

Guarantees: keys are put there by SoftHSM's own tool; the node's configuration and policy name them. Does not: restart
what reads these.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from kit.node import Node
from sealpress.wiring import dev

FIRST = "sealpress-dev"  # the label of a development node's token


def import_key(node: Node, label: str, cka_id: str, *tokens: str) -> Path:
    """A new P-256 key on each of these tokens (the node's own if none is named); the PEM file of its public half."""
    private, public = node.place / f"{label}.key", node.place / f"{label}.pem"
    pair = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(private)]
    subprocess.run(pair, check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)], check=True)
    for token in tokens or (FIRST,):
        place = ["--token", token, "--label", label, "--id", cka_id, "--pin", _pin(node, "pin")]
        _softhsm(node, "--import", str(private), *place)
    return public


def second_token(node: Node, label: str) -> dict[str, str]:
    """Another token, never behind the shim; what its `[slot.<id>]` says."""
    pins = ["--so-pin", _pin(node, "so-pin"), "--pin", _pin(node, "pin")]
    _softhsm(node, "--init-token", "--free", "--label", label, *pins)
    return {"module": dev.softhsm_module(), "label": label, "pin_file": "token/pin"}


def settle_tenants(node: Node, count: int) -> list[str]:
    """So many tenants with a direct line each, all on one token: their lines."""
    keys, lines = {}, {}
    for number in range(count):
        name = f"t{number:02}"
        line = f"{name}/demo/local/test/direct"
        public = import_key(node, name, f"{0x60 + number:02x}")
        keys[name] = {
            "log": "ci", "slots": ["soft"], "public_key": str(public), "line": line, "mode": "direct",
            "format": "ecdsa-der", "class": "test", "cka_id": f"{0x60 + number:02x}", "cka_label": name,
        }  # fmt: skip
        rule = {"builder": {"action": "sign", "identities": [f"uri:{dev.BUILDER}"]}}
        lines[line] = {
            "class": "test", "mode": "direct", "format": "ecdsa-der", "digest_algs": ["sha256"], "rule": rule,
        }  # fmt: skip
    node.configure({"key": keys})
    node.configure({"line": lines}, "policy.toml")
    return list(lines)


def _pin(node: Node, name: str) -> str:
    return (node.directory / "token" / name).read_text().strip()


def _softhsm(node: Node, *arguments: str) -> None:
    environment = {**os.environ, "SOFTHSM2_CONF": str(node.directory / "token" / "softhsm2.conf")}
    subprocess.run(["softhsm2-util", *arguments], check=True, capture_output=True, env=environment)
