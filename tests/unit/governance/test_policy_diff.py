"""Does a diff say by meaning what a policy changes, and take nothing for harmless that gives more or demands less?"""

from __future__ import annotations

import re
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.policies import (
    APPROVALS,
    AUDIENCE,
    FIRMWARE,
    GITHUB,
    LINE,
    NAMES,
    TOKENS,
    certificate,
    compiled,
    simple,
    token,
)
from sealpress.governance.diff import diff
from sealpress.governance.rules import Policy
from sealpress.values import Artifact, DigestAlgorithm, Identity, SignAsk

APP = "acme/app/eu/prod/images"
RELEASE = simple(
    class_="release",
    rules=TOKENS
    + 'artifact = { max_size = 9, names = { prefix = "a" } }\ngrant = { max_uses = 5 }\nmax_per_minute = 9\n'
    'gates = ["release.open"]\ncalendar = "office"\n',
    extra='owner = "person:alice"\ntrusts = ["ota"]\nisolation = "process"\nrelease = "outcome"\n'
    'digest_algs = ["sha256"]\nmax_requesters = 4',
    tail=APPROVALS
    + '[calendar.office]\ndays = ["mon"]\nfrom = "08:00"\nuntil = "18:00"\n[audit]\nidentities = ["uri:audit"]\n',
)

