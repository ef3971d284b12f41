"""Does every CI speak one vocabulary, and is a token refused that does not say enough?"""

from __future__ import annotations

from typing import Any, cast

import pytest

from kit.issuer import AUDIENCE, CLAIMS, SUBJECTS, URLS
from sealpress.errors import NotPermitted
from sealpress.governance.claims import COUNT_MAX, VALUE_MAX, Kind, normalise, owner

KINDS = ("github", "gitlab", "buildkite", "generic")


def claims_of(kind: str, issuer: str = "", subject: str = "", **changed: Any) -> dict[str, str]:
    """What becomes of a token of this kind; None leaves a claim out."""
    said = {name: value for name, value in (CLAIMS[kind] | changed).items() if value is not None}
    found = normalise(cast(Kind, kind), issuer or URLS[kind], AUDIENCE, subject or SUBJECTS[kind], said)
    assert list(found) == sorted(found)
    return dict(found)


def test_github() -> None:
    """GitHub's claims get Fulcio's names and keep their own."""
    found = claims_of("github")

    assert {name: found[name] for name in found if name.startswith(("build_", "source_", "run_inv", "deploy"))} == {
        "build_config_digest": "9f3182061f1e2cca4702c368cbc039b7dc9d4485",
        "build_config_uri": "https://github.com/acme/router/.github/workflows/release.yml@refs/tags/v1.2.0",
        "build_signer_digest": "aa" * 20,
        "build_signer_uri": "https://github.com/acme/ci/.github/workflows/sign.yml@refs/heads/main",
        "build_trigger": "push",
        "deployment_environment": "release",
        "run_invocation_uri": "https://github.com/acme/router/actions/runs/1658821493/attempts/2",
        "source_repository_digest": "9f3182061f1e2cca4702c368cbc039b7dc9d4485",
        "source_repository_id": "74",
        "source_repository_owner_id": "65",
        "source_repository_owner_uri": "https://github.com/acme",
        "source_repository_ref": "refs/tags/v1.2.0",
        "source_repository_uri": "https://github.com/acme/router",
        "source_repository_visibility": "private",
    }
    assert (found["repository_id"], found["event_name"], found["actor_id"]) == ("74", "push", "12")
    assert (found["kind"], found["aud"], found["sub"]) == ("github", AUDIENCE, SUBJECTS["github"])
    assert "head_ref" not in found


@pytest.mark.parametrize(
    ("issuer", "repositories"),
    [
        ("https://token.actions.githubusercontent.com/acme-enterprise", "https://github.com/acme/router"),
        ("https://token.actions.acme.ghe.com", "https://acme.ghe.com/acme/router"),
        ("https://git.acme.example/_services/token", "https://git.acme.example/acme/router"),
    ],
)
def test_github_elsewhere(issuer: str, repositories: str) -> None:
    """Enterprise issuers name the host that their repositories are on."""
    assert claims_of("github", issuer)["source_repository_uri"] == repositories


def test_gitlab() -> None:
    """GitLab's claims likewise; its short ref becomes a full one, under both names."""
    found = claims_of("gitlab")

    assert found["source_repository_id"] == found["project_id"] == "28"
    assert found["source_repository_owner_id"] == found["namespace_id"] == "7"
    assert found["ref"] == found["source_repository_ref"] == "refs/tags/v1.2.0"
    assert found["build_signer_uri"] == "https://gitlab.acme.example/acme/router//.gitlab-ci.yml@refs/tags/v1.2.0"
    assert found["run_invocation_uri"] == "https://gitlab.acme.example/acme/router/-/jobs/1123"
    assert found["runner_id"] == "1"
    assert "user_email" not in found


def test_a_branch_named_like_a_tag_is_a_branch() -> None:
    """A GitLab branch called refs/tags/v1 does not get past a rule for tags."""
    assert claims_of("gitlab", ref="refs/tags/v1", ref_type="branch")["ref"] == "refs/heads/refs/tags/v1"
    assert "ref" not in claims_of("gitlab", ref="refs/tags/v1", ref_type=None)
    assert claims_of("buildkite", build_tag=None, build_branch="refs/tags/v1")["ref"] == "refs/heads/refs/tags/v1"


def test_buildkite() -> None:
    """Buildkite's claims likewise; pipeline and organisation are the immutable ids."""
    found = claims_of("buildkite")

    assert found["source_repository_id"] == found["pipeline_id"]
    assert found["source_repository_owner_id"] == found["organization_id"]
    assert found["ref"] == "refs/tags/v1.2.0"
    assert claims_of("buildkite", build_tag=None)["ref"] == "refs/heads/main"
    assert found["build_signer_uri"] == "https://buildkite.com/acme/router"
    assert found["run_invocation_uri"].startswith("https://buildkite.com/acme/router/builds/10#0184990a")
    assert found["runner_environment"] == "buildkite-hosted"


