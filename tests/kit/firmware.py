"""A signer that holds a firmware line alone, the people of its anchors, and a log whose leaves are opened to it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w
from msgspec import structs

from kit.approving import Person, make_change
from kit.signer import SOFTHSM, FakeLog, Node, make_node
from kit.softkeys import SoftKey
from sealpress.core import leaf
from sealpress.hsm.leaves import EventLeaf, Openings, SignatureLeaf
from sealpress.values import DigestAlgorithm, LeafKind
from sealpress.verify.anchors import NAMESPACE, AnchorKey, LineApprover, LineRule, Officer, TrustAnchors
from sealpress.verify.change import ChangeRecord, ReleaseItem, ReleaseRequest, encode, manifest_sha256
from sealpress.verify.evidence import Evidence

KEY = "fw"
LINE = "dev/kit/local/test/fw"
DEPLOYMENT = "prod-eu.sign.acme.example"
GOVERNANCE_LOG = "sign.acme.example/log1"
GROUPS = ("release-approvers", "product-security")
DAY_S = 86_400


def anchor_key(key: SoftKey) -> AnchorKey:
    """As it stands in the document."""
    return AnchorKey(public=key.line, application=key.application)


@dataclass
class Office:
    """Two officers, three approvers in two groups; `now` is when they live."""

    now: int
    officers: tuple[Person, ...] = field(default_factory=lambda: (Person("person:olga"), Person("person:otto")))
    alice: Person = field(default_factory=lambda: Person("person:alice", GROUPS[:1]))
    bob: Person = field(default_factory=lambda: Person("person:bob", GROUPS[1:]))
    eve: Person = field(default_factory=lambda: Person("person:eve", GROUPS[:1]))
    second_key: SoftKey = field(default_factory=SoftKey.make)  # another of Alice's

    def document(self, version: int = 1, **other: Any) -> TrustAnchors:
        """The anchors; `other` fields replace these."""
        approvers = [(self.alice, (self.alice.key, self.second_key)), (self.bob, (self.bob.key,))]
        approvers.append((self.eve, (self.eve.key,)))
        document = TrustAnchors(
            version=version,
            deployment=DEPLOYMENT,
            profile="baseline",
            log=GOVERNANCE_LOG,
            officers=tuple(
                Officer(person=one.name, names=(f"uri:spiffe://acme/{one.name}",), keys=(anchor_key(one.key),))
                for one in self.officers
            ),
            root_threshold=2,
            approvers=tuple(
                LineApprover(person=one.name, groups=one.groups, keys=tuple(map(anchor_key, keys)))
                for one, keys in approvers
            ),
            lines={LINE: LineRule(quorum=2, min_groups=2, groups=GROUPS)},
            created=self.now - 30 * DAY_S,
            expires=self.now + 365 * DAY_S,
        )
        return structs.replace(document, **other)

    def signed(self, document: TrustAnchors, by: Sequence[Person] | None = None) -> tuple[bytes, list[str]]:
        """The document's bytes and the officers' signature files."""
        raw = encode(document)
        return raw, [one.key.sign(raw, NAMESPACE) for one in (self.officers if by is None else by)]

    def release(
        self, *digests: bytes, algorithm: str = "sha256", security_version: int = 0, **other: Any
    ) -> ChangeRecord:
        """A release of these digests on the line, proposed a minute ago."""
        items = tuple(ReleaseItem(digest=digest.hex(), name=f"{i}.bin") for i, digest in enumerate(digests))
        request = ReleaseRequest(
            release_id="r1",
            line=LINE,
            identity="uri:spiffe://acme/ci",
            rule="ci",
            algorithm=algorithm,  # type: ignore[arg-type]
            items=items,
            manifest_sha256=manifest_sha256(items),
            ttl_s=3_600,
            security_version=security_version,
        )
        times = {"created": self.now - 60, "expires": self.now + 7 * DAY_S}
        return make_change(**{"line": LINE, "request": encode(request).decode(), **times, **other})

    def resume(self, created: int, key: str = KEY, line: str = LINE, **other: Any) -> ChangeRecord:
        """The proposal to let a stopped key sign again."""
        request = f'{{"key":"{key}","line":"{line}"}}'
        times = {"created": created, "expires": created + DAY_S}
        return make_change(**{"kind": "key.resume", "line": LINE, "request": request, **times, **other})

    def approval(self, person: Person, change: ChangeRecord, **other: Any) -> tuple[bytes, str]:
        """One person's; `other` as of Person.approve."""
        times = {"issued": self.now - 30, "expires": self.now + 3_600}
        return person.approve(change, **{"nonce": os.urandom(16).hex(), **times, **other})

    def evidence(self, change: ChangeRecord, *by: Person, **other: Any) -> Evidence:
        """The change, approved by these persons (Alice and Bob)."""
        people = by or (self.alice, self.bob)
        approvals = tuple(self.approval(one, change, step=i, **other) for i, one in enumerate(people, start=1))
        return Evidence(encode(change), approvals)


