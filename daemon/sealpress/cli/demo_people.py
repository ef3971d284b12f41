"""The persons of the laboratory at work: what the demo does not show twice, and what tests need done.

Guarantees: each act goes over the wire as the person whose certificate and key it is. Does not: run in production.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from sealpress.cli.governing import sign_with
from sealpress.cli.key import bundle
from sealpress.cli.stage import OURS
from sealpress.client import load_client
from sealpress.client.control import ControlClient, Texts
from sealpress.errors import Invalid
from sealpress.governance import changes as c
from sealpress.governance.roles import Role
from sealpress.values import Format, KeyClass, Mode
from sealpress.verify import statement
from sealpress.verify.change import encode
from sealpress.wiring import lab_charter
from sealpress.wiring import laboratory as lab
from sealpress.wiring.today import now_s

ROLES: tuple[tuple[str, Role, str], ...] = (
    (lab_charter.STELLA, Role.SECURITY_OFFICER, "security-officers"),
    ("ines", Role.ISSUANCE_OPERATOR, ""),
    ("rita", Role.RELEASE_APPROVER, lab_charter.APPROVERS["rita"]),
    ("rob", Role.RELEASE_APPROVER, lab_charter.APPROVERS["rob"]),
    ("lena", Role.RELEASER, ""),
    ("rena", Role.RETIREMENT_OPERATOR, ""),
)
DAY_S = 86_400
PROPOSER, DECIDERS = "olga", ("otto", "oscar")


class People:
    """All of them; use as a context manager."""

    def __init__(self, directory: Path) -> None:
        """Of the laboratory in this directory; connects when somebody acts."""
        self.directory = directory
        self._clients: dict[str, ControlClient] = {}

    def __enter__(self) -> Self:
        """Themselves."""
        return self

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections; the next act opens new ones."""
        for client in self._clients.values():
            client.__exit__(None, None, None)
        self._clients.clear()

    def of(self, name: str) -> ControlClient:
        """One person's, or machine's, connection."""
        if name not in self._clients:
            self._clients[name] = ControlClient(load_client(self.directory / f"{name}.toml"))
        return self._clients[name]

    def propose(self, by: str, kind: str, request: msgspec.Struct, reason: str = "for the laboratory") -> Any:
        """A change."""
        return self.of(by).propose(kind, encode(request), Texts(reason))

    def approve(self, change_id: str, *by: str) -> Any:
        """Each signs the statement that he is given; the change after the last one."""
        found = None
        for name in by:
            text = self.of(name).statement(change_id)
            signature = sign_with(self.directory / "fido" / name, statement.NAMESPACE, text)
            found = self.of(name).submit(text, signature)
        return found

    def decide(
        self, kind: str, request: msgspec.Struct, by: str = PROPOSER, approved_by: Sequence[str] = DECIDERS
    ) -> str:
        """Proposed and approved: the change's id. Invalid if it is still in review."""
        change = self.propose(by, kind, request)
        found = self.approve(change.change_id, *approved_by)
        if found is None or found.state == "in_review":
            raise Invalid(f"{kind} is still in review: {found.missing if found else ''}", reason="DEMO")
        return str(change.change_id)

    # ---- what a node begins with ----

    def enrol(self, name: str) -> None:
        """A person is known, by his certificate and by his name at the CI."""
        names = (lab_charter.uri(name), *((lab_charter.actor(name),) if name in lab_charter.ACTORS else ()))
        self.decide("access.enrol", c.EnrolRequest(identity=f"person:{name}", kind="person", names=names))

    def enrol_machine(self, name: str, line: str) -> None:
        """A machine is known."""
        request = c.EnrolRequest(
            identity=f"workload:{name}", kind="workload", names=(lab_charter.uri(name),), owner="person:olga",
            backup_owner="person:otto", environment="prod", line=line,
        )  # fmt: skip
        self.decide("access.enrol", request)

    def credential(self, name: str) -> None:
        """The FIDO2 key that a person approves with."""
        public = " ".join((self.directory / "fido" / f"{name}.pub").read_text().split()[:2])
        person = f"person:{name}"
        text = c.proof_text(person, lab_charter.DEPLOYMENT, public)
        proof = sign_with(self.directory / "fido" / name, c.CREDENTIAL_NAMESPACE, text)
        request = c.CredentialRequest(person=person, public=public, expires=now_s() + 300 * DAY_S, proof=proof)
        self.decide("access.credential", request)

    def bind(self, name: str, role: Role, group: str = "") -> None:
        """A role on every line."""
        self.decide("access.bind", c.BindRequest(identity=f"person:{name}", role=role, line="*", group=group))

    def register_issuer(self) -> None:
        """Tokens of the laboratory's CI are read."""
        request = c.IssuerRequest(
            issuer=lab_charter.ISSUER, kind="github", audience=lab_charter.AUDIENCE, owner="person:olga"
        )
        self.decide("access.issuer", request)

    def settle(self, known: Sequence[str] = ()) -> int:
        """Everybody enrolled but those `known` already, with keys and roles; how many changes it took."""
        count = 0
        for name in lab_charter.PEOPLE:
            if name not in (*lab_charter.OFFICERS, *known):
                self.enrol(name)
                count += 1
        for name in (lab_charter.STELLA, *lab_charter.APPROVERS):
            self.credential(name)
        for name, role, group in ROLES:
            self.bind(name, role, group)
        self.register_issuer()
        return count + 1 + len(lab_charter.APPROVERS) + len(ROLES) + 1

    def policy(self) -> None:
        """The first policy, and the machine of its ordinary line."""
        self.decide("policy.change", c.PolicyRequest(policy=(self.directory / "policy.toml").read_text()))
        self.enrol_machine("builder", lab_charter.APP)

    # ---- keys ----

    def issue_key(self, key: str, line: str = lab_charter.APP, algorithm: str = "ed25519") -> None:
        """A new key: proposed, approved, made by the custodian, reported; for the configurations `lab.install_key`."""
        now = now_s()
        class_, slot = (
            (KeyClass.FIRMWARE, lab_charter.FW) if line == lab_charter.FIRMWARE else (KeyClass.LOW, lab_charter.MAIN)
        )
        trusts = ("firmware",) if line == lab_charter.FIRMWARE else ()
        fields = {
            "key": key, "line": line, "class": class_, "environment": "prod", "purpose": line.split("/")[4],
            "trusts": trusts,
            "mode": Mode.PROOF, "format": Format.TLOG_PROOF, "algorithm": algorithm, "slot": slot, "not_before": now,
            "rotate_by": now + 290 * DAY_S, "not_after": now + 360 * DAY_S, "max_signatures": 1_000_000,
            "owner": "person:olga", "backup_owner": "person:otto",
        }  # fmt: skip
        request = msgspec.convert(fields, c.KeyRequest)
        change = self.decide("key.issue", request, by="ines")
        report = self.custody("generate", change, key)
        made = msgspec.json.encode(msgspec.json.decode(report.read_bytes())["report"])
        self.of("ines").generated(change, made)
        lab.install_key(self.directory, report)

    def activate_key(self, key: str, line: str = lab_charter.APP) -> None:
        """It signs from here on; the node must have it in its configurations."""
        change = self.decide("key.activate", c.KeyAct(key=key, line=line), by="ines")
        self.of("ines").activate(change)

    def custody(self, verb: str, change_id: str, name: str, *more: str, by: str = "ines") -> Path:
        """What the custodian wrote, after it did what an approved change says."""
        evidence, report = self.directory / f"{name}.change.json", self.directory / f"{name}.report.json"
        evidence.write_bytes(bundle(self.of(by).change(change_id).change))
        done = subprocess.run(
            [*OURS, "custodian", verb, "--config", "custodian.toml", "--operator", f"person:{by}", "--change",
             evidence.name, "--output", report.name, *more],
            cwd=self.directory, env=lab.environment(self.directory), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Invalid(f"`sealpress custodian {verb}`: {done.stderr}", reason="DEMO")
        return report
