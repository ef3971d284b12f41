"""`sealpress demo --governance`: who may sign what, from the officers' first signature to a key's retirement.

Tokens, FIDO2 keys, persons and CI are stand-ins in software (wiring/laboratory.py): profile `lab`, as all records say.

Guarantees: every command shown is run as shown; what is done without being shown is said. Does not: leave anything.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from sealpress.cli.demo_people import DECIDERS, PROPOSER, People
from sealpress.cli.output import say
from sealpress.cli.stage import Stage, title
from sealpress.errors import CannotStart, Invalid
from sealpress.wiring import dev, lab_charter, lab_ci
from sealpress.wiring import laboratory as lab
from sealpress.wiring.lab import COUNTER

IMAGES = {"boot.img": 96 << 10, "kernel.img": 1 << 20, "rootfs.img": 4 << 20}
SIGNED = ("boot.img", "kernel.img")
TRUST, APP_TRUST = "trust/fw-1.policy", "trust/app-1.policy"


class Story(Stage):
    """One run."""

    def __init__(self, place: Path) -> None:
        """In this directory."""
        self.directory = place / "lab"
        os.environ.update(lab.environment(self.directory))  # for what is done without a command of its own
        super().__init__(self.directory, os.environ)
        self.people = People(self.directory)
        self.node: lab.Laboratory | None = None
        self.change = self.grant = ""  # of the release

    def run(self) -> None:
        """From the first signature to the last."""
        began = dev.monotonic_ns()
        say("A laboratory: tokens and FIDO2 keys are software, persons are played; profile `lab` in each record.")
        say(f"Everything happens in {self.directory}, which disappears at the end.")
        lab.provision(self.directory)
        self._anchors()
        try:
            self._start()
            self._persons()
            self._policy()
            self._firmware_key()
            self._ordinary()
            self._release()
            self._refusals()
            self._stops()
            self._audit()
            title("Stop: the daemon drains, then both signers end")
            say("  $ kill %3 %2 %1")
        finally:
            self.people.close()
            code = self.node.stop() if self.node is not None else 0
        say(f"  | exit code {code}")
        if code:
            raise Invalid(f"the node ended with exit code {code}", reason="DEMO")
        title("Judge both logs from their files, with nobody running")
        self.shell("sealpress", "log", "verify", "data/main", "--trust", APP_TRUST)
        self.shell("sealpress", "log", "verify", "data/fw", "--trust", TRUST)
        say(f"\nThe whole demo took {(dev.monotonic_ns() - began) / 1e9:.1f} s.")

    # ---- the node ----

    def _anchors(self) -> None:
        title("Genesis: a document that names officers, thresholds and the firmware line's quorum; all officers sign")
        say(f"  $ cd {self.directory}")
        for name in ("SOFTHSM2_CONF", "SSH_SK_PROVIDER", COUNTER):
            say(f"  $ export {name}={self.environment[name]}")
        self.shell("sealpress", "anchors", "make", "draft.toml")
        signatures = [f"{name}.anchors.sig" for name in lab_charter.OFFICERS]
        for name, signature in zip(lab_charter.OFFICERS, signatures, strict=True):
            key = f"fido/{name}"
            self.shell("sealpress", "anchors", "sign", "anchors.json", "--key", key, "--output", signature, shown=0)
        self.shell("sealpress", "anchors", "verify", "anchors.json", *signatures, shown=12)

    def _start(self) -> None:
        title("Two signers, for a firmware line has one of its own, and the daemon; genesis becomes its first record")
        words = self.directory / "node.log"
        self._say_start()
        try:
            self.node = lab.Laboratory(self.directory, words)
        except CannotStart:
            sys.stderr.write(words.read_text(errors="replace"))
            raise
        ready = self.node.running[-1].ready
        say(f"  | serving: signing {ready['signing']}, by token {ready['signing_token']}, control {ready['control']}")

    def _say_start(self) -> None:
        for verb, option, file in lab.COMMANDS:
            say(f"  $ sealpress {verb} {option} {file} &")

    def _restart(self) -> None:
        assert self.node is not None
        say("  $ kill %3 %2 %1")
        self._say_start()
        self.people.close()
        self.node.restart()

    # ---- persons and policy ----

    def _persons(self) -> None:
        title("Enrol a person: an officer proposes, two others read and sign with their FIDO2 keys")
        said = self.shell(
            "sealpress", "access", "enrol", "person:rita", "--name", lab_charter.uri("rita"), "--name",
            lab_charter.actor("rita"), "--reason", "approves firmware releases", "--client", f"{PROPOSER}.toml",
        )  # fmt: skip
        self._approve(_change(said), *DECIDERS, shown=12)
        count = self.people.settle(known=("rita",))
        say(f"  (the same for the others, their FIDO2 keys and roles, and the CI's issuer: {count} more changes)")
        self.shell("sealpress", "access", "roles", "--all", "--client", f"{PROPOSER}.toml", shown=9)

    def _policy(self) -> None:
        title("The first policy: which pipeline may ask for what, and whose approval it takes; the root quorum decides")
        self.shell("sealpress", "policy", "validate", "policy.toml")
        said = self.shell(
            "sealpress", "policy", "propose", "policy.toml", "--reason", "first policy", "--client", f"{PROPOSER}.toml"
        )  # fmt: skip
        self._approve(_change(said), *DECIDERS, shown=3)
        self.people.enrol_machine("builder", lab_charter.APP)
        title("Duties are separate: whoever releases does not approve")
        self.shell(
            "sealpress", "access", "bind", "person:lena", "release-approver", "--group", "release-approvers",
            "--reason", "she asked for it", "--client", f"{PROPOSER}.toml", ok=False,
        )  # fmt: skip

    # ---- the key ----

    def _firmware_key(self) -> None:
        title("A firmware key: an operator proposes, two officers approve, the custodian makes it in the token")
        said = self.shell(
            "sealpress", "key", "propose", "fw-1", "--line", lab_charter.FIRMWARE, "--class", "firmware", "--algorithm",
            "p384", "--slot", "fw", "--trusts", "firmware", "--fleet", "250000", "--owner", "person:olga",
            "--backup-owner", "person:otto", "--reason", "router firmware of next year", "--client", "ines.toml",
        )  # fmt: skip
        change = _change(said)
        self._approve(change, *DECIDERS, shown=12)
        self.shell("sealpress", "key", "generate", "--change", change, "--client", "ines.toml")
        self.shell(
            "sealpress", "custodian", "generate", "--config", "custodian.toml", "--operator", "person:ines",
            "--change", "change.json", "--output", "report.json", shown=4,
        )  # fmt: skip
        self.shell("sealpress", "key", "generate", "--change", change, "--report", "report.json", "--client",
                   "ines.toml", shown=7)  # fmt: skip
        lab.install_key(self.directory, self.directory / "report.json")
        self.people.issue_key("app-1")
        say("  (an ordinary key, app-1, came the same way; both are now in the configurations of signers and daemon)")
        self._restart()
        title("A change of its own lets the key sign")
        said = self.shell("sealpress", "key", "activate", "fw-1", "--reason", "ready", "--client", "ines.toml")
        self._approve(_change(said), *DECIDERS, shown=3)
        self.shell("sealpress", "key", "activate", "fw-1", "--change", _change(said), "--client", "ines.toml", shown=1)
        self.people.activate_key("app-1")

    # ---- a release ----

    def _release(self) -> None:
        title("A CI job with its token: the automatic path is closed for firmware, so it asks for exact digests")
        for name, size in IMAGES.items():
            (self.directory / name).write_bytes(name.encode().ljust(32) * (size // 32))
        lab_ci.write_token(self.directory)
        say(f"  (ci/token.jwt: a token of {lab_charter.ISSUER}, for repository 74, tag v1.2.0, triggered by Carol)")
        self.shell("sealpress", "sign", "boot.img", "--client", "ci.toml", ok=False)
        said = self.shell(
            "sealpress", "grant", "request", *IMAGES, "--release", "v1.2.0", "--version", "1.2.0", "--client", "ci.toml"
        )  # fmt: skip
        change = self.change = _change(said)
        title("Two persons of two groups approve these digests; one hashes the images again")
        self.shell(
            "sealpress", "approve", change, "--key", "fido/rita", "--yes", "--client", "rita.toml",
            *(part for name in IMAGES for part in ("--artifact", name)), shown=48,
        )  # fmt: skip
        said = self.shell("sealpress", "approve", change, "--key", "fido/rob", "--yes", "--client", "rob.toml", shown=1)
        self.grant = _grant(said)
        title("Approved is not released: a third person lets it go; the signer itself checks the quorum, too")
        self.shell("sealpress", "sign", "boot.img", "--client", "ci.toml", "--grant", self.grant, ok=False)
        self.shell("sealpress", "grant", "release", self.grant, "--client", "lena.toml")
        self.shell("sealpress", "sign", *SIGNED, "--client", "ci.toml", "--grant", self.grant)
        title("Verify offline: image, proof and the line's published trust file are all that it takes")
        self.shell("sealpress", "verify", "--trust", TRUST, *SIGNED)

    def _ordinary(self) -> None:
        title("An ordinary line signs by itself: the rule suffices, and brings a grant for this job alone")
        (self.directory / "app.bin").write_bytes(b"app")
        self.shell("sealpress", "sign", "app.bin", "--client", "builder.toml")
        self.shell("sealpress", "verify", "--trust", APP_TRUST, "app.bin", shown=1)

    def _refusals(self) -> None:
        title("Nobody approves his own change: Rita set off this build")
        lab_ci.write_token(self.directory, actor="rita", actor_id=lab_charter.ACTORS["rita"])
        said = self.shell(
            "sealpress", "grant", "request", "rootfs.img", "--release", "v1.2.1", "--client", "ci.toml", shown=2
        )  # fmt: skip
        change = _change(said)
        self.shell(
            "sealpress", "approve", change, "--key", "fido/rita", "--yes", "--client", "rita.toml", ok=False
        )  # fmt: skip
        self.shell("sealpress", "change", "reject", change, "--reason", "not reviewed", "--client", "rob.toml", shown=1)
        title("A repository of the same name with another id is another repository")
        lab_ci.write_token(self.directory, repository_id="75")
        said = self.shell(
            "sealpress", "grant", "request", "rootfs.img", "--release", "v1.2.0", "--client", "ci.toml", ok=False
        )  # fmt: skip
        recorded = re.search(r"recorded as (\w+)", said)
        if recorded is None:
            raise Invalid("the refusal names no recorded event", reason="DEMO")
        self.shell("sealpress", "log", "explain", recorded[1], "--client", "auditor.toml", shown=8)

    def _stops(self) -> None:
        title("One person stops: the rest of the grant is revoked, and the next request feels it")
        self.shell("sealpress", "grant", "revoke", self.grant, "--control", "--reason", "a defect in rootfs.img",
                   "--client", "rena.toml")  # fmt: skip
        lab_ci.write_token(self.directory)
        self.shell("sealpress", "sign", "rootfs.img", "--client", "ci.toml", "--grant", self.grant, ok=False)
        title("One person suspends the key; its retirement takes a change")
        self.shell("sealpress", "key", "suspend", "fw-1", "--reason", "is the builder clean?", "--client", "rena.toml",
                   shown=1)  # fmt: skip
        said = self.shell("sealpress", "key", "deactivate", "fw-1", "--reason", "succeeded", "--client", "rena.toml")
        change = _change(said)
        self._approve(change, *DECIDERS, shown=3)
        self.shell("sealpress", "key", "deactivate", "fw-1", "--change", change, "--client", "rena.toml", shown=1)
        say("  What was signed before goes on verifying:")
        self.shell("sealpress", "verify", "--trust", TRUST, *SIGNED)

    def _audit(self) -> None:
        title("When, why, and by whom was boot.img allowed?")
        said = self.shell("sha256sum", "boot.img", shown=1)
        self.shell("sealpress", "log", "explain", f"sha256:{said.split()[0]}", "--client", "auditor.toml", shown=48)
        self.shell("sealpress", "change", "show", self.change, "--audit", "--client", "auditor.toml", shown=17)
        title("Who can sign with the firmware line?")
        self.shell("sealpress", "access", "who", lab_charter.FIRMWARE, "--client", "auditor.toml", shown=14)

    # ---- helpers ----

    def _approve(self, change: str, *by: str, shown: int) -> None:
        for name in by:
            self.shell("sealpress", "approve", change, "--key", f"fido/{name}", "--yes", "--client", f"{name}.toml",
                       shown=shown)  # fmt: skip
            shown = 1


def _change(said: str) -> str:
    found = re.search(r"^change (\w{26})\b", said, re.MULTILINE)
    if found is None:
        raise Invalid("no change was proposed", reason="DEMO")
    return found[1]


def _grant(said: str) -> str:
    found = re.search(r"^ +grant (\w{26})", said, re.MULTILINE)
    if found is None:
        raise Invalid("the release brought no grant", reason="DEMO")
    return found[1]
