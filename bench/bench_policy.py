"""How quick is a decision of the policy beside a chain of ifs written by hand for this one rule?"""

from __future__ import annotations

import hashlib
import statistics
import time
from typing import TYPE_CHECKING

import pytest

from bench.run import Target
from kit.policies import AUDIENCE, FIRMWARE, GITHUB, LINE, ask, compiled, token
from sealpress.values import DigestAlgorithm, Identity, SignAsk

if TYPE_CHECKING:
    from bench.harness import Ratios

NOW = 1_795_608_000
P99_US_MAX = 5.0  # GR-45
TURNS = 5


def by_hand(identity: Identity, asked: SignAsk) -> str:
    """The same rule, as somebody would write it who has only this one."""
    claims = dict(identity.claims)
    if asked.line != LINE or identity.issuer != GITHUB or claims.get("aud") != AUDIENCE:
        return "NOT_PERMITTED"
    if claims.get("repository_id") != "74" or claims.get("repository_owner_id") != "65":
        return "NOT_PERMITTED"
    if not claims.get("ref", "").startswith("refs/tags/v") or claims.get("ref_protected") != "true":
        return "NOT_PERMITTED"
    if claims.get("job_workflow_ref") != "acme/ci/.github/workflows/sign.yml@refs/heads/main":
        return "NOT_PERMITTED"
    if claims.get("runner_environment") != "github-hosted" or claims.get("environment") != "release":
        return "NOT_PERMITTED"
    if claims.get("event_name") == "pull_request_target" or claims.get("fork", "false") != "false":
        return "NOT_PERMITTED"
    if asked.algorithm is not DigestAlgorithm.SHA384:
        return "ALGORITHM_NOT_ALLOWED"
    if asked.artifact.media_type != "uefi-capsule" or not 0 < asked.artifact.size <= 268_435_456:
        return "ARTIFACT_NOT_ALLOWED"
    return ""


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_decision(ratio: Ratios, tiny: bool, warm: bool) -> None:
    """Match and admit, with the identity's half remembered (the same token again) and without (a new token each)."""
    count = 200 if tiny else 100_000
    policy = compiled(FIRMWARE)
    who, asked = token(), ask()
    match = policy.match if warm else policy.evaluate

    def ours() -> str:
        said = ""
        for _ in range(count):
            rule = match(who, asked.line).rule
            said = "NOT_PERMITTED" if rule is None else rule.admits(asked, NOW)
        return said

    def theirs() -> str:
        said = ""
        for _ in range(count):
            said = by_hand(who, asked)
        return said

    assert ours() == theirs() == ""
    ratio.race(
        f"policy decision, {'warm' if warm else 'cold'}",
        "M/s",
        amount=count / 1e6,
        product=ours,
        baseline=theirs,
        baseline_name="chain of ifs by hand",
    )


def test_decision_at_p99(ratio: Ratios, tiny: bool) -> None:
    """Each decision by itself, among 1,000 tokens on one line, in turns; the clock's own time is in it."""
    count = 1_000 if tiny else 40_000
    policy = compiled(FIRMWARE)
    asked = ask()
    tokens = [token(run_id=hashlib.sha256(bytes([n % 251, n // 251])).hexdigest()) for n in range(1_000)]
    for who in tokens:
        policy.match(who, LINE)

    def p99(call: str) -> float:
        times = []
        for place in range(count):
            who = tokens[place % 1_000]
            started = time.perf_counter_ns()
            if call == "ours":
                rule = policy.match(who, asked.line).rule
                assert rule is not None
                rule.admits(asked, NOW)
            else:
                by_hand(who, asked)
            times.append(time.perf_counter_ns() - started)
        return sorted(times)[count * 99 // 100] / 1_000

    turns = [(p99("ours"), p99("theirs")) for _ in range(1 + TURNS)][1:]  # the first warms up
    ours, theirs = (statistics.median(side) for side in zip(*turns, strict=True))
    target = Target(value_max=P99_US_MAX)
    ratio.row("policy decision, warm, p99", ours, "us", "chain of ifs by hand", theirs, target=target)