# (what is changed, into what, what the diff says): each of them loosens, and its reverse tightens.
LOOSENINGS: dict[str, tuple[str, str, str]] = {
    "one more repository": ('{ eq = "74" }', '{ in = ["74", "81"] }', f"+ repository 81 may now request on line {APP}"),
    "a lower quorum": (
        'issuance = { quorum = 2, groups = ["key-officers"] }',
        'issuance = { quorum = 1, groups = ["key-officers"] }',
        f"quorum of issuance on {APP} 2→1",
    ),
    "one more group": ('["key-officers"]', '["key-officers", "it"]', f"+ group it may now approve issuance on {APP}"),
    "a longer approval": (
        "signing = { quorum = 1,", 'signing = { valid = "7d", quorum = 1,',
        f"an approval of signing on {APP} counts for 1d→7d",
    ),
    "a wider ref": (
        '{ eq = "refs/heads/main" }', '{ prefix = "refs/heads/" }', "ref of rule gha on "
    ),
    "a claim less": ('claims.ref_protected = { eq = "true" }\n', "", "→anything"),
    "one more algorithm": ('["sha256"]', '["sha256", "sha384"]', f"+ algorithm sha384 on {APP}"),
    "more requesters": ("max_requesters = 4", "max_requesters = 5", f"max_requesters of {APP} 4→5"),
    "less isolation": ('"process"', '"shared"', f"isolation of {APP} process→shared"),
    "leaf before outcome": ('"outcome"', '"leaf"', "release of"),
    "nothing trusts it": ('trusts = ["ota"]', "trusts = []", "- trust ota"),
    "operators together": ("max_requesters = 4", 'operator_separation = "warn"\nmax_requesters = 4', "strict→warn"),
    "a longer grant": ("max_uses = 5", 'max_ttl = "9h", max_uses = 5', "lasts 8h→9h"),
    "a weaker grant": ("max_uses = 5", 'constraint = "name-version", max_uses = 5', "manifest→name-version"),
    "more uses": ("max_uses = 5", "max_uses = 6", "5→6"),
    "a gate less": ('gates = ["release.open"]\n', "", "gates of"),
    "any time": ('calendar = "office"\n', "", "calendar of"),
    "one more day": ('["mon"]', '["mon", "tue"]', "calendar of"),
    "longer hours": ('"18:00"', '"19:00"', "calendar of"),
    "faster": ("max_per_minute = 9", "max_per_minute = 10", "9→10"),
    "no rate": ("max_per_minute = 9\n", "", "9→no bound"),
    "larger artifacts": ("max_size = 9", "max_size = 10", "9→10"),
    "artifacts of any size": ("max_size = 9, ", "", "9→no bound"),
    "any name": (', names = { prefix = "a" }', "", "anything"),
    "one more auditor": ('["uri:audit"]', '["uri:audit", "uri:b"]', "+ uri:b may now audit"),
    "one more rule": (
        "[calendar", NAMES.replace("RULE", f'line."{APP}".rule') + "[calendar", "+ uri:spiffe://acme/ci may now request"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LOOSENINGS)
def test_loosening_and_its_reverse(case: str) -> None:
    """One way loosens, the way back does not; both are told."""
    before, after, said = LOOSENINGS[case]
    assert RELEASE.count(before) == 1
    old, new = compiled(RELEASE), compiled(RELEASE.replace(before, after))
    there, back = diff(old, new), diff(new, old)

    assert [change.loosening for change in there] == [True] * len(there)
    assert any(said in change.text for change in there)
    assert back
    assert not any(change.loosening for change in back)


# Both ways are loosenings: others gain, or we cannot tell.
EITHER = {
    "another issuer": (GITHUB, "https://ci.example"),
    "another audience": (AUDIENCE, "https://other.example"),
    "another owner": ('"person:alice"', '"person:carol"'),
    "another repository": ('{ eq = "74" }', '{ eq = "75" }'),
    "another ref": ('{ eq = "refs/heads/main" }', '{ eq = "refs/heads/next" }'),
    "another group": ('["key-officers"]', '["it"]'),
    "other hours": ('"08:00"', '"09:00"\nclosed = []'),
    "provenance": ("max_per_minute = 9", "max_per_minute = 9\nprovenance = { min_level = 3 }"),
    "number of digests": ("max_uses = 5", 'max_ttl = "8h"'),
    "another format": ('mode = "proof"\nformat = "tlog-proof"', 'mode = "direct"\nformat = "ecdsa-der"'),
    "certificates for tokens": (
        TOKENS.replace("RULE", f'line."{APP}".rule'),
        NAMES.replace("RULE.ci", f'line."{APP}".rule.gha'),
    ),
}
ONE_WAY = {"other hours"}


@pytest.mark.parametrize("case", EITHER)
def test_what_cannot_be_compared_loosens(case: str) -> None:
    """In doubt the root quorum decides."""
    before, after = EITHER[case]
    assert RELEASE.count(before) == 1
    old, new = compiled(RELEASE), compiled(RELEASE.replace(before, after))
    loosened = [any(change.loosening for change in changes) for changes in (diff(old, new), diff(new, old))]

    assert loosened == ([False, True] if case in ONE_WAY else [True, True])


def test_classes() -> None:
    """Down is a loosening, whatever else changes; up tells what the class brings."""
    down = diff(compiled(simple(class_="low")), compiled(simple(class_="test")))
    up = diff(compiled(simple(class_="test")), compiled(simple(class_="low")))

    assert next(change for change in down if change.text.startswith("class")).loosening
    assert not any(change.loosening for change in up)


def test_lines() -> None:
    """A new line gives to all whom it names; a line that goes takes away."""
    one, two = compiled("schema = 1\n"), compiled(RELEASE)

    assert [str(change) for change in diff(one, two)] == [
        "+ uri:audit may now audit (loosening, root quorum)",
        f"+ line {APP} of class release (loosening, root quorum)",
        f"+ repository 74 may now request on line {APP} (rule gha) (loosening, root quorum)",
    ]
    assert f"- line {APP}: nobody may request on it" in [str(change) for change in diff(two, one)]


def test_the_last_auditor_is_not_easily_sent_away() -> None:
    """One of two goes by tightening, the last one by the root quorum."""
    texts = [simple(tail=f"[audit]\nidentities = {names}\n") for names in ('["uri:a", "uri:b"]', '["uri:a"]', "[]")]
    both, one, none = map(compiled, texts)

    assert [change.loosening for change in diff(both, one)] == [False]
    assert [change.loosening for change in diff(one, none)] == [True]


def test_paths_of_an_exception_and_of_the_node() -> None:
    """An exception's path makes exceptions possible; whom the node's paths need is compared, too."""
    without = re.sub(r"exception .*\n", "", FIRMWARE)
    officers = FIRMWARE + '[approvals]\naccess = { quorum = 3, groups = ["access-admins", "security-officers"] }\n'

    assert [change.loosening for change in diff(compiled(without), compiled(FIRMWARE))] == [True]
    assert [change.loosening for change in diff(compiled(FIRMWARE), compiled(without))] == [False]
    assert [str(change) for change in diff(compiled(officers), compiled(FIRMWARE))] == [
        "quorum of access of the node 3→2 (loosening, root quorum)"
    ]
    assert [change.loosening for change in diff(compiled(FIRMWARE), compiled(officers))] == [False]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("min_groups = 2, ", ""),
        ('must_include = ["security-officers"]', 'must_include = ["release-approvers", "security-officers"]'),
        ('"sk+uv"', '"sk+uv"'),
        ('isolation = "slot"', 'isolation = "hsm"'),
    ],
)
def test_paths_of_firmware(before: str, after: str) -> None:
    """Fewer groups, fewer who must, and less isolation loosen; never both ways."""
    old, new = compiled(FIRMWARE), compiled(FIRMWARE.replace(before, after))
    loosened = [any(change.loosening for change in changes) for changes in (diff(old, new), diff(new, old))]

    assert loosened.count(True) == (before != after)


