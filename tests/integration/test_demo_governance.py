"""Does the governance demo show what it says, with commands that are real, in time, and leave nothing behind?"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from kit.shown import Shown, run_demo

SECONDS_MAX = 60


@pytest.fixture(scope="module")
def shown() -> Shown:
    """One run."""
    with tempfile.TemporaryDirectory(prefix="sp-demo-", dir="/tmp") as directory:
        return run_demo("--governance", here=Path(directory), temporary=Path(directory))


def test_it_succeeds_and_leaves_nothing(shown: Shown) -> None:
    """Exit code 0, nothing on stderr, no file left."""
    assert shown.code == 0, shown.text + shown.errors
    assert shown.errors == ""
    assert shown.left == []


@pytest.mark.slow
def test_it_is_short(shown: Shown) -> None:
    """Under a minute of processors; by the clock three, for machines that do other things meanwhile."""
    assert shown.cpu_s < SECONDS_MAX
    assert shown.elapsed_s < 3 * SECONDS_MAX


def test_it_says_that_it_is_a_laboratory(shown: Shown) -> None:
    """In the anchors, in what persons sign, and in the records that explain one image."""
    assert "profile lab (a laboratory" in shown.answer("sealpress anchors verify")
    assert "profile           lab  (a laboratory" in shown.answer("sealpress approve")
    assert re.search(r"profile +lab", shown.answer("sealpress log explain sha256:"))


def test_it_tells_the_whole_story(shown: Shown) -> None:
    """From anchors over persons, policy, key and release to retirement, each by its own command."""
    for command in (
        "sealpress anchors make", "sealpress anchors sign", "sealpress access enrol", "sealpress policy propose",
        "sealpress key propose", "sealpress custodian generate", "sealpress key activate", "sealpress grant request",
        "sealpress approve", "sealpress grant release", "sealpress sign ", "sealpress verify", "sealpress grant revoke",
        "sealpress key suspend", "sealpress key deactivate", "sealpress log explain", "sealpress access who",
    ):  # fmt: skip
        assert shown.answer(command), command


@pytest.mark.parametrize(
    "reason",
    ["DUTIES_CONFLICT", "QUORUM_REQUIRED", "HELD", "APPROVAL_NOT_YOURS", "NOT_PERMITTED", "GRANT_REVOKED"],
)
def test_it_shows_refusals(shown: Shown, reason: str) -> None:
    """Duties, automatic firmware, a gate, self-approval, another repository, a revoked grant: refused and recorded."""
    assert re.search(rf"^  \| sealpress: {reason}: .*\[recorded as \w{{26}}\]$", shown.text, re.MULTILINE)


def test_two_persons_approve_exact_digests(shown: Shown) -> None:
    """The first reads each image's digest in hex and in words, and its change's; the second completes the quorum."""
    change = re.findall(r"approve (\w+) --key fido/rita", shown.text)[0]
    screen = shown.answer(f"sealpress approve {change} --key fido/rita")

    assert len(re.findall(r"^  \|   sha256 [0-9a-f]{64}$", screen, re.MULTILINE)) == 3
    assert "boot.img 1.2.0, 98304 bytes" in screen
    assert re.search(r"change-sha256 +[0-9a-f]{64}", screen)
    assert f"change {change} is closed" in shown.answer(f"sealpress approve {change} --key fido/rob")


def test_one_image_is_explained(shown: Shown) -> None:
    """Who built, approved and released it, under which key, change and policy."""
    told = shown.answer("sealpress log explain sha256:")

    for words in (
        "built by person:carol", "person:rita (release-approvers)", "person:rob (product-security)",
        "release.promote passed by person:lena", "key          fw-1, class firmware",
    ):  # fmt: skip
        assert words in told


def test_what_was_signed_verifies_before_and_after_retirement(shown: Shown) -> None:
    """The same command, twice, with the published trust file; and both logs hold."""
    command = "sealpress verify --trust trust/fw-1.policy boot.img kernel.img"

    assert shown.commands.count(command) == 2
    assert shown.text.count("2 verified, 0 failed") == 2
    assert shown.text.count("the log holds") == 2


def test_its_commands_can_be_typed(shown: Shown) -> None:
    """Each is shown in full, first the directory and the environment; the programs are ours or on every machine."""
    programs = {command.split()[0] for command in shown.commands}

    assert programs == {"cd", "export", "kill", "sealpress", "sha256sum"}
    assert shown.commands[0].startswith("cd ")
    assert [command.split("=")[0] for command in shown.commands[1:4]] == [
        "export SOFTHSM2_CONF", "export SSH_SK_PROVIDER", "export SEALPRESS_LAB_SK_COUNTER",
    ]  # fmt: skip
