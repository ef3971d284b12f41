"""Does a simulation repeat recorded decisions, and tell which of them a new policy would change?"""

from __future__ import annotations

from dataclasses import replace

from kit.policies import CAPSULE, CLAIMS, FIRMWARE, GITHUB, LINE, NAMES, ask, certificate, compiled, simple, token
from sealpress.governance.rules import Policy
from sealpress.governance.simulate import Decision, RecordedRequest, simulate
from sealpress.values import DigestAlgorithm

APP = "acme/app/eu/prod/images"
NOON = 1_795_608_000
ALLOWED = RecordedRequest(
    identity=f"oidc:{GITHUB}#repo:acme/router:environment:release",
    line=LINE,
    algorithm=DigestAlgorithm.SHA384,
    time_s=NOON,
    decision=Decision("gha-release"),
    issuer=GITHUB,
    subject="repo:acme/router:environment:release",
    claims=tuple(sorted(CLAIMS.items())),
    artifact=CAPSULE,
)
REFUSED = replace(ALLOWED, claims=(), decision=Decision(reason="NOT_PERMITTED"))
OTHER = replace(
    ALLOWED, artifact=replace(CAPSULE, media_type="image"), decision=Decision(reason="ARTIFACT_NOT_ALLOWED")
)


def decisions(policy: Policy, *events: RecordedRequest) -> list[tuple[Decision, Decision]]:
    """Old and new, in the order of the events."""
    return [(old, new) for _, old, new in simulate(policy, events)]


def test_the_same_policy_decides_the_same() -> None:
    """Recorded inputs are all that a decision needs (GR-121)."""
    found = simulate(compiled(FIRMWARE), [ALLOWED, REFUSED, OTHER])

    assert [event for event, _, _ in found] == [ALLOWED, REFUSED, OTHER]
    assert all(old == new for _, old, new in found)
    assert [new.allowed for _, _, new in found] == [True, False, False]


def test_a_new_policy_shows_what_changes() -> None:
    """A narrower rule refuses what was allowed, a wider one allows what was refused, with rule or reason."""
    narrow = compiled(FIRMWARE.replace('eq = "74"', 'eq = "81"'))
    wide = compiled(FIRMWARE.replace('"uefi-capsule"', '"uefi-capsule", "image"'))

    assert decisions(narrow, ALLOWED) == [(Decision("gha-release"), Decision(reason="NOT_PERMITTED"))]
    assert decisions(wide, OTHER) == [(Decision(reason="ARTIFACT_NOT_ALLOWED"), Decision("gha-release"))]
    assert decisions(compiled("schema = 1"), ALLOWED)[0][1] == Decision(reason="NOT_PERMITTED")


def test_the_recorded_time_decides() -> None:
    """Calendars are asked about then, not about now."""
    text = FIRMWARE.replace("gates =", 'calendar = "night"\ngates =') + '[calendar.night]\nuntil = "06:00"\n'

    assert decisions(compiled(text), ALLOWED, replace(ALLOWED, time_s=NOON - 9 * 3_600)) == [
        (Decision("gha-release"), Decision(reason="OUTSIDE_CALENDAR")),
        (Decision("gha-release"), Decision("gha-release")),
    ]


def test_batches_of_certificates() -> None:
    """Each name and size of a batch counts."""
    policy = compiled(simple(rules=NAMES + 'artifact = { max_size = 9, names = { prefix = "a" } }\n'))
    event = RecordedRequest(
        "uri:spiffe://acme/ci",
        APP,
        DigestAlgorithm.SHA256,
        NOON,
        Decision("ci"),
        names=("a", "ab"),
        sizes=(1, 2),
        batch=True,
    )

    assert decisions(policy, event, replace(event, names=("a", "b"))) == [
        (Decision("ci"), Decision("ci")),
        (Decision("ci"), Decision(reason="ARTIFACT_NOT_ALLOWED")),
    ]


def test_a_simulation_agrees_with_the_node() -> None:
    """Live and simulated are one piece of code: the same answers for the same inputs."""
    policy = compiled(FIRMWARE + simple(rules=NAMES).removeprefix("schema = 1\n"))
    for who in (token(), token(repository_id="1"), certificate(), certificate("uri:x")):
        for line in (LINE, APP):
            for asked in (ask(line), ask(line, DigestAlgorithm.SHA256)):
                event = RecordedRequest(
                    who.id, line, asked.algorithm, NOON, Decision(), who.issuer, who.subject, who.claims, asked.artifact
                )
                rule, reason = policy.match(who, line).admit(asked, NOON)
                live = Decision(reason=reason) if rule is None else Decision(rule.id)

                assert decisions(policy, event) == [(Decision(), live)]