class OpenedLog(FakeLog):
    """A log in memory that remembers what its leaves are made of."""

    def __init__(self, origin: str) -> None:
        """Empty."""
        super().__init__(origin)
        self.leaves: list[EventLeaf | SignatureLeaf] = []

    def event(self, time: int, count: int = 1) -> None:
        """Leaves that nobody signs."""
        for _ in range(count):
            record = os.urandom(32)
            spec = leaf.LeafSpec(LeafKind.EVENT, 0, bytes(32), leaf.scope(self.name, ""), 0, time, record)
            self.tree.append(leaf.leaf_hashes(spec, None, None, 1))
            self.leaves.append(EventLeaf(record, time))

    def sign(
        self,
        kind: LeafKind,
        spki: bytes,
        digest: bytes,
        time: int,
        *,
        line: str = LINE,
        evidence: int = 0,
        algorithm: DigestAlgorithm = DigestAlgorithm.SHA256,
        security_version: int = 0,
    ) -> SignatureLeaf:
        """A leaf that the line answers for."""
        key_id, seed = leaf.key_id(spki), os.urandom(32)
        spec = leaf.LeafSpec(
            kind, algorithm, key_id, leaf.scope(self.name, line), security_version, time, os.urandom(32)
        )
        self.tree.append(leaf.leaf_hashes(spec, seed, digest, 1))
        made = SignatureLeaf(key_id, leaf.opening(spec, leaf.salts(seed, 0, 1)), digest, evidence)
        self.leaves.append(made)
        return made

    def opened(self, *evidence: Evidence) -> Openings:
        """All that was not told yet."""
        return Openings(tuple(self.leaves[self.told :]), evidence)


def make_firmware_node(
    directory: Path, office: Office, mode: str, module: str = SOFTHSM, leaves_max: int = 64, class_: str = "firmware"
) -> Node:
    """A node whose signer holds one log with one line, `proof` or `direct`, and pinned anchors."""
    format_ = "tlog-proof" if mode == "proof" else "ecdsa-der"
    node = make_node(directory, keys={KEY: ("p256", "main", mode, format_)}, module=module)
    document, signatures = office.signed(office.document())
    (directory / "anchors.json").write_bytes(document)
    for position, signature in enumerate(signatures):
        (directory / f"anchors.{position}.sig").write_text(signature)
    config = tomllib.loads(node.config.read_text())
    del config["log"]["other"]
    config["key"][KEY]["class"] = class_
    config["slot"]["s1"]["laboratory"] = True
    config["signer"] |= {
        "anchors": "anchors.json",
        "anchors_signatures": [f"anchors.{position}.sig" for position in range(len(signatures))],
        "leaves_per_advance_max": leaves_max,
    }
    node.config.write_text(tomli_w.dumps(config))
    return node
