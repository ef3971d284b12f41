"""A node whose custodian is asked things, on a real token."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tomllib
from typing import Any

import tomli_w

from kit.firmware import DEPLOYMENT, GOVERNANCE_LOG, Office
from kit.signer import Node
from sealpress.verify.change import ChangeRecord, encode
from sealpress.verify.evidence import Evidence

OPERATOR = "person:ida"
OTHER_LINE = "dev/kit/local/test/other"


def key_change(kind: str, key: str, line: str = OTHER_LINE, change_id: str = "", **asked: Any) -> ChangeRecord:
    """A change about a key, proposed by Ida."""
    office = Office(int(time.time()))
    request = {"key": key, "line": line}
    if kind in ("key.issue", "key.adopt"):
        request |= {"class": "test", "algorithm": "p256", "slot": "s1"}
    names = {"deployment": DEPLOYMENT, "log": GOVERNANCE_LOG, "requester_person": OPERATOR}
    return office.release(
        kind=kind, line=line, change_id=change_id or f"{kind}-{key}", request=json.dumps(request | asked), **names
    )


def bundle(evidence: Evidence) -> str:
    """The change and its approvals as one file."""
    approvals = [{"statement": s.decode(), "signature": signature} for s, signature in evidence.approvals]
    return json.dumps({"change": evidence.change.decode(), "approvals": approvals})


class Custody:
    """A node whose custodian is asked things."""

    def __init__(self, node: Node) -> None:
        """Its configuration is the node's."""
        self.node = node

    def run(self, command: str, change: ChangeRecord | str, *more: str) -> tuple[int, dict[str, Any]]:
        """Exit code and document."""
        path = self.node.directory / "change.json"
        path.write_text(change if isinstance(change, str) else encode(change).decode())
        files = ["--config", str(self.node.config), "--change", str(path), "--operator", OPERATOR, "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "sealpress", "custodian", command, *files, *more],
            env=self.node.env, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.stdout, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return done.returncode, document

    def refused(self, command: str, change: ChangeRecord | str, *more: str) -> str:
        """The reason."""
        code, document = self.run(command, change, *more)
        assert code != 0
        return str(document["error"]["reason"])

    def add(self, key: str, made: dict[str, Any], **other: Any) -> None:
        """Put the key into the configuration, as its operators would."""
        (self.node.directory / "keys" / f"{key}.pem").write_text(made["public_key"])
        config = tomllib.loads(self.node.config.read_text())
        config["key"][key] = {
            "log": "main", "slots": ["s1"], "public_key": f"keys/{key}.pem", "line": made["line"], "mode": "direct",
            "format": "ecdsa-der", "class": "test", "cka_id": made["cka_id"], "cka_label": made["cka_label"], **other,
        }  # fmt: skip
        self.node.config.write_text(tomli_w.dumps(config))

    def at_token(self, script: str, *arguments: str) -> str:
        """What a stranger with the PIN is told: `session` writes on the token, `sys.argv[2:]` are the arguments."""
        opened = (
            "import sys\nfrom pkcs11 import Attribute, KeyType, ObjectClass\nfrom sealpress.hsm import module, pairs\n"
            "token = module.Token(module.TokenName('/usr/lib/softhsm/libsofthsm2.so', '', '', 'kit'))\n"
            "token.login(sys.argv[1], bytes(32), ())\nsession = token.open_session(write=True)\n"
        )
        command = [sys.executable, "-c", opened + script, str(self.node.directory / "pin"), *arguments]
        return subprocess.run(command, env=self.node.env, capture_output=True, text=True, check=True).stdout

    def second_token(self, label: str) -> None:
        """Beside the node's, with the same PIN and no keys."""
        pin = (self.node.directory / "pin").read_text().strip()
        command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", "5678-5678"]
        subprocess.run(command, env=self.node.env, capture_output=True, check=True)

    def objects(self) -> list[tuple[str, str]]:
        """Class and label of every object on the token."""
        told = self.at_token("for one in session.get_objects(): print(one.object_class.name, one.label)\n")
        return sorted((line.split()[0], line.split()[1]) for line in told.splitlines())