def test_witnesses() -> None:
    """Not to wait for a witness any more is a loosening (GR-36)."""
    old, new = compiled(RELEASE.replace("max_requesters", 'hold = "witnessed"\nmax_requesters')), compiled(RELEASE)

    assert {str(change) for change in diff(old, new)} == {
        f"hold of {APP} witnessed→none (loosening, root quorum)",
        f"hold of rule gha on {APP} witnessed→none (loosening, root quorum)",
    }
    assert not any(change.loosening for change in diff(new, old))


def test_other_words_for_the_same_change_nothing() -> None:
    """Comments, order of lines, a list of one, a default written out."""
    same = "# a comment\n" + RELEASE.replace('{ eq = "refs/heads/main" }', '{ in = ["refs/heads/main"] }')
    default = RELEASE.replace(
        'groups = ["key-officers"]', 'credential = "sk", valid = "24h", groups = ["key-officers"]'
    )

    assert diff(compiled(RELEASE), compiled(same)) == []
    assert diff(compiled(RELEASE), compiled(default)) == []


FIRST = NAMES + 'gates = ["release.open"]\n'
SECOND = NAMES.replace("RULE.ci", "RULE.old")


def test_a_rule_that_goes_may_loosen() -> None:
    """Its requests fall to a later rule that demands less; likewise if it only admits less, or comes later."""
    both = simple(rules=FIRST + SECOND)
    gone = simple(rules=SECOND)
    less = simple(rules=FIRST.replace("gates", 'artifact = { kinds = ["image"] }\ngates') + SECOND)
    later = simple(rules=SECOND + FIRST)
    other = simple(rules=FIRST + SECOND.replace("acme/ci", "acme/other"))

    for text in (gone, less, later):
        changes = diff(compiled(both), compiled(text))
        assert ["which demands less" in change.text for change in changes if change.loosening] == [True]
    assert [change.loosening for change in diff(compiled(later), compiled(both))] == [False]
    assert not any(
        change.loosening
        for change in diff(compiled(other), compiled(simple(rules=SECOND.replace("acme/ci", "acme/other"))))
    )


def test_the_firmware_line_of_the_specification() -> None:
    """The example of GOVERNANCE 4, word for word but for the name of the path."""
    text = FIRMWARE.replace('{ eq = "74" }', '{ in = ["74", "81"] }').replace("quorum = 3", "quorum = 2")

    assert [str(change) for change in diff(compiled(FIRMWARE), compiled(text))] == [
        f"quorum of issuance on {LINE} 3→2 (loosening, root quorum)",
        f"+ repository 81 may now request on line {LINE} (rule gha-release) (loosening, root quorum)",
    ]


# Random policies over a few names, so that rules overlap and matchers nearly fit.
some = st.sampled_from
TEXTS = ["1", "2", "10", "1.0.0", "1,2"]
matcher = st.one_of(
    st.builds(lambda text: {"eq": text}, some(TEXTS)),
    st.builds(lambda texts: {"in": sorted(texts)}, st.sets(some(TEXTS), min_size=1)),
    st.builds(lambda text: {"prefix": text}, some(["", "1", "10", "1."])),
    st.builds(lambda low, more: {"int_range": [low, low + more]}, st.integers(0, 2), st.integers(0, 9)),
    some([{"semver_range": ">=1.0.0"}, {"semver_range": ">1.0.0"}, {"set_subset": ["1", "2"]}, {"set_subset": ["1"]}]),
)
identities = st.lists(some(["uri:a", "uri:b"]), min_size=1, unique=True)
claims = st.dictionaries(some(["repository_id", "ref"]), matcher, min_size=1)
shared: dict[str, st.SearchStrategy[Any]] = {
    "gates": some([["release.open"], ["release.open", "release.promote"]]),
    "max_per_minute": some([1, 2]),
    "calendar": some(["all", "day", "monday"]),
    "grant": some([{"max_ttl": "1h"}, {"max_ttl": "2h"}]),
    "artifact": st.one_of(
        st.fixed_dictionaries({"kinds": some([["a"], ["a", "b"]])}),
        st.fixed_dictionaries({"digest_algs": some([["sha256"], ["sha256", "sha384"]])}),
        st.fixed_dictionaries({"max_size": some([1, 2])}),
        st.fixed_dictionaries({"names": matcher}),
        st.fixed_dictionaries({"versions": matcher}),
    ),
}
names_rule = st.fixed_dictionaries({"action": st.just("sign"), "identities": identities}, optional=shared)
token_rule = st.fixed_dictionaries(
    {
        "action": st.just("sign"),
        "issuer": some([GITHUB, "https://b"]),
        "audience": st.just(AUDIENCE),
        "claims": claims,
    },
    optional=shared,
)
ANY = "a/b/c/d/e"
CALENDARS: dict[str, Any] = {"all": {}, "day": {"from": "10:00"}, "monday": {"days": ["mon"], "closed": ["1970-01-05"]}}
TIMES = (9 * 3_600, 11 * 3_600, 4 * 86_400 + 3_600, 11 * 86_400 + 3_600)  # a Thursday, two Mondays, the first closed
WHO = [certificate("uri:a"), certificate("uri:b")] + [
    token(issuer, repository_id=repository, ref=ref)
    for issuer in (GITHUB, "https://b")
    for repository in (*TEXTS, None)
    for ref in (*TEXTS, None)
]
WHAT = [
    SignAsk("r", ANY, algorithm, bytes(algorithm.size), Artifact(name, version, size, kind))
    for algorithm in (DigestAlgorithm.SHA256, DigestAlgorithm.SHA384)
    for name, version in (("1", "1.0.0"), ("10", "2"), ("", ""), ("2", "1,2"))
    for size in (0, 1, 2, 3)
    for kind in ("a", "b")
]