def test_generic() -> None:
    """A generic issuer's claims keep their names; what names a person is dropped."""
    found = claims_of("generic", attempt=3, trusted=True, groups=["a"], ratio=0.5)

    assert (found["source_repository_id"], found["source_repository_owner_id"]) == ("r-1", "o-1")
    assert (found["environment"], found["attempt"], found["trusted"]) == ("release", "3", "true")
    assert {"email", "groups", "ratio", "fork"} & set(found) == set()


def test_a_generic_token_cannot_say_what_we_say() -> None:
    """kind and audience are ours, whatever the token claims."""
    said = {**CLAIMS["generic"], "kind": "github", "aud": "https://other.example", "sub": "somebody/else"}
    found = dict(normalise("generic", URLS["generic"], AUDIENCE, "job/router/sign", said))

    assert (found["kind"], found["aud"], found["sub"]) == ("generic", AUDIENCE, "job/router/sign")


def test_a_spiffe_id_is_immutable_by_itself() -> None:
    """A JWT-SVID needs no repository."""
    assert claims_of("generic", subject="spiffe://acme/ci/sign", repository_id=None, owner_id=None)["kind"] == "generic"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("github", "repository_id"), ("github", "repository_owner_id"), ("github", "event_name"),
        ("gitlab", "project_id"), ("gitlab", "namespace_id"), ("gitlab", "pipeline_source"),
        ("buildkite", "pipeline_id"), ("buildkite", "organization_id"), ("buildkite", "build_branch"),
        ("generic", "repository_id"), ("generic", "owner_id"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [None, "", [], {"id": "74"}, 1.5, "a\u202eb", "x" * 2_000])
def test_immutable_ids_are_needed(kind: str, name: str, value: Any) -> None:
    """Without one of them, or with something else in its place, the token is of no use (GR-50)."""
    with pytest.raises(NotPermitted) as caught:
        claims_of(kind, **{name: value})

    assert caught.value.reason == "CLAIMS_INCOMPLETE"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("github", {"event_name": "pull_request_target"}),
        ("github", {"event_name": "pull_request", "head_ref": "patch-1"}),
        ("github", {"event_name": "workflow_run"}),
        ("github", {"event_name": "issue_comment"}),
        ("github", {"ref": "refs/pull/7/merge"}),
        ("github", {"head_ref": "patch-1"}),
        ("gitlab", {"pipeline_source": "merge_request_event"}),
        ("gitlab", {"pipeline_source": "external_pull_request_event"}),
        ("gitlab", {"job_project_id": "29"}),
        ("buildkite", {"build_branch": "mallory:main"}),
    ],
)
def test_forks_are_marked(kind: str, changed: dict[str, Any]) -> None:
    """What somebody outside may have set off or written is marked, and nothing else (GR-104)."""
    assert claims_of(kind)["fork"] == "false"
    assert claims_of(kind, **changed)["fork"] == "true"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", ["line\nbreak", "nul\0", "\x1b[31m", "\ud800", "x" * (VALUE_MAX + 1)])
def test_no_text_is_kept_that_cannot_be_shown(kind: str, value: str) -> None:
    """Control characters, lone surrogates and overlong texts make the token unusable; nothing is cut."""
    with pytest.raises(NotPermitted) as caught:
        claims_of(kind, environment=value) if kind != "buildkite" else claims_of(kind, step_key=value)

    assert caught.value.reason == "CLAIMS_INCOMPLETE"


def test_the_number_of_claims_is_bounded() -> None:
    """A generic token with more than COUNT_MAX claims is refused, and so is a name that no rule could write."""
    for more in ({f"claim_{number}": "x" for number in range(COUNT_MAX)}, {"a b": "x"}, {"a" * 129: "x"}):
        with pytest.raises(NotPermitted):
            claims_of("generic", **more)


@pytest.mark.parametrize(("kind", "id_"), [("github", "65"), ("gitlab", "7"), ("generic", "o-1")])
def test_the_owner_is_told_before_anything_is_verified(kind: str, id_: str) -> None:
    """`owner` gives the owner id or nothing, and never fails."""
    assert owner(cast(Kind, kind), CLAIMS[kind]) == id_
    assert owner(cast(Kind, kind), {}) == ""
    assert owner("github", {"repository_owner_id": ["65"]}) == ""
    assert owner("github", {"repository_owner_id": "6" * 2_000}) == ""
