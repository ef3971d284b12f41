"""The laboratory's CI: an issuer with its key set, and tokens of a job of the router's repository.

Guarantees: a token says what GitHub's would. Does not: listen: the daemon reads the key set from its file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from sealpress.entropy import SystemEntropy
from sealpress.wiring.lab_charter import ACTORS, AUDIENCE, ISSUER
from sealpress.wiring.today import now_s

TOKEN_S = 600


def make_issuer(directory: Path) -> None:
    """Key and key set, in `ci/`."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "ci" / "issuer.key").write_bytes(private)
    public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    keys = {"keys": [{**public, "kid": "lab", "alg": "ES256", "use": "sig"}]}
    (directory / "ci" / "jwks.json").write_bytes(msgspec.json.encode(keys))


def write_token(directory: Path, name: str = "token", **claims: str) -> Path:
    """A fresh token of a job of the router's repository, triggered by Carol; `claims` replace what it says."""
    key = load_pem_private_key((directory / "ci" / "issuer.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    now = now_s()
    said: dict[str, Any] = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "repo:acme/router:environment:release", "iat": now, "nbf": now,
        "exp": now + TOKEN_S, "jti": SystemEntropy().bytes(16).hex(), "repository": "acme/router",
        "repository_id": "74", "repository_owner": "acme", "repository_owner_id": "65", "ref": "refs/tags/v1.2.0",
        "ref_type": "tag", "ref_protected": "true", "sha": "9f3182061f1e2cca4702c368cbc039b7dc9d4485",
        "event_name": "push", "runner_environment": "github-hosted", "run_id": "1", "run_attempt": "1",
        "actor": "carol", "actor_id": ACTORS["carol"], **claims,
    }  # fmt: skip
    path = directory / "ci" / f"{name}.jwt"
    path.write_text(jwt.encode(said, key, algorithm="ES256", headers={"kid": "lab"}))
    return path
