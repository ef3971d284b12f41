"""Does lint find every rule that admits more than anybody means, and leave good policies alone?"""

from __future__ import annotations

import pytest

from kit.policies import APPROVALS, FIRMWARE, GITHUB, LINE, NAMES, TOKENS, compiled, simple
from sealpress.governance.lint import lint

RELEASE = simple(
    class_="release",
    rules=TOKENS,
    extra='owner = "person:alice"\nbackup_owner = "person:bob"',
    tail=APPROVALS,
)
LOW = RELEASE.replace('"release"', '"low"', 1)


def codes(text: str, level: str = "error") -> set[str]:
    """What lint calls an error, or a warning."""
    return {finding.code for finding in lint(compiled(text)) if finding.level == level}


@pytest.mark.parametrize("text", [RELEASE, LOW, FIRMWARE], ids=["release", "low", "firmware"])
def test_good_policies_are_left_alone(text: str) -> None:
    """Neither error nor warning."""
    assert lint(compiled(text)) == []


def test_a_development_policy_is_left_alone() -> None:
    """A line of class test in environment test needs nothing more."""
    assert lint(compiled(simple("dev/demo/local/test/proof", "test", NAMES))) == []


def swap(old: str, new: str, text: str = RELEASE) -> str:
    """The text with one thing changed; it must have been there."""
    assert old in text
    return text.replace(old, new)


