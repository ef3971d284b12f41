"""Who is who in the laboratory, what its lines are called, and the rules that it begins with.

Guarantees: draft of the trust anchors, policy and certificates name the same persons and machines. Does not: write
files, or make anybody's key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tomli_w

DEPLOYMENT = "lab.localhost"
MAIN, FW = "main", "fw"
LOG_NAMES = {MAIN: "lab.localhost/main", FW: "lab.localhost/fw"}
APP = "acme/router/lab/prod/app"
FIRMWARE = "acme/router/lab/prod/firmware"
OFFICERS = ("olga", "otto", "oscar")
APPROVERS = {"rita": "release-approvers", "rob": "product-security"}
STELLA = "stella"  # security officer: no policy without one
PEOPLE = (*OFFICERS, STELLA, "ines", "carol", *APPROVERS, "lena", "rena")
WITH_KEYS = (*OFFICERS, STELLA, *APPROVERS)
MACHINES = ("builder", "auditor", "stranger")
ISSUER, AUDIENCE = "https://ci.lab.localhost", "https://sign.lab.localhost"
ACTORS = {"carol": "12", "rita": "34"}  # their ids at the CI


def uri(name: str) -> str:
    """What a certificate of the laboratory says."""
    kind = "person" if name in PEOPLE else "machine"
    return f"uri:spiffe://lab.localhost/{kind}/{name}"


def actor(name: str) -> str:
    """How the CI calls a person."""
    return f"actor:{ISSUER}#{ACTORS[name]}"


def draft(log_keys: Sequence[str]) -> dict[str, Any]:
    """Of the trust anchors, as `sealpress anchors make` reads it; these are the keys of the governance log."""
    return {
        "deployment": DEPLOYMENT,
        "profile": "lab",
        "log": LOG_NAMES[MAIN],
        "root_threshold": 2,
        "log_keys": list(log_keys),
        "officers": [
            {"person": f"person:{name}", "names": [uri(name)], "keys": [f"fido/{name}.pub"]} for name in OFFICERS
        ],
        "approvers": [
            *(
                {"person": f"person:{name}", "groups": [group], "keys": [f"fido/{name}.pub"]}
                for name, group in APPROVERS.items()
            ),
            *({"person": f"person:{name}", "groups": ["officers"], "keys": [f"fido/{name}.pub"]} for name in OFFICERS),
        ],
        # of APP the signer demands it only where a suspended key is to sign again
        "lines": {line: {"quorum": 2, "min_groups": 2, "groups": list(APPROVERS.values())} for line in (APP, FIRMWARE)},
    }


def policy_text() -> str:
    """Two lines: what a pipeline may have signed by itself, and firmware."""
    rule = {
        "action": "sign",
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "claims": {
            "repository_id": {"eq": "74"},
            "repository_owner_id": {"eq": "65"},
            "ref": {"prefix": "refs/tags/v"},
            "ref_protected": {"eq": "true"},
            "event_name": {"eq": "push"},
            "runner_environment": {"in": ["github-hosted"]},
        },
        "grant": {"max_ttl": "8h", "constraint": "exact-digests"},
    }
    owners = {"owner": "person:olga", "backup_owner": "person:otto", "environment": "prod"}
    form = {"mode": "proof", "format": "tlog-proof", "digest_algs": ["sha256"]}
    officers = {"quorum": 2, "groups": ["officers"]}
    approvers = {"quorum": 2, "groups": list(APPROVERS.values()), "min_groups": 2}
    document = {
        "schema": 1,
        "line": {
            APP: {
                "class": "low",
                **form,
                **owners,
                "rule": {"builder": {"action": "sign", "identities": [uri("builder")]}},
                "approvals": {
                    "issuance": officers,
                    "signing": {**approvers, "credential": "sk+uv"},
                    "retirement": officers,
                },
            },
            FIRMWARE: {
                "class": "firmware",
                **form,
                **owners,
                "trusts": ["firmware"],
                "rule": {"ci": rule},
                "approvals": {
                    "issuance": officers,
                    "signing": {**approvers, "valid": "72h"},
                    "retirement": officers,
                },
            },
        },
        "audit": {"identities": [uri("auditor")]},
        "approvals": {
            "policy": {"quorum": 2, "groups": ["officers", "security-officers"], "must_include": ["security-officers"]},
            "access": officers,
        },
    }
    return tomli_w.dumps(document)
