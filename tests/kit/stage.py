"""A history being played: its town, and what `it` is just now."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kit.invariants import Watch
from kit.town import Town
from kit.townsfolk import (
    FIRMWARE,
    LOW,
    RELEASE,
    TEST,
    certificate,
    token,
)
from sealpress.values import Identity

LINE_OF = {"test": TEST, "low": LOW, "release": RELEASE, "firmware": FIRMWARE, "every line": "*"}
PIPELINES = {
    "pipeline": {},
    "pipeline of another repository": {"repository_id": "81"},
    "pipeline of a repository of the same name": {"repository_id": "99", "repository": "acme/router"},
    "pipeline of another owner": {"repository_owner_id": "66"},
    "pipeline of a branch": {"ref": "refs/heads/main"},
    "pipeline of a fork": {"fork": "true"},
    "pipeline of an unprotected tag": {"ref_protected": "false"},
    "pipeline for another audience": {"aud": "https://elsewhere.example"},
    "pipeline that a person started": {"event_name": "workflow_dispatch"},
    "pipeline without an actor": {"actor_id": ""},
    "pipeline of an unknown issuer": {"issuer": "https://evil.example"},
}
TOKENS = {
    "GitHub": ("github", "https://token.actions.githubusercontent.com", {
        "repository_id": "74", "repository_owner_id": "65", "repository": "acme/router", "repository_owner": "acme",
        "ref": "refs/tags/v1", "sha": "ab" * 20, "event_name": "push", "actor_id": "1001",
        "runner_environment": "github-hosted",
        "job_workflow_ref": "acme/ci/.github/workflows/sign.yml@refs/heads/main", "run_id": "7", "run_attempt": "1",
        "ref_protected": "true", "head_ref": "", "base_ref": "", "workflow_ref": "w", "actor": "dora",
    }),
    "GitLab": ("gitlab", "https://gitlab.example", {
        "project_id": "74", "namespace_id": "65", "project_path": "acme/router", "namespace_path": "acme", "ref": "v1",
        "ref_type": "tag", "sha": "ab" * 20, "pipeline_source": "push", "user_id": "1001", "ref_protected": "true",
        "ci_config_ref_uri": "gitlab.example/acme/router//.gitlab-ci.yml@refs/tags/v1", "ci_config_sha": "ab" * 20,
        "runner_environment": "gitlab-hosted", "job_id": "7", "pipeline_id": "3",
    }),
    "Buildkite": ("buildkite", "https://agent.buildkite.com", {
        "pipeline_id": "74", "organization_id": "65", "organization_slug": "acme", "pipeline_slug": "router",
        "build_tag": "v1", "build_branch": "main", "build_commit": "ab" * 20, "build_source": "webhook",
        "build_number": "7", "job_id": "8", "step_key": "sign",
    }),
}  # fmt: skip


@dataclass
class Stage:
    """One history being played."""

    town: Town = field(default_factory=lambda: Town(watch=Watch()))
    change: str = ""  # the newest
    signed: int = 0
    text: str = ""  # the last that somebody read
    named: dict[str, str] = field(default_factory=dict)  # changes
    kept: tuple[bytes, str] = (b"", "")  # an approval on paper

    def identity(self, who: str) -> Identity:
        """A pipeline's token, or a certificate."""
        name, _, number = who.partition(" #")
        if name in PIPELINES:
            return token(int(number or 0), **PIPELINES[name])
        return certificate(name, int(number or 0))

    def it(self, name: str | None) -> str:
        """A change by the name that a table gave it, or the newest."""
        return self.named.get(name or "", self.change)

    def propose(self, who: str, kind: str, request: Any) -> None:
        """Remember the newest change."""
        self.change = self.town.propose(who, kind, request)

    def line_of(self, key: str) -> str:
        """Of a key."""
        known = self.town.state.keys.get(key)
        return known.proposed.line if known is not None else FIRMWARE

    def newest_key(self) -> str:
        """The last one proposed."""
        return next(reversed(self.town.state.keys))