ID, OWNER = 'claims.repository_id = { eq = "74" }\n', 'claims.repository_owner_id = { eq = "65" }\n'
REF, EVENT = 'claims.ref = { eq = "refs/heads/main" }', 'claims.event_name = { in = ["push"] }'
PROTECTED = 'claims.ref_protected = { eq = "true" }\n'
ERRORS = {
    "no repository id": (swap(ID, 'claims.repository = { eq = "acme/app" }\n'), "MUTABLE_NAMES"),
    "no owner id": (swap(OWNER, ""), "MUTABLE_NAMES"),
    "no ids at class low": (swap(ID, "", LOW), "MUTABLE_NAMES"),
    "an id by prefix": (swap(ID, 'claims.repository_id = { prefix = "7" }\n'), "MUTABLE_NAMES"),
    "an id by range": (swap(OWNER, "claims.repository_owner_id = { int_range = [1, 99] }\n"), "MUTABLE_NAMES"),
    "only a subject": (swap(ID + OWNER, 'claims.sub = { eq = "repo:acme/app" }\n'), "MUTABLE_NAMES"),
    "wildcard issuer": (swap(GITHUB, "https://*.example"), "WILDCARD"),
    "wildcard audience": (swap("https://sign.acme.example", "*"), "WILDCARD"),
    "wildcard subject": (swap(EVENT, EVENT + '\nclaims.sub = { eq = "*" }'), "WILDCARD"),
    "wildcard subject by prefix": (swap(EVENT, EVENT + '\nclaims.sub = { prefix = "repo:*" }'), "WILDCARD"),
    "wildcard ref": (swap(REF, 'claims.ref = { eq = "*" }'), "WILDCARD"),
    "wildcard in a list": (swap(REF, 'claims.ref = { in = ["refs/heads/*"] }'), "WILDCARD"),
    "empty prefix": (swap(REF, 'claims.ref = { prefix = "" }'), "WILDCARD"),
    "any ref": (swap(REF, 'claims.ref = { prefix = "refs/" }'), "WILDCARD"),
    "any name": (swap(EVENT, EVENT + '\nartifact = { names = { prefix = "" } }'), "WILDCARD"),
    "any name of a test": (simple("a/b/c/test/e", "test", NAMES + 'artifact = { names = { eq = "*" } }\n'), "WILDCARD"),
    "no ref": (swap(REF + "\n" + PROTECTED, ""), "REF_OPEN"),
    "trigger of forks": (swap('["push"]', '["push", "pull_request_target"]'), "FORK_TRIGGER"),
    "trigger of forks by prefix": (swap('in = ["push"]', 'prefix = "pu"'), "FORK_TRIGGER"),
    "trigger of forks at GitLab": (
        swap("claims.event_name", "claims.pipeline_source").replace('"push"', '"external_pull_request_event"'),
        "FORK_TRIGGER",
    ),
    "forks": (swap(EVENT, EVENT + '\nclaims.fork = { in = ["true", "false"] }'), "FORK_TRIGGER"),
    "unprotected refs": (swap(PROTECTED, PROTECTED.replace("true", "false")), "FORK_TRIGGER"),
    "a person's trigger": (swap('["push"]', '["push", "workflow_dispatch"]'), "HUMAN_TRIGGER"),
    "no issuance": (swap("issuance = ", "# "), "APPROVALS_MISSING"),
    "no signing": (swap("signing = ", "# "), "APPROVALS_MISSING"),
    "no retirement": (swap("retirement = ", "# "), "APPROVALS_MISSING"),
    "no approvals": (swap(APPROVALS, ""), "APPROVALS_MISSING"),
    "one group for all": (
        swap('"key-officers"', '"release-approvers"').replace('"retirement-officers"', '"x", "release-approvers"'),
        "ONE_GROUP",
    ),
    "too many repositories": (
        swap('{ eq = "74" }', '{ in = ["1", "2", "3", "4", "5", "6", "7", "8", "9"] }'), "MAX_REQUESTERS",
    ),
    "too many names": (simple(extra="max_requesters = 1", rules=NAMES.replace('"]', '", "uri:b"]')), "MAX_REQUESTERS"),
    "test in production": (simple(class_="test"), "TEST_ENVIRONMENT"),
    "test in staging": (simple("a/b/c/staging/e", "test"), "TEST_ENVIRONMENT"),
    "an auditor who requests": (
        simple(class_="release", rules=NAMES, tail=APPROVALS + '[audit]\nidentities = ["uri:spiffe://acme/ci"]\n'),
        "AUDITOR_REQUESTS",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case: str) -> None:
    """Each of these alone is an error, of this code and no other."""
    text, code = ERRORS[case]

    assert codes(text) == {code}


WARNINGS = {
    "ref at class low": (swap(REF + "\n" + PROTECTED, "", LOW), "REF_OPEN"),
    "ref protection not demanded": (swap(PROTECTED, ""), "REF_UNPROTECTED"),
    "every branch": (swap(REF, 'claims.ref = { prefix = "refs/heads/" }'), "WILDCARD"),
    "prefix within a name": (swap(EVENT, EVENT + '\nclaims.job_workflow_ref = { prefix = "acme/ci" }'), "PREFIX_OPEN"),
    "trigger unsaid": (swap(EVENT, ""), "HUMAN_TRIGGER"),
    "quorum from one group": (swap("min_groups = 2, ", "", FIRMWARE), "ONE_GROUP_SIGNS"),
    "no owner": (swap('owner = "person:alice"\n', ""), "OWNER_MISSING"),
    "owner alone": (swap('"person:bob"', '"person:alice"'), "OWNER_MISSING"),
    "low in environment test": (simple("a/b/c/test/e"), "PRODUCTION_CLASS"),
    "a name on two lines": (
        simple(rules=NAMES) + simple("a/b/c/prod/e", rules=NAMES).removeprefix("schema = 1\n"), "IDENTITY_REUSED",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WARNINGS)
def test_warnings(case: str) -> None:
    """These are told and do not stop a policy."""
    text, code = WARNINGS[case]

    assert code in codes(text, "warning")
    assert codes(text) == set()


def test_what_keeps_one_group_from_all() -> None:
    """A second group that must approve, in one of the three paths, is enough (GR-11)."""
    text = swap('"key-officers"', '"release-approvers"').replace('"retirement-officers"', '"release-approvers"')

    assert codes(text) == {"ONE_GROUP"}
    two = text.replace(
        'issuance = { quorum = 2, groups = ["release-approvers"] }',
        'issuance = { quorum = 2, groups = ["release-approvers", "x"], min_groups = 2 }',
    )
    must = text.replace(
        'issuance = { quorum = 2, groups = ["release-approvers"] }',
        'issuance = { quorum = 2, groups = ["release-approvers", "x"], must_include = ["x"] }',
    )
    assert (codes(two), codes(must)) == (set(), set())


def test_gates_hold_a_person() -> None:
    """With a gate a person's trigger is good; firmware has a releaser in any case (GR-57)."""
    text = swap('["push"]', '["workflow_dispatch"]').replace(
        'action = "sign"', 'action = "sign"\ngates = ["release.promote"]'
    )

    assert codes(text) == set()


def test_a_spiffe_subject_is_immutable() -> None:
    """A workload's own id needs neither repository nor ref."""
    text = swap(ID + OWNER + REF + "\n" + PROTECTED, 'claims.sub = { eq = "spiffe://acme/ci" }\n')

    assert codes(text) == set()


def test_findings_say_where() -> None:
    """The table of the file that is wrong."""
    (finding,) = lint(compiled(swap('{ eq = "refs/heads/main" }', '{ eq = "*" }')))

    assert finding.where == '[line."acme/app/eu/prod/images".rule.gha]'
    assert lint(compiled(swap("issuance   = ", "# ", FIRMWARE)))[0].where == f'[line."{LINE}".approvals]'
