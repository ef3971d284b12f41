"""Does a rule match exactly the identities and admit exactly the requests that it names?"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.policies import (
    AUDIENCE,
    CAPSULE,
    CLAIMS,
    FIRMWARE,
    GITHUB,
    LINE,
    NAMES,
    TOKENS,
    ask,
    batch,
    certificate,
    compiled,
    simple,
    token,
)
from sealpress.governance.form import Matcher
from sealpress.governance.matchers import apart, compile_matcher, shown, values, within
from sealpress.governance.rights import what_can_sign, who_can_sign
from sealpress.governance.rules import MEMO_MAX, Rule
from sealpress.values import DigestAlgorithm, Identity

APP = "acme/app/eu/prod/images"
NOW = int(dt.datetime(2026, 11, 25, 12, 0, tzinfo=dt.UTC).timestamp())  # a Wednesday


def matches(matcher: Matcher, text: str) -> bool:
    """What the compiled matcher says."""
    return compile_matcher(matcher, "here")(text)


MATCHERS = [
    (Matcher(eq="74"), ["74"], ["", "7", "740", "074", " 74", "74\n", "74 "]),
    (Matcher(in_=("a", "b")), ["a", "b"], ["", "c", "ab", "A", "a,b"]),
    (Matcher(prefix="refs/tags/v"), ["refs/tags/v", "refs/tags/v1"], ["refs/tags/", "xrefs/tags/v1", "Refs/tags/v1"]),
    (
        Matcher(semver_range=">=1.2.0 <2.0.0"),
        ["1.2.0", "v1.2.0", "1.10.0", "1.2.0+build.7", "1.99.99"],
        ["2.0.0", "1.1.9", "1.2", "01.2.0", "1.2.0-rc.1", "2.0.0-rc.1", "", "latest", "1.3.0\n", "vv1.3.0", "1.2.0.0"],
    ),
    (
        Matcher(semver_range=">=1.2.0-rc.2 <2.0.0"),
        ["1.2.0-rc.2", "1.2.0-rc.10", "1.2.0-rd", "1.2.0-rc.2.1", "1.2.0"],
        ["1.2.0-rc.1", "1.2.0-rc", "1.2.0-alpha", "1.3.0-rc.3", "1.2.0-9"],
    ),
    (Matcher(semver_range="=1.0.0"), ["1.0.0", "1.0.0+x"], ["1.0.1", "1.0.0-a"]),
    (Matcher(int_range=(-1, 10)), ["-1", "0", "7", "10"], ["11", "-2", "07", "+7", "7.0", "", " 7", "٧", "-0"]),
    (Matcher(set_subset=("ci", "release")), ["ci", "release,ci", "ci ci"], ["", ",", "ci,admin", "CI", "ci;release"]),
]  # fmt: skip


@pytest.mark.parametrize("place", range(len(MATCHERS)))
def test_matchers(place: int) -> None:
    """Each accepts these texts and none of those."""
    matcher, good, bad = MATCHERS[place]

    assert [text for text in good if not matches(matcher, text)] == []
    assert [text for text in bad if matches(matcher, text)] == []
    assert shown(matcher)


texts = st.sampled_from(["", "a", "ab", "abc", "b", "1", "2", "10", "1.0.0", "1.2.0", "2.0.0-a", "a,b", "b a"])
matchers = st.one_of(
    st.builds(lambda text: Matcher(eq=text), texts),
    st.builds(lambda some: Matcher(in_=tuple(some)), st.lists(texts.filter(bool), min_size=1, max_size=3)),
    st.builds(lambda text: Matcher(prefix=text), texts),
    st.builds(lambda low, more: Matcher(int_range=(low, low + more)), st.integers(-2, 10), st.integers(0, 9)),
    st.sampled_from([Matcher(semver_range=">=1.0.0"), Matcher(semver_range="<2.0.0"), Matcher(semver_range="=1.2.0")]),
    st.builds(lambda some: Matcher(set_subset=tuple(some)), st.lists(texts.filter(bool), min_size=1, max_size=3)),
)


@given(one=matchers, other=matchers, text=texts)
def test_comparing_matchers_is_sound(one: Matcher, other: Matcher, text: str) -> None:
    """What lies within another accepts nothing else; what is apart shares nothing; few values are all values."""
    if within(one, other):
        assert not matches(one, text) or matches(other, text)
    if apart(one, other):
        assert not (matches(one, text) and matches(other, text))
    few = values(one)
    assert few is None or matches(one, text) == (text in few)
    assert within(one, one)


def test_the_expected_pipeline_matches() -> None:
    """The token of the example: the rule, verdict match, and every field with what was presented (GR-23)."""
    match = compiled(FIRMWARE).match(token(), LINE)

    assert match.rule is not None
    assert (match.verdict, match.rule.id, match.closest) == ("match", "gha-release", "gha-release")
    assert all(field.ok for field in match.fields)
    presented = {field.name: field.presented for field in match.fields}
    assert presented == {"issuer": GITHUB, **CLAIMS}


DEMANDED = sorted(set(CLAIMS) - {"event_name", "fork"})


@pytest.mark.parametrize("claim", DEMANDED)
@pytest.mark.parametrize("presented", [None, "", "x", "74 ", "refs/heads/v1"])
def test_one_wrong_claim_is_a_mismatch(claim: str, presented: str | None) -> None:
    """Another value or none: verdict mismatch, and exactly that field is not good."""
    match = compiled(FIRMWARE).match(token(**{claim: presented}), LINE)

    assert (match.verdict, match.rule, match.rules) == ("mismatch", None, ())
    assert [(field.name, field.presented) for field in match.fields if not field.ok] == [(claim, presented or "")]


def test_another_issuer_is_a_mismatch() -> None:
    """The same claims from elsewhere."""
    match = compiled(FIRMWARE).match(token(issuer="https://evil.example"), LINE)

    assert match.verdict == "mismatch"
    assert [field.name for field in match.fields if not field.ok] == ["issuer"]


FORKS = [
    {"event_name": "pull_request_target"},
    {"build_trigger": "external_pull_request_event"},
    {"pipeline_source": "external_pull_request_event"},
    {"ref_protected": "false"},
    {"fork": "true"},
]


@pytest.mark.parametrize("claims", FORKS)
def test_forks_and_unprotected_refs_never_match(claims: dict[str, str]) -> None:
    """At class low and above, although the rule does not ask (GR-104); at class test the rule alone decides."""
    rules = TOKENS.replace('claims.ref_protected = { eq = "true" }\nclaims.event_name = { in = ["push"] }\n', "")
    who = token(ref="refs/heads/main", **claims)

    assert compiled(simple(rules=rules)).match(token(ref="refs/heads/main"), APP).verdict == "match"
    assert compiled(simple(rules=rules)).match(who, APP).verdict == "mismatch"
    assert compiled(simple(rules=rules, class_="test")).match(who, APP).verdict == "match"


def test_certificates_match_by_name() -> None:
    """Exactly the names of the rule; a token never passes for a certificate, nor the reverse."""
    policy = compiled(simple(rules=NAMES))

    match = policy.match(certificate(), APP)
    assert (match.verdict, match.rule and match.rule.id, match.fields[0].ok) == ("match", "ci", True)
    stranger = policy.match(certificate("uri:spiffe://acme/ci2"), APP)
    assert (stranger.verdict, stranger.fields[0].presented) == ("mismatch", "uri:spiffe://acme/ci2")
    assert policy.match(token(), APP).verdict == "absent"
    assert compiled(FIRMWARE).match(certificate(), LINE).verdict == "absent"
    fake = Identity("uri:spiffe://acme/ci", bytes(32), 0, claims=tuple(sorted(CLAIMS.items())))
    assert compiled(FIRMWARE).match(fake, LINE).rule is None


def test_unknown_lines_have_no_rules() -> None:
    """No such line, no rules: verdict absent, without fields."""
    policy = compiled(simple())

    for line in ("no/such/line/at/all", APP, "", "*"):
        match = policy.match(certificate(), line)
        assert (match.verdict, match.rule, match.closest, match.fields) == ("absent", None, "", ())
        assert match.admit(ask(line), NOW) == (None, "NOT_PERMITTED")


def test_the_closest_rule_explains() -> None:
    """Of several rules that do not match, the one that fails in the fewest fields is told."""
    other = TOKENS.replace("RULE.gha", "RULE.far").replace('"74"', '"1"').replace('"65"', '"2"')
    match = compiled(simple(rules=other + TOKENS)).match(token(ref="refs/heads/dev"), APP)

    assert match.closest == "gha"
    assert [field.name for field in match.fields if not field.ok] == ["ref"]


def test_long_presented_values_are_cut() -> None:
    """What goes into the record is bounded."""
    match = compiled(FIRMWARE).match(token(ref="r" * 100_000), LINE)

    assert max(len(field.presented) for field in match.fields) == 512


def test_the_memo_knows_objects_not_names() -> None:
    """The same object gets the same answer; an equal name with other claims gets its own; the memo stays bounded."""
    policy = compiled(FIRMWARE)
    good, bad = token(), token(repository_id="75")

    assert policy.match(good, LINE) is policy.match(good, LINE)
    assert good.id == bad.id
    assert [policy.match(who, LINE).verdict for who in (good, bad, good)] == ["match", "mismatch", "match"]
    for number in range(MEMO_MAX + 10):
        policy.match(certificate(f"uri:{number}"), LINE)
    assert len(policy._memo) <= MEMO_MAX
    assert policy.match(good, LINE).verdict == "match"


def test_line_names_that_callers_make_up_are_not_remembered() -> None:
    """Whoever asks for lines that are not there, as many as he likes, has no answer of others forgotten."""
    policy = compiled(FIRMWARE)
    known, stranger = policy.match(token(), LINE), certificate()
    for number in range(MEMO_MAX + 10):
        assert policy.match(stranger, f"no/such/line/at/{number}").verdict == "absent"

    assert list(policy._memo.values()) == [known]


def test_the_lines_that_somebody_may_request_are_found_without_a_memory_of_the_others() -> None:
    """A list of all that he may request says what each decision would, and has nothing forgotten by being long."""
    policy = compiled(simple(rules=NAMES + TOKENS) + FIRMWARE.replace("schema = 1", ""))

    for who, lines in ((certificate(), [APP]), (token(), [LINE]), (token(ref="refs/heads/main"), [APP]),
                       (certificate("uri:x"), [])):  # fmt: skip
        assert policy.requestable(who) == lines == [line for line in (APP, LINE) if policy.evaluate(who, line).rule]
    assert not policy._memo


def rule_of(artifact: str = "", tail: str = "", more: str = "") -> Rule:
    """A rule with this artifact section."""
    section = f"artifact = {{ {artifact} }}\n" if artifact else ""
    (rule,) = compiled(simple(rules=NAMES + section + more, tail=tail)).lines[APP].rules
    return rule


ADMITTED = [
    ("", ask(), ""),
    ('digest_algs = ["sha384"]', ask(), ""),
    ('digest_algs = ["sha256"]', ask(), "ALGORITHM_NOT_ALLOWED"),
    ('kinds = ["uefi-capsule"]', ask(), ""),
    ('kinds = ["image"]', ask(), "ARTIFACT_NOT_ALLOWED"),
    ('kinds = ["uefi-capsule"]', ask(artifact=replace(CAPSULE, media_type="")), "ARTIFACT_NOT_ALLOWED"),
    ('kinds = ["uefi-capsule"]', batch(), "ARTIFACT_NOT_ALLOWED"),
    ("max_size = 4096", ask(), ""),
    ("max_size = 4095", ask(), "ARTIFACT_NOT_ALLOWED"),
    ("max_size = 4096", ask(artifact=replace(CAPSULE, size=0)), "ARTIFACT_NOT_ALLOWED"),
    ("max_size = 9", batch(sizes=(9, 9)), ""),
    ("max_size = 9", batch(sizes=(9, 10)), "ARTIFACT_NOT_ALLOWED"),
    ("max_size = 9", batch(sizes=(9, 0)), "ARTIFACT_NOT_ALLOWED"),
    ("max_size = 9", batch(), "ARTIFACT_NOT_ALLOWED"),
    ('names = { prefix = "router" }', ask(), ""),
    ('names = { prefix = "switch" }', ask(), "ARTIFACT_NOT_ALLOWED"),
    ('names = { prefix = "a" }', batch(("a1", "a2")), ""),
    ('names = { prefix = "a" }', batch(("a1", "b2")), "ARTIFACT_NOT_ALLOWED"),
    ('names = { prefix = "a" }', batch(), "ARTIFACT_NOT_ALLOWED"),
    ('versions = { semver_range = ">=1.2.0" }', ask(), ""),
    ('versions = { semver_range = ">1.2.0" }', ask(), "ARTIFACT_NOT_ALLOWED"),
    ('versions = { semver_range = ">1.2.0" }', ask(artifact=replace(CAPSULE, version="")), "ARTIFACT_NOT_ALLOWED"),
]


@pytest.mark.parametrize("place", range(len(ADMITTED)))
def test_artifacts(place: int) -> None:
    """What a rule asks about the artifact must have been said, of every item of a batch, and fit."""
    artifact, asked, reason = ADMITTED[place]

    assert rule_of(artifact).admits(asked, NOW) == reason


def at(text: str) -> int:
    """Unix seconds of a time in UTC."""
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp())


def test_calendars() -> None:
    """To the minute, on its days, and not on closed ones."""
    office = '[calendar.office]\ndays = ["mon", "wed"]\nfrom = "08:00"\nuntil = "18:00"\nclosed = ["2026-12-23"]\n'
    rule = rule_of(more='calendar = "office"\n', tail=office)
    times = {
        "2026-11-25T08:00:00": "",  # a Wednesday
        "2026-11-25T17:59:59": "",
        "2026-11-23T12:00:00": "",
        "2026-11-25T07:59:59": "OUTSIDE_CALENDAR",
        "2026-11-25T18:00:00": "OUTSIDE_CALENDAR",
        "2026-11-26T12:00:00": "OUTSIDE_CALENDAR",
        "2026-12-23T12:00:00": "OUTSIDE_CALENDAR",
        "2026-12-30T12:00:00": "",
    }

    assert {time: rule.admits(ask(), at(time)) for time in times} == times


def test_a_later_rule_may_admit_what_an_earlier_does_not() -> None:
    """`admit` takes the first rule that admits the request; without one, the first rule's reason."""
    first = NAMES + 'artifact = { digest_algs = ["sha256"] }\n'
    second = NAMES.replace("RULE.ci", "RULE.big") + 'artifact = { kinds = ["uefi-capsule"] }\n'
    match = compiled(simple(rules=first + second)).match(certificate(), APP)

    assert [rule.id for rule in match.rules] == ["ci", "big"]
    admitted, reason = match.admit(ask(APP), NOW)
    assert (admitted and admitted.id, reason) == ("big", "")
    other = ask(APP, artifact=replace(CAPSULE, media_type="image"))
    assert match.admit(other, NOW) == (None, "ALGORITHM_NOT_ALLOWED")
    assert match.admit(ask(APP, DigestAlgorithm.SHA256), NOW)[0] is match.rule


def test_who_can_sign() -> None:
    """Everybody that a line's rules name, from the policy alone (GR-73)."""
    policy = compiled(simple(rules=NAMES + TOKENS.replace('{ eq = "74" }', '{ in = ["74", "81"] }')))
    rights = who_can_sign(policy, APP)

    assert [(right.who, right.rule) for right in rights] == [
        ("uri:spiffe://acme/ci", "ci"), ("repository 74", "gha"), ("repository 81", "gha"),
    ]  # fmt: skip
    assert f"aud = {AUDIENCE}" in rights[1].conditions
    assert who_can_sign(policy, "no/such/line/at/all") == []


def test_what_can_sign() -> None:
    """Every line and rule that lets this identity ask; nothing for a stranger."""
    policy = compiled(simple(rules=NAMES + TOKENS) + FIRMWARE.replace("schema = 1", ""))

    assert [(right.line, right.rule) for right in what_can_sign(policy, certificate())] == [(APP, "ci")]
    (right,) = what_can_sign(policy, token())
    assert (right.line, right.quorum, right.constraint, right.gates[0]) == (
        LINE,
        2,
        "exact-digests",
        "release.manifest",
    )
    assert what_can_sign(policy, certificate("uri:x")) == []
