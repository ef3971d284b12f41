"""What a CI says about a job, in one vocabulary: Fulcio's names (GR-71), beside the CI's own names that rules match.

| ours | GitHub Actions | GitLab CI | Buildkite |
|---|---|---|---|
| source_repository_id (immutable) | repository_id | project_id | pipeline_id |
| source_repository_owner_id (immutable) | repository_owner_id | namespace_id | organization_id |
| source_repository_uri, _owner_uri | repository, repository_owner | project_path, namespace_path | — |
| source_repository_ref, also as `ref` | ref | ref_type and ref | build_tag, else build_branch |
| source_repository_digest | sha | sha | build_commit |
| build_signer_uri, _digest | job_workflow_ref, _sha | ci_config_ref_uri, ci_config_sha | organisation and pipeline |
| build_config_uri, _digest | workflow_ref, _sha | ci_config_ref_uri, ci_config_sha | organisation and pipeline |
| build_trigger | event_name | pipeline_source | build_source |
| run_invocation_uri | run_id, run_attempt | job_id | build_number, job_id |
| runner_environment, deployment_environment | as named, environment | as named, environment | as named, — |

Four more: `kind` (github, gitlab, buildkite, generic), `sub`, `aud`, and `fork`: "true" when somebody outside may have
set the job off or written what it builds, as far as the token shows (GR-104). `ref` is a full ref of every CI, so that
a branch called `refs/tags/v1` is `refs/heads/refs/tags/v1` and fits no rule for tags.

A token of a generic issuer keeps its own names. It, too, needs both ids, under any of the names above, unless its
subject is a SPIFFE id.

Guarantees: strings only, at most COUNT_MAX claims of VALUE_MAX characters, printable, sorted by name; a token without
its immutable ids, or from which forks cannot be told, is NotPermitted CLAIMS_INCOMPLETE; nothing is cut short; the same
payload always gives the same claims. Does not: verify a signature, know a rule, or keep names of people beyond the
login that the CI gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal
from urllib.parse import urlsplit

from sealpress.errors import NotPermitted

Kind = Literal["github", "gitlab", "buildkite", "generic"]
Claims = tuple[tuple[str, str], ...]
Payload = Mapping[str, object]

COUNT_MAX = 96
NAME_MAX = 128
VALUE_MAX = 1_024
NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,128}", re.ASCII)
IMMUTABLE = re.compile(r"[A-Za-z0-9._:/-]{1,128}", re.ASCII)

# What a fork's author, or anybody who may comment, can set off. `workflow_run` does not say what it follows.
_GITHUB_OUTSIDE = frozenset(
    {
        "pull_request",
        "pull_request_target",
        "pull_request_review",
        "pull_request_review_comment",
        "issue_comment",
        "workflow_run",
    }
)
_GITLAB_OUTSIDE = frozenset({"merge_request_event", "external_pull_request_event"})

# The CI's own names that are kept; all others are dropped.
_KEPT: dict[Kind, tuple[str, ...]] = {
    "github": (
        "repository", "repository_id", "repository_owner", "repository_owner_id", "repository_visibility",
        "ref", "ref_type", "ref_protected", "head_ref", "base_ref", "sha", "event_name", "environment",
        "environment_node_id", "workflow", "workflow_ref", "workflow_sha", "job_workflow_ref", "job_workflow_sha",
        "run_id", "run_number", "run_attempt", "runner_environment", "actor", "actor_id", "enterprise", "enterprise_id",
    ),
    "gitlab": (
        "project_id", "project_path", "project_visibility", "namespace_id", "namespace_path", "job_project_id",
        "job_project_path", "job_namespace_id", "job_namespace_path", "user_id", "user_login", "ref_type",
        "ref_protected", "sha", "pipeline_id", "pipeline_source", "job_id", "job_source", "environment",
        "environment_protected", "deployment_tier", "deployment_action", "runner_id", "runner_environment",
        "ci_config_ref_uri", "ci_config_sha",
    ),
    "buildkite": (
        "organization_id", "organization_slug", "pipeline_id", "pipeline_slug", "build_id", "build_number",
        "build_branch", "build_tag", "build_commit", "build_source", "step_key", "job_id", "agent_id", "cluster_id",
        "cluster_name", "queue_id", "queue_key", "runner_environment",
    ),
    "generic": (),
}  # fmt: skip
_REQUIRED: dict[Kind, tuple[str, ...]] = {
    "github": ("repository_id", "repository_owner_id", "event_name"),
    "gitlab": ("project_id", "namespace_id", "pipeline_source"),
    "buildkite": ("pipeline_id", "organization_id", "build_branch"),
    "generic": (),
}
_HINT: dict[Kind, str] = {
    "github": "use the token that the job gets from GitHub Actions with `permissions: id-token: write`",
    "gitlab": "use a token made by `id_tokens:` in .gitlab-ci.yml",
    "buildkite": "ask with `buildkite-agent oidc request-token --claim organization_id,pipeline_id`",
    "generic": "the issuer must say the immutable ids of repository and owner, for example repository_id and owner_id",
}
REPOSITORY_IDS = ("source_repository_id", "repository_id", "project_id", "pipeline_id")
OWNER_IDS = ("source_repository_owner_id", "repository_owner_id", "owner_id", "namespace_id", "organization_id")
# Of OpenID Connect: about the token or the person, not about the job.
_DROPPED = frozenset(
    {
        "iss", "sub", "exp", "nbf", "iat", "jti", "auth_time", "nonce", "acr", "amr", "azp", "at_hash", "c_hash",
        "name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "profile", "picture",
        "website", "email", "email_verified", "gender", "birthdate", "zoneinfo", "locale", "phone_number",
        "phone_number_verified", "address", "updated_at",
    }
)  # fmt: skip


def normalise(kind: Kind, issuer: str, audience: str, subject: str, payload: Payload) -> Claims:
    """The claims of a verified token. NotPermitted CLAIMS_INCOMPLETE if they do not say enough, or too much."""
    names = _KEPT[kind] if kind != "generic" else tuple(name for name in payload if name not in _DROPPED)
    own = {name: text for name in names if (text := _text(kind, name, payload.get(name)))}
    for name in _REQUIRED[kind]:
        if name not in own:
            raise incomplete(kind, f"the token does not say {name}")
    raw_ref = _text(kind, "ref", payload.get("ref"))
    found = own | _FULCIO[kind](issuer, own, raw_ref)
    _check_ids(kind, subject, found)
    found |= {"kind": kind, "sub": subject, "aud": audience}
    claims = tuple(sorted((name, text) for name, text in found.items() if text))
    if len(claims) > COUNT_MAX or any(len(text) > VALUE_MAX for _, text in claims):
        raise incomplete(kind, f"the token says more than {COUNT_MAX} things, or one of them at too great length")
    return claims


def owner(kind: Kind, payload: Payload) -> str:
    """The owner id that a token gives, before anything of it was verified; empty if it gives none."""
    names = {"github": ("repository_owner_id",), "gitlab": ("namespace_id",), "buildkite": ("organization_id",)}
    values = (payload.get(name) for name in names.get(kind, OWNER_IDS))
    return next((text for value in values if (text := _scalar(value)) and len(text) <= VALUE_MAX), "")


def incomplete(kind: Kind, message: str) -> NotPermitted:
    """A token that is genuine but of no use."""
    return NotPermitted(message, reason="CLAIMS_INCOMPLETE", hint=_HINT[kind])


def _scalar(value: object) -> str:
    """Numbers and truths as their text; anything else is not a claim of ours."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if -(1 << 63) <= value < 1 << 64 else ""
    return value if isinstance(value, str) else ""


