"""Policies, tokens and requests for tests of the rules."""

from __future__ import annotations

from sealpress.governance.policy import compile_policy
from sealpress.governance.rules import Policy
from sealpress.values import Artifact, DigestAlgorithm, Identity, SignAsk

LINE = "acme/router/eu/prod/firmware"
GITHUB = "https://token.actions.githubusercontent.com"
AUDIENCE = "https://sign.acme.example"

FIRMWARE = f"""
schema = 1

[line."{LINE}"]
class = "firmware"
mode = "direct"
format = "ecdsa-der"
digest_algs = ["sha384"]
isolation = "slot"
environment = "prod"
owner = "person:alice"
backup_owner = "person:bob"
max_requesters = 4
trusts = ["firmware"]

[line."{LINE}".rule.gha-release]
action = "sign"
issuer = "{GITHUB}"
audience = "{AUDIENCE}"
claims.repository_id       = {{ eq = "74" }}
claims.repository_owner_id = {{ eq = "65" }}
claims.ref                 = {{ prefix = "refs/tags/v" }}
claims.ref_protected       = {{ eq = "true" }}
claims.job_workflow_ref    = {{ eq = "acme/ci/.github/workflows/sign.yml@refs/heads/main" }}
claims.runner_environment  = {{ in = ["github-hosted"] }}
claims.environment         = {{ eq = "release" }}
artifact   = {{ kinds = ["uefi-capsule"], digest_algs = ["sha384"], max_size = 268435456 }}
provenance = {{ required = false, builder = "gha-slsa3", min_level = 3, external = {{ workflow = "sign.yml" }} }}
grant = {{ max_ttl = "8h", constraint = "exact-digests" }}
gates = ["release.manifest", "release.promote"]

[line."{LINE}".approvals]
issuance   = {{ quorum = 3, groups = ["key-officers"] }}
signing    = {{ quorum = 2, groups = ["release-approvers", "product-security"], min_groups = 2, valid = "72h", credential = "sk+uv" }}
retirement = {{ quorum = 2, groups = ["retirement-officers"] }}
exception  = {{ quorum = 2, groups = ["release-approvers", "security-officers"], must_include = ["security-officers"], valid = "4h" }}

[audit]
identities = ["uri:spiffe://acme/auditor"]
"""  # noqa: E501  (TOML wants an inline table on one line)
"""GOVERNANCE 4's example, with what is not built yet left out."""

CLAIMS = {
    "aud": AUDIENCE,
    "repository_id": "74",
    "repository_owner_id": "65",
    "ref": "refs/tags/v1.2.0",
    "ref_protected": "true",
    "job_workflow_ref": "acme/ci/.github/workflows/sign.yml@refs/heads/main",
    "runner_environment": "github-hosted",
    "environment": "release",
    "event_name": "push",
    "fork": "false",
}
"""Of a token that FIRMWARE's rule is about."""

CAPSULE = Artifact("router.cap", "1.2.0", 4_096, "uefi-capsule")


def compiled(text: str, *, governed: bool = False) -> Policy:
    """The policy of this text."""
    return compile_policy(text.encode(), governed=governed)


def token(issuer: str = GITHUB, **changes: str | None) -> Identity:
    """A token with CLAIMS and these changes; None takes a claim away."""
    claims = {name: value for name, value in (CLAIMS | changes).items() if value is not None}
    subject = "repo:acme/router:environment:release"
    return Identity(
        f"oidc:{issuer}#{subject}",
        b"",
        2_000_000_000,
        issuer=issuer,
        subject=subject,
        claims=tuple(sorted(claims.items())),
        token_sha256=bytes(32),
    )


def certificate(name: str = "uri:spiffe://acme/ci") -> Identity:
    """Somebody with a client certificate."""
    return Identity(name, bytes(32), 2_000_000_000)


def ask(
    line: str = LINE,
    algorithm: DigestAlgorithm = DigestAlgorithm.SHA384,
    artifact: Artifact = CAPSULE,
) -> SignAsk:
    """One digest."""
    return SignAsk("r1", line, algorithm, bytes(algorithm.size), artifact)


def batch(names: tuple[str, ...] = (), sizes: tuple[int, ...] = (), line: str = LINE) -> SignAsk:
    """Two digests."""
    return SignAsk("r1", line, DigestAlgorithm.SHA384, bytes(96), names=names, sizes=sizes, batch=True)


def simple(
    line: str = "acme/app/eu/prod/images", class_: str = "low", rules: str = "", extra: str = "", tail: str = ""
) -> str:
    """A small policy of one line; `rules` may say RULE where the rule's table begins."""
    head = f'schema = 1\n[line."{line}"]\nclass = "{class_}"\nmode = "proof"\nformat = "tlog-proof"\n{extra}\n'
    return head + rules.replace("RULE", f'line."{line}".rule') + tail


NAMES = '[RULE.ci]\naction = "sign"\nidentities = ["uri:spiffe://acme/ci"]\n'
TOKENS = f"""
[RULE.gha]
action = "sign"
issuer = "{GITHUB}"
audience = "{AUDIENCE}"
claims.repository_id = {{ eq = "74" }}
claims.repository_owner_id = {{ eq = "65" }}
claims.ref = {{ eq = "refs/heads/main" }}
claims.ref_protected = {{ eq = "true" }}
claims.event_name = {{ in = ["push"] }}
"""
APPROVALS = """
[line."acme/app/eu/prod/images".approvals]
issuance = { quorum = 2, groups = ["key-officers"] }
signing = { quorum = 1, groups = ["release-approvers"] }
retirement = { quorum = 2, groups = ["retirement-officers"] }
"""
