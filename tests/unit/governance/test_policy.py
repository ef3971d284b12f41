"""Is a policy read strictly, is nothing below its class's floor, and does silence mean the default?"""

from __future__ import annotations

import pytest

from kit.policies import APPROVALS, FIRMWARE, LINE, NAMES, TOKENS, compiled, simple
from sealpress.errors import ConfigError, Precondition
from sealpress.governance import policy as policies
from sealpress.governance.form import duration, seconds
from sealpress.governance.policy import compile_policy
from sealpress.values import DigestAlgorithm, Format, Identity, KeyClass, Mode

APP = "acme/app/eu/prod/images"
NOBODY = Identity("uri:x", bytes(32), 0)
RELEASE = simple(class_="release", rules=TOKENS, tail=APPROVALS)


def test_the_example_of_the_specification() -> None:
    """GOVERNANCE 4's line is good for a governed node, and every key of it arrives."""
    line = compiled(FIRMWARE, governed=True).lines[LINE]
    (rule,) = line.rules
    signing = line.required("signing")

    assert (line.class_, line.mode, line.format) == (KeyClass.FIRMWARE, Mode.DIRECT, Format.ECDSA_DER)
    assert (line.isolation, line.environment, line.operator_separation) == ("slot", "prod", "strict")
    assert (line.owner, line.backup_owner, line.max_requesters) == ("person:alice", "person:bob", 4)
    assert (rule.id, rule.ttl_s_max, rule.constraint, rule.max_uses) == ("gha-release", 28_800, "exact-digests", 0)
    assert rule.gates == ("release.manifest", "release.promote")
    assert rule.algorithms == {DigestAlgorithm.SHA384}
    assert (signing.quorum, signing.min_groups, signing.credential, signing.valid_s) == (2, 2, "sk+uv", 259_200)
    assert line.required("exception").must_include == ("security-officers",)
    assert line.required("issuance").path == "issuance"


def test_the_keys_of_the_first_policies_stay_valid() -> None:
    """What a node of class `test` has on its disk today compiles, to the same."""
    text = simple(
        "dev/demo/local/test/proof", "test", NAMES, 'digest_algs = ["sha256"]\nhold = "none"\nrelease = "leaf"'
    )
    line = compiled(text, governed=True).lines["dev/demo/local/test/proof"]

    assert (line.algorithms, line.hold, line.release) == ({DigestAlgorithm.SHA256}, "none", "leaf")
    assert line.rule_of["uri:spiffe://acme/ci"].id == "ci"


def test_the_same_bytes_mean_the_same() -> None:
    """Two compilations are equal and say whose bytes they are."""
    one, other = compiled(FIRMWARE), compiled(FIRMWARE)

    assert one == other
    assert one.body == FIRMWARE.encode()