def _text(kind: Kind, name: str, value: object) -> str:
    text = _scalar(value)
    if not text:
        return ""
    if len(text) > VALUE_MAX or not text.isprintable() or not NAME.fullmatch(name):
        raise incomplete(kind, f"{name[:NAME_MAX]!r} in the token is too long or not printable")
    return text


def _check_ids(kind: Kind, subject: str, found: dict[str, str]) -> None:
    if kind == "generic" and subject.startswith("spiffe://"):
        return  # the subject itself is the immutable name
    for name in ("source_repository_id", "source_repository_owner_id"):
        if not IMMUTABLE.fullmatch(found.get(name, "")):
            raise incomplete(kind, f"the token does not say {name}, or not in letters, digits and . _ : / -")


def _github(issuer: str, own: dict[str, str], ref: str) -> dict[str, str]:
    url = _github_url(issuer)
    outside = own["event_name"] in _GITHUB_OUTSIDE or ref.startswith("refs/pull/") or "head_ref" in own
    return {
        "build_signer_uri": _joined(url, own.get("job_workflow_ref")),
        "build_signer_digest": own.get("job_workflow_sha", ""),
        "source_repository_uri": _joined(url, own.get("repository")),
        "source_repository_owner_uri": _joined(url, own.get("repository_owner")),
        "source_repository_digest": own.get("sha", ""),
        "source_repository_ref": ref,
        "source_repository_id": own["repository_id"],
        "source_repository_owner_id": own["repository_owner_id"],
        "source_repository_visibility": own.get("repository_visibility", ""),
        "build_config_uri": _joined(url, own.get("workflow_ref")),
        "build_config_digest": own.get("workflow_sha", ""),
        "build_trigger": own["event_name"],
        "run_invocation_uri": _joined(
            url, own.get("repository"), "actions/runs", own.get("run_id"), "attempts", own.get("run_attempt")
        ),
        "deployment_environment": own.get("environment", ""),
        "fork": _truth(outside),
    }


