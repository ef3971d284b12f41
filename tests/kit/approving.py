"""Changes to approve, and persons with software keys who approve them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from msgspec import structs

from kit.softkeys import SK_ED25519, SoftKey
from sealpress.verify.approval import Enrolment
from sealpress.verify.change import ChangeRecord, ReleaseItem, ReleaseRequest, Required, encode, manifest_sha256
from sealpress.verify.sshsig import parse_public_key
from sealpress.verify.statement import NAMESPACE, Statement, ask, render

NOW = 1_764_000_000
LINE = "acme/router/eu/prod/firmware"
ROOT = hashlib.sha256(b"root").digest()
ITEMS = tuple(ReleaseItem(digest=hashlib.sha256(name.encode()).hexdigest(), name=name) for name in ("a.bin", "b.bin"))


def make_change(**other: Any) -> ChangeRecord:
    """A firmware release proposed by a pipeline, built by Carol; `other` fields replace these."""
    request = ReleaseRequest(
        release_id="r1",
        line=LINE,
        identity="uri:spiffe://acme/ci",
        rule="ci",
        algorithm="sha256",
        items=ITEMS,
        manifest_sha256=manifest_sha256(ITEMS),
        ttl_s=3_600,
    )
    required = Required(path="signing", quorum=2, groups=("release-approvers", "product-security"), credential="sk+uv")
    change = ChangeRecord(
        change_id="01JD8W6Q2N0K3M7T9V5X1Z4B6C",
        profile="baseline",
        deployment="prod-eu.sign.acme.example",
        log="sign.acme.example/log1",
        kind="sign.release",
        line=LINE,
        request=encode(request).decode(),
        summary="2 artifacts",
        reason="scheduled",
        risk="low",
        rollback="re-sign",
        ticket="",
        policy_sha256="8d" * 32,
        requester="uri:spiffe://acme/ci",
        requester_person="",
        creator_person="person:carol",
        created=NOW - 600,
        expires=NOW + 7 * 86_400,
        required=required,
    )
    return structs.replace(change, **other)


def asking(change: ChangeRecord, credential: str) -> ChangeRecord:
    """The same change where another credential is enough."""
    return structs.replace(change, required=structs.replace(change.required, credential=credential))


@dataclass
class Person:
    """Someone with an enrolled key."""

    name: str = "person:alice"
    groups: tuple[str, ...] = ("release-approvers",)
    key: SoftKey = field(default_factory=lambda: SoftKey.make(SK_ED25519))

    @property
    def enrolment(self) -> Enrolment:
        """As the access plane would know it."""
        public = parse_public_key(self.key.line)
        return Enrolment(self.name, public, public.application, NOW - 86_400, NOW + 86_400 * 365)

    def enrolled(self, fingerprint: str) -> Enrolment | None:
        """Nobody else's key is known."""
        return self.enrolment if fingerprint == self.key.fingerprint else None

    def statement(self, change: ChangeRecord, **other: Any) -> Statement:
        """What he would say now; `other` are arguments of `ask`."""
        how = {"step": 1, "seen_size": 17, "seen_root": ROOT, "nonce": "9f86d081884c7d659a2feaa0c55ad015"}
        times = {"issued": NOW, "expires": NOW + 3_600}
        return ask(change, self.name, **{**how, **times, **other})

    def approve(self, change: ChangeRecord, *, flags: int | None = None, **other: Any) -> tuple[bytes, str]:
        """Statement and signature file."""
        statement = render(self.statement(change, **other))
        return statement, self.key.sign(statement, NAMESPACE, flags=flags)
