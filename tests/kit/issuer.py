"""A CI's token issuer: keys of its own, tokens as each CI makes them, and a server of its key set on the loopback.

    issuer = Issuer("github")
    token = issuer.token(ref="refs/tags/v1.2.0", repository_id="75")

Guarantees: every token has a fresh `jti`; what a test does not set is what the CI would say. A claim given as None is
left out.
"""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

AUDIENCE = "https://sign.acme.example"
URLS = {
    "github": "https://token.actions.githubusercontent.com",
    "gitlab": "https://gitlab.acme.example",
    "buildkite": "https://agent.buildkite.com",
    "generic": "https://ci.acme.example/oidc",
}
SUBJECTS = {
    "github": "repo:acme/router:environment:release",
    "gitlab": "project_path:acme/router:ref_type:tag:ref:v1.2.0",
    "buildkite": "organization:acme:pipeline:router:ref:refs/tags/v1.2.0:commit:9f31:step:sign",
    "generic": "job/router/sign",
}
CLAIMS: dict[str, dict[str, Any]] = {
    "github": {
        "repository": "acme/router", "repository_id": "74", "repository_owner": "acme", "repository_owner_id": "65",
        "repository_visibility": "private", "ref": "refs/tags/v1.2.0", "ref_type": "tag", "ref_protected": "true",
        "sha": "9f3182061f1e2cca4702c368cbc039b7dc9d4485", "event_name": "push", "environment": "release",
        "workflow": "release", "workflow_ref": "acme/router/.github/workflows/release.yml@refs/tags/v1.2.0",
        "workflow_sha": "9f3182061f1e2cca4702c368cbc039b7dc9d4485",
        "job_workflow_ref": "acme/ci/.github/workflows/sign.yml@refs/heads/main", "job_workflow_sha": "aa" * 20,
        "run_id": "1658821493", "run_number": "10", "run_attempt": "2", "runner_environment": "github-hosted",
        "actor": "octocat", "actor_id": "12", "head_ref": "", "base_ref": "",
    },
    "gitlab": {
        "project_id": "28", "project_path": "acme/router", "namespace_id": "7", "namespace_path": "acme",
        "user_id": "1", "user_login": "alice", "user_email": "alice@acme.example", "pipeline_id": "455",
        "pipeline_source": "push", "job_id": "1123", "ref": "v1.2.0", "ref_type": "tag", "ref_protected": "true",
        "runner_id": 1, "runner_environment": "self-hosted", "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        "project_visibility": "private", "ci_config_sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        "ci_config_ref_uri": "gitlab.acme.example/acme/router//.gitlab-ci.yml@refs/tags/v1.2.0",
        "environment": "release", "environment_protected": "true",
    },
    "buildkite": {
        "organization_slug": "acme", "organization_id": "0184990a-477b-4fa8-9968-496074483c00",
        "pipeline_slug": "router", "pipeline_id": "0184990a-4782-42b5-afc1-16715b10b800", "build_number": 10,
        "build_branch": "main", "build_tag": "v1.2.0", "build_commit": "9f3182061f1e2cca4702c368cbc039b7dc9d4485",
        "step_key": "sign", "job_id": "0184990a-477b-4fa8-9968-496074483cee",
        "agent_id": "0184990a-4782-42b5-afc1-16715b10b8ff", "build_source": "webhook",
        "runner_environment": "buildkite-hosted",
    },
    "generic": {"repository_id": "r-1", "owner_id": "o-1", "email": "alice@acme.example", "environment": "release"},
}  # fmt: skip
_NUMBERS = itertools.count(1)


def _key(algorithm: str) -> PrivateKeyTypes:
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm == "ES384":
        return ec.generate_private_key(ec.SECP384R1())
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, 2048)


class Issuer:
    """One issuer with one key at a time; `rotate` makes the next."""

    def __init__(self, kind: str = "github", *, url: str = "", algorithm: str = "RS256", now_s: int = 0) -> None:
        """`now_s` 0: the machine's clock."""
        self.kind = kind
        self.url = url or URLS[kind]
        self.algorithm = algorithm
        self._now_s = now_s
        self.keys: dict[str, PrivateKeyTypes] = {}
        self.kid = ""
        self.rotate()

    def rotate(self) -> str:
        """A new key, beside the old ones; its id."""
        self.kid = f"{self.kind}-{next(_NUMBERS)}"
        self.keys[self.kid] = _key(self.algorithm)
        return self.kid

    def now_s(self) -> int:
        """Unix seconds."""
        return self._now_s or int(time.time())

    def jwks(self) -> dict[str, Any]:
        """The public key set."""
        made = jwt.get_algorithm_by_name(self.algorithm)
        entries = []
        for kid, key in self.keys.items():
            entry = json.loads(made.to_jwk(key.public_key()))  # type: ignore[attr-defined]
            entries.append({**entry, "kid": kid, "alg": self.algorithm, "use": "sig"})
        return {"keys": entries}

    def jwks_bytes(self) -> bytes:
        """The same, as it is served."""
        return json.dumps(self.jwks()).encode()

    def write(self, path: Path) -> Path:
        """The same, in a file."""
        path.write_bytes(self.jwks_bytes())
        return path

    def payload(self, **claims: Any) -> dict[str, Any]:
        """What a token says; `claims` over what the CI would."""
        now_s = self.now_s()
        said: dict[str, Any] = {
            "iss": self.url, "sub": SUBJECTS[self.kind], "aud": AUDIENCE,
            "iat": now_s, "nbf": now_s - 5, "exp": now_s + 300,
        }  # fmt: skip
        if self.kind != "buildkite":
            said["jti"] = f"jti-{next(_NUMBERS)}"
        said |= CLAIMS[self.kind] | claims
        return {name: value for name, value in said.items() if value is not None}

    def token(self, *, header: Mapping[str, Any] | None = None, kid: str = "", **claims: Any) -> str:
        """A signed token."""
        kid = kid or self.kid
        more = {"kid": kid, **(header or {})}
        return jwt.encode(self.payload(**claims), self.keys[kid], self.algorithm, more)  # type: ignore[arg-type]

    def encoded(self, payload: bytes, header: Mapping[str, Any] | None = None) -> str:
        """Any payload under a good signature."""
        return jwt.PyJWS().encode(
            payload,
            self.keys[self.kid],  # type: ignore[arg-type]
            self.algorithm,
            {"kid": self.kid, **(header or {})},
        )


def unsigned(header: Mapping[str, Any], payload: Mapping[str, Any], signature: bytes = b"x" * 64) -> str:
    """A text in the form of a token, with any signature."""
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


class KeyServer:
    """Serves a key set over HTTP on the loopback; use as an async context manager. A test sets what it answers."""

    def __init__(self, body: bytes) -> None:
        """Answers 200 with `body` until told otherwise."""
        self.body = body
        self.status = 200
        self.headers: dict[str, str] = {}
        self.asked = 0
        self.uri = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> KeyServer:
        app = web.Application()
        app.router.add_get("/jwks", self._answer)
        app.router.add_get("/other", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.uri = f"http://127.0.0.1:{self._runner.addresses[0][1]}/jwks"
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, _request: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(status=self.status, body=self.body, headers=self.headers)