def _gitlab(issuer: str, own: dict[str, str], ref: str) -> dict[str, str]:
    full = _full_ref(own.get("ref_type", ""), ref)
    elsewhere = own.get("job_project_id", own["project_id"]) != own["project_id"]
    config = own.get("ci_config_ref_uri", "")
    return {
        "ref": full,
        "build_signer_uri": f"https://{config}" if config else "",
        "build_signer_digest": own.get("ci_config_sha", ""),
        "source_repository_uri": _joined(issuer, own.get("project_path")),
        "source_repository_owner_uri": _joined(issuer, own.get("namespace_path")),
        "source_repository_digest": own.get("sha", ""),
        "source_repository_ref": full,
        "source_repository_id": own["project_id"],
        "source_repository_owner_id": own["namespace_id"],
        "source_repository_visibility": own.get("project_visibility", ""),
        "build_config_uri": f"https://{config}" if config else "",
        "build_config_digest": own.get("ci_config_sha", ""),
        "build_trigger": own["pipeline_source"],
        "run_invocation_uri": _joined(issuer, own.get("project_path"), "-/jobs", own.get("job_id")),
        "deployment_environment": own.get("environment", ""),
        "fork": _truth(elsewhere or own["pipeline_source"] in _GITLAB_OUTSIDE),
    }


def _buildkite(_issuer: str, own: dict[str, str], _ref: str) -> dict[str, str]:
    pipeline = _joined("https://buildkite.com", own.get("organization_slug"), own.get("pipeline_slug"))
    run = _joined(pipeline, "builds", own.get("build_number")) if pipeline else ""
    tag = own.get("build_tag", "")
    full = _full_ref("tag", tag) if tag else _full_ref("branch", own["build_branch"])
    return {
        "ref": full,
        "build_signer_uri": pipeline,
        "source_repository_digest": own.get("build_commit", ""),
        "source_repository_ref": full,
        "source_repository_id": own["pipeline_id"],
        "source_repository_owner_id": own["organization_id"],
        "build_config_uri": pipeline,
        "build_trigger": own.get("build_source", ""),
        "run_invocation_uri": f"{run}#{own['job_id']}" if run and "job_id" in own else "",
        "fork": _truth(":" in own["build_branch"]),  # owner:branch is how a branch of a fork is called there
    }


def _generic(_issuer: str, own: dict[str, str], ref: str) -> dict[str, str]:
    ids = {
        "source_repository_id": next((own[name] for name in REPOSITORY_IDS if name in own), ""),
        "source_repository_owner_id": next((own[name] for name in OWNER_IDS if name in own), ""),
    }
    return ids | ({"source_repository_ref": ref} if ref and "source_repository_ref" not in own else {})


_FULCIO: dict[Kind, Callable[[str, dict[str, str], str], dict[str, str]]] = {
    "github": _github,
    "gitlab": _gitlab,
    "buildkite": _buildkite,
    "generic": _generic,
}


def _github_url(issuer: str) -> str:
    """Where the repositories are: github.com, NAME.ghe.com, or the host of an Enterprise Server."""
    host = urlsplit(issuer).netloc
    if host == "token.actions.githubusercontent.com":
        return "https://github.com"
    return f"https://{host.removeprefix('token.actions.')}"


def _full_ref(type_: str, name: str) -> str:
    folder = {"branch": "heads", "tag": "tags"}.get(type_)
    return f"refs/{folder}/{name}" if folder and name else ""


def _joined(*parts: str | None) -> str:
    """With slashes, or nothing if a part is missing."""
    return "/".join(part.rstrip("/") for part in parts if part) if all(parts) else ""


def _truth(value: bool) -> str:
    return "true" if value else "false"
