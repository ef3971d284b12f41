"""The deployment that governed tests are about: its lines, people and policy, and who asks it for what."""

from __future__ import annotations

import hashlib
from typing import Any

from sealpress.governance import facts as f
from sealpress.steps._request import Caller
from sealpress.values import Artifact, DigestAlgorithm, Identity, KeyClass, SignAsk

GOVERNANCE_LOG = "sign.example/ci"
DEPLOYMENT = "test.sign.example"
TEST = "acme/router/eu/test/ci"
LOW = "acme/router/eu/prod/nightly"
RELEASE = "acme/router/eu/prod/app"
FIRMWARE = "acme/router/eu/prod/firmware"
CI = "uri:spiffe://acme/ci"
OLGA = "person:olga"
OLGA_NAME = "uri:spiffe://acme/olga"
ISSUER = "https://token.actions.githubusercontent.com"
AUDIENCE = "https://sign.example"
APPROVALS = """
[line."{line}".approvals]
issuance   = {{ quorum = 3, groups = ["key-officers"] }}
signing    = {{ quorum = 2, groups = ["release-approvers", "product-security"], min_groups = 2 }}
retirement = {{ quorum = 2, groups = ["retirement-officers"] }}
exception  = {{ quorum = 2, groups = ["release-approvers", "security-officers"], must_include = ["security-officers"] }}
"""  # TOML wants an inline table on one line


def policy_text(lines: dict[str, KeyClass], rules: str = "") -> str:
    """A policy in which CI, by certificate, may ask for every line; `rules` is appended."""
    text = "schema = 1\n"
    for line, class_ in lines.items():
        isolation = 'isolation = "hsm"\n' if class_ in (KeyClass.FIRMWARE, KeyClass.ROOT) else ""
        text += f"""
[line."{line}"]
class = "{class_}"
mode = "proof"
format = "tlog-proof"
digest_algs = ["sha256"]
owner = "person:olga"
backup_owner = "person:otto"
{isolation}
[line."{line}".rule.ci]
action = "sign"
identities = ["{CI}"]
"""
        if class_ in (KeyClass.RELEASE, KeyClass.FIRMWARE, KeyClass.ROOT):
            text += APPROVALS.format(line=line)
    return text + rules


def ask(line: str, *digests: bytes, request_id: str = "", **other: Any) -> SignAsk:
    """A request for these SHA-256 digests."""
    name = request_id or f"r-{hashlib.sha256(b''.join(digests)).hexdigest()[:16]}"
    return SignAsk(name, line, DigestAlgorithm.SHA256, b"".join(digests), batch=len(digests) > 1, **other)


def digest(number: object) -> bytes:
    """Some digest."""
    return hashlib.sha256(str(number).encode()).digest()


def issuer() -> f.IssuerRegistered:
    """The CI's tokens are read."""
    return f.IssuerRegistered(issuer=ISSUER, kind="github", audience=AUDIENCE, owner=OLGA, change_id="c")


def caller(name: str = CI, **other: Any) -> Caller:
    """Somebody with a certificate of his own."""
    certificate = hashlib.sha256(name.encode()).digest()
    fields: dict[str, Any] = {"id": name, "certificate_sha256": certificate, "not_after": 1 << 40}
    return Caller(Identity(**(fields | other)), "ipv4:127.0.0.1:4000")


ARTIFACT = Artifact("router.bin", "1.2.0", 4_096, "application/octet-stream")


ALL = {TEST: KeyClass.TEST, LOW: KeyClass.LOW, RELEASE: KeyClass.RELEASE}