def test_a_policy_that_is_asked_for_again_is_not_compiled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change is compiled at each step of its way; a file that was just compiled costs nothing, and shares no memo."""
    texts = [FIRMWARE, FIRMWARE + "# next"]
    first = [compiled(text, governed=True) for text in texts]
    first[0].match(NOBODY, LINE)
    decoded: list[str] = []
    decode = policies.decode_policy
    monkeypatch.setattr(policies, "decode_policy", lambda body, name: decoded.append(name) or decode(body, name))

    for _ in range(3):
        again = [compiled(text, governed=True) for text in texts]
        assert again == first
        assert not again[0]._memo
    assert decoded == []
    assert compiled(FIRMWARE) == first[0]  # an ungoverned node's may be another
    assert decoded == ["policy.toml"]
    for name in ("one", "other"):
        with pytest.raises(ConfigError, match=f"^{name}: "):
            compile_policy(b"nonsense", name)


@pytest.mark.parametrize(
    ("class_", "issuance", "signing", "credential", "ttl_s", "constraint", "isolation"),
    [
        ("test", 0, 0, "ssh", 3_600, "any", "shared"),
        ("low", 1, 0, "ssh", 3_600, "any", "shared"),
        ("release", 2, 1, "sk", 28_800, "manifest", "shared"),
        ("firmware", 2, 2, "sk+uv", 259_200, "exact-digests", "slot"),
        ("root", 3, 3, "sk+uv", 259_200, "exact-digests", "slot"),
    ],
)
def test_defaults_by_class(
    class_: str, issuance: int, signing: int, credential: str, ttl_s: int, constraint: str, isolation: str
) -> None:
    """Where the policy is silent, GOVERNANCE 2 speaks; below release the paths themselves have defaults."""
    tail = (
        ""
        if class_ in ("test", "low")
        else APPROVALS.replace("signing = { quorum = 1", f"signing = {{ quorum = {signing}")
    )
    tail = tail.replace("quorum = 2", f"quorum = {issuance}")
    line = compiled(simple(class_=class_, rules=TOKENS, tail=tail)).lines[APP]

    assert (line.required("issuance").quorum, line.required("signing").quorum) == (issuance, signing)
    assert line.required("signing").credential == credential
    assert (line.rules[0].ttl_s_max, line.rules[0].constraint, line.isolation) == (ttl_s, constraint, isolation)


def test_paths_of_the_node() -> None:
    """Without [approvals] a policy takes two persons with a security officer, access takes two; both can be said."""
    policy = compiled(RELEASE)
    said = compiled(RELEASE + '[approvals]\naccess = { quorum = 3, groups = ["it"] }\n')

    assert (policy.required("policy").quorum, policy.required("policy").must_include) == (2, ("security-officers",))
    assert (policy.required("access").quorum, policy.required("access").credential) == (2, "sk")
    assert (said.required("access").quorum, said.required("access").groups) == (3, ("it",))


def test_an_absent_path_is_no_path() -> None:
    """Exceptions exist only where the policy gives them a path."""
    with pytest.raises(Precondition, match="exception") as caught:
        compiled(RELEASE).lines[APP].required("exception")

    assert caught.value.reason == "NO_APPROVAL_PATH"


RULE = '[line."acme/app/eu/prod/images".rule.r]\naction = "sign"\n'
TOKEN = RULE + 'issuer = "https://i"\naudience = "a"\n'
LOW = simple()
TEST = simple(class_="test")
WRONG = {
    "no schema": ("", "schema"),
    "another schema": ("schema = 2", "schema"),
    "not TOML": ("schema = ", "policy.toml"),
    "a number without end": ("schema = " + "9" * 5_000, "policy.toml"),
    "brackets without end": ("schema = " + "[" * 5_000, "policy.toml"),
    "not UTF-8": ("schema = 1\n#\udcff", "policy.toml"),
    "unknown key": (LOW + "surprise = 1\n", "surprise"),
    "unknown key of a rule": (LOW + RULE + 'identities = ["uri:a"]\nallow = 1\n', "allow"),
    "unknown class": (simple(class_="high"), "class"),
    "line with four parts": (simple("a/b/c/d"), "five components"),
    "mode without its format": (LOW.replace('"tlog-proof"', '"rsa-pss"'), "does not go with"),
    "rule of nobody": (LOW + RULE, "rule.r|identities"),
    "empty identities": (LOW + RULE + "identities = []\n", "identities"),
    "both kinds of requesters": (LOW + TOKEN + 'identities = ["uri:a"]\nclaims.x = { eq = "1" }\n', "either"),
    "issuer without claims": (LOW + TOKEN, "belong together"),
    "claims without issuer": (LOW + RULE + 'claims.x = { eq = "1" }\n', "belong together"),
    "an identity of another kind": (LOW + RULE + 'identities = ["cn:alice"]\n', "not an identity"),
    "an identity with a line end": (LOW + RULE + 'identities = ["uri:a\\n"]\n', "not an identity"),
    "rule id": (LOW + RULE.replace(".r]", '."R x"]') + 'identities = ["uri:a"]\n', "rule id"),
    "two matchers": (LOW + TOKEN + 'claims.x = { eq = "1", prefix = "1" }\n', "exactly one"),
    "no matcher": (LOW + TOKEN + "claims.x = {}\n", "exactly one"),
    "a regular expression": (LOW + TOKEN + 'claims.x = { regex = ".*" }\n', "regex"),
    "a range of nothing": (LOW + TOKEN + "claims.x = { int_range = [2, 1] }\n", "int_range"),
    "a range of no versions": (LOW + TOKEN + 'claims.x = { semver_range = "1.x" }\n', "bound of versions"),
    "an audience twice": (LOW + TOKEN + 'claims.aud = { eq = "b" }\n', "audience"),
    "a name with a line end": (LOW + TOKEN + 'claims.x = { in = ["a\\n"] }\n', "claims"),
    "an unknown gate": (LOW + RULE + 'identities = ["uri:a"]\ngates = ["release.maybe"]\n', "gates"),
    "an unknown calendar": (LOW + RULE + 'identities = ["uri:a"]\ncalendar = "office"\n', "calendar.office"),
    "a night": (LOW + '[calendar.night]\nfrom = "22:00"\nuntil = "06:00"\n', "not before"),
    "a day that is none": (LOW + '[calendar.x]\nclosed = ["2026-02-30"]\n', "closed"),
    "more algorithms than the line": (
        simple(extra='digest_algs = ["sha256"]')
        + RULE
        + 'identities = ["uri:a"]\nartifact = { digest_algs = ["sha384"] }\n',
        "digest_algs",
    ),
    "another environment": (simple(extra='environment = "test"'), "environment"),
    "light key for firmware": (simple(class_="release", extra='trusts = ["boot"]'), "boot trusts it"),
    "provenance": (LOW + RULE + 'identities = ["uri:a"]\nprovenance = { required = true }\n', "not built yet"),
    "a grant of days": (LOW + RULE + 'identities = ["uri:a"]\ngrant = { max_ttl = "2d" }\n', "max_ttl"),
    "a duration without unit": (LOW + RULE + 'identities = ["uri:a"]\ngrant = { max_ttl = "60" }\n', "max_ttl"),
    "auditor": (LOW + '[audit]\nidentities = ["root"]\n', "not an identity"),
    "too large": (LOW + "#" * (1 << 20), "larger"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_policies_are_refused(case: str) -> None:
    """Each says what is wrong, under one reason."""
    text, said = WRONG[case]
    with pytest.raises(ConfigError, match=said) as caught:
        compile_policy(text.encode(errors="surrogateescape"))

    assert caught.value.reason == "POLICY"
    assert caught.value.hint


FLOORS = {
    "quorum of a release": (RELEASE.replace("quorum = 1", "quorum = 0"), "quorum 0 is less than 1"),
    "quorum of firmware": (FIRMWARE.replace("signing    = { quorum = 2", "signing = { quorum = 1"), "less than 2"),
    "quorum of root": (FIRMWARE.replace('class = "firmware"', 'class = "root"'), "less than 3"),
    "credential of a release": (
        RELEASE.replace('groups = ["release-approvers"]', 'groups = ["x"], credential = "ssh"'), 'less than "sk"',
    ),
    "credential of firmware": (FIRMWARE.replace('"sk+uv"', '"sk"'), 'less than "sk\\+uv"'),
    "constraint of firmware": (FIRMWARE.replace('"exact-digests"', '"manifest"'), "weaker"),
    "constraint of a release": (
        RELEASE.replace('action = "sign"', 'action = "sign"\ngrant = { constraint = "any" }'), "weaker",
    ),
    "uses of firmware": (FIRMWARE.replace('"exact-digests" }', '"exact-digests", max_uses = 9 }'), "one use"),
    "isolation of firmware": (FIRMWARE.replace('isolation = "slot"', 'isolation = "process"'), "isolation"),
    "approval for months": (RELEASE.replace("quorum = 1", 'valid = "31d", quorum = 1'), "30d"),
    "exception of a week": (FIRMWARE.replace('"4h"', '"7d"'), "valid is more than 1d"),
    "exception by one": (FIRMWARE.replace("exception  = { quorum = 2", "exception = { quorum = 1"), "less than 2"),
    "exception without officer": (
        FIRMWARE.replace('must_include = ["security-officers"]', "must_include = []"), "security-officers",
    ),
    "more groups than approvers": (FIRMWARE.replace("min_groups = 2", "min_groups = 3"), "min_groups"),
    "a group that must and may not": (
        FIRMWARE.replace('must_include = ["security-officers"]', 'must_include = ["board"]'), "must_include",
    ),
    "a policy by one": (RELEASE + '[approvals]\npolicy = { quorum = 1, groups = ["x"] }\n', "less than 2"),
    "a policy without officer": (
        RELEASE + '[approvals]\npolicy = { quorum = 2, groups = ["x"] }\n', "security-officers",
    ),
    "access by software keys": (
        RELEASE + '[approvals]\naccess = { quorum = 2, groups = ["x"], credential = "ssh" }\n', 'less than "sk"',
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FLOORS)
def test_nothing_lies_below_the_floor(case: str) -> None:
    """A policy may only tighten what its class demands (GR-36, 133)."""
    text, said = FLOORS[case]
    with pytest.raises(ConfigError, match=said):
        compiled(text)


def test_a_profile_only_tightens() -> None:
    """`regulated` demands two approvers and a slot of a release; `baseline` and `lab` do not."""
    two = RELEASE.replace("quorum = 1", "quorum = 2")
    line = compile_policy(two.encode(), profile="regulated").lines[APP]

    assert (line.required("signing").quorum, line.isolation) == (2, "slot")
    with pytest.raises(ConfigError, match="less than 2"):
        compile_policy(RELEASE.encode(), profile="regulated")
    assert compile_policy(RELEASE.encode(), profile="lab") == compile_policy(RELEASE.encode())


def test_a_governed_node_takes_no_policy_with_lint_errors() -> None:
    """What lint calls an error is a wrong policy there, and only there."""
    text = RELEASE.replace("retirement = ", "# ")

    assert compiled(text).lines
    with pytest.raises(ConfigError, match="retirement") as caught:
        compiled(text, governed=True)
    assert "policy validate" in caught.value.hint


def test_durations() -> None:
    """Read and written alike."""
    assert [seconds(text) for text in ("90s", "15m", "8h", "14d")] == [90, 900, 28_800, 1_209_600]
    assert [duration(number) for number in (90, 900, 28_800, 1_209_600, 0)] == ["90s", "15m", "8h", "14d", "0s"]


def test_the_manual_is_true() -> None:
    """The file that the manual shows compiles when its broken inline tables are put on one line."""
    manual = policies.__doc__ or ""
    start, end = manual.index("    schema = 1"), manual.index("Durations are")
    lines = [line.strip() for line in manual[start:end].splitlines()]
    text = ""
    for line in lines:
        line = line.split(" #")[0] if not line.startswith("#") else ""
        text += line if line.rstrip().endswith(",") else line + "\n"
    text = text.replace("organisation/product/region/environment/purpose", "…").replace("…", LINE)
    text = text.replace("<64 hex digits>", "0" * 64)

    assert [rule.id for rule in compiled(text).lines[LINE].rules] == ["ci", "gha"]