def of(rules: dict[str, Any], algorithms: list[str]) -> Policy:
    """A policy of one line."""
    line = {"class": "test", "mode": "proof", "format": "tlog-proof", "digest_algs": algorithms, "rule": rules}
    return compiled(tomli_w.dumps({"schema": 1, "line": {ANY: line}, "calendar": CALENDARS}))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Policy, Policy]:
    """Two policies that differ in one thing of one rule, or two: unrelated ones rarely only tighten."""
    rules = draw(st.dictionaries(some(["r", "s", "t"]), names_rule | token_rule, min_size=1, max_size=3))
    edited = dict(rules)
    for id_ in draw(st.lists(some(sorted(rules)), min_size=1, max_size=2, unique=True)):
        rule = dict(edited.pop(id_))
        act = draw(some(["drop", "move", "who", "claim", "shared", "shared", "take"]))
        own = "identities" if "identities" in rule else "claims"
        if act == "drop":
            continue
        if act == "who":
            rule[own] = draw(identities if own == "identities" else claims)
        elif act == "claim" and own == "claims":
            rule[own] = {**rule[own], draw(some(["repository_id", "ref"])): draw(matcher)}
        elif act == "shared":
            key = draw(some(sorted(shared)))
            rule[key] = draw(shared[key])
        elif act == "take":
            rule = {key: value for key, value in rule.items() if key not in shared or draw(st.booleans())}
        # In its place, except where it is the place that changes.
        edited = {name: rule if name == id_ else edited[name] for name in rules if name == id_ or name in edited}
        if act == "move":
            edited[id_] = edited.pop(id_)
    algorithms = some([["sha256", "sha384"]] * 4 + [["sha384", "sha256"]])
    return of(rules, draw(algorithms)), of(edited, draw(algorithms))


def check(old: Policy, new: Policy, who: Identity, when: int) -> None:
    """Whatever `who` may under the new policy he may under the old one, under demands that are no higher."""
    for what in WHAT:
        admitted, _ = new.match(who, ANY).admit(what, when)
        if admitted is None:
            continue
        before, reason = old.match(who, ANY).admit(what, when)
        assert before is not None, reason
        assert set(before.gates) <= set(admitted.gates)
        assert admitted.ttl_s_max <= before.ttl_s_max
        assert not before.max_per_minute or 0 < admitted.max_per_minute <= before.max_per_minute


@settings(max_examples=400, deadline=None)
@given(pair=pairs())
def test_what_does_not_loosen_gives_nothing(pair: tuple[Policy, Policy]) -> None:
    """If no change loosens, nobody gains a request, a longer grant or a higher rate, or loses a gate."""
    assert diff(pair[0], pair[0]) == diff(pair[1], pair[1]) == []
    for old, new in (pair, pair[::-1]):
        if not any(change.loosening for change in diff(old, new)):
            for who in WHO:
                if new.match(who, ANY).rule is not None:
                    for when in TIMES:
                        check(old, new, who, when)


@settings(max_examples=400, deadline=None)
@given(pair=pairs())
def test_a_change_of_meaning_is_told(pair: tuple[Policy, Policy]) -> None:
    """Policies between which the diff sees nothing decide everything alike."""
    old, new = pair
    if diff(old, new):
        return
    assert diff(new, old) == []
    for who in WHO:
        for when in TIMES:
            check(old, new, who, when)
            check(new, old, who, when)
