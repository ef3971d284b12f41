"""Does `sealpress hsm check` say what a token is and can, and never harm it? SoftHSM, straight and behind the shim."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit import shim
from kit.signer import PIN, SOFTHSM, Node, make_node

KEYS = {
    "ed": ("ed25519", "main", "proof", "tlog-proof"),
    "p256": ("p256", "main", "direct", "ecdsa-der"),
    "pss": ("rsa3072", "main", "direct", "rsa-pss"),
    "proof-rsa": ("rsa2048", "main", "proof", "tlog-proof"),
}
FINAL_TRY = 0x20000
CKA_LABEL, CKA_ID, CKA_SENSITIVE, CKA_UNWRAP, CKA_SIGN = 0x3, 0x102, 0x103, 0x107, 0x108


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """A provisioned token behind the shim."""
    directory = tmp_path_factory.mktemp("check")
    return make_node(directory / "n", keys=KEYS, module=str(shim.built()))


@pytest.fixture
def node(template: Node, tmp_path: Path) -> Node:
    """A copy of it."""
    return template.copy(tmp_path / "n")


@pytest.fixture
def token(tmp_path: Path) -> Iterator[shim.Shim]:
    """What the shim saw, and does."""
    with shim.Shim(tmp_path / "page", SOFTHSM) as page:
        yield page


def run(node: Node, token: shim.Shim, *arguments: str, code: int = 0) -> str:
    """Its standard output."""
    options = arguments or ("--config", str(node.config))
    done = subprocess.run(
        [sys.executable, "-m", "sealpress", "hsm", "check", *options],
        env={**node.env, **token.env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert PIN not in done.stdout + done.stderr
    return done.stdout


def one_token(node: Node, token: shim.Shim, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Of the JSON document the configured token."""
    options = arguments or ("--config", str(node.config))
    (module,) = json.loads(run(node, token, *options, "--json", code=code))["modules"]
    found: dict[str, Any] = module["tokens"][0]
    return found


def test_every_key_signs_and_is_described(node: Node, token: shim.Shim) -> None:
    """Kinds, attributes, a verified signature and a time for each; rates per number of sessions; one login."""
    found = one_token(node, token)

    assert (found["slot"], found["label"], found["logged_in"], found["problem"]) == ("s1", "kit", True, "")
    assert {key["key"]: key["kind"] for key in found["keys"]} == {name: plan[0] for name, plan in KEYS.items()}
    assert {key["signature"] for key in found["keys"]} == {"good"}
    assert all(key["deviation"] == "" and key["attributes"]["sensitive"] and key["latency_us"] for key in found["keys"])
    assert [rate["sessions"] for rate in found["rates"]] == [1, 2]
    assert {"ECDSA", "RSA_PKCS_PSS"} <= set(found["mechanisms"])
    asked = {"ed": "EDDSA", "p256": "ECDSA", "pss": "RSA_PKCS_PSS", "proof-rsa": "SHA256_RSA_PKCS_PSS"}
    assert {key["key"]: key["mechanism"] for key in found["keys"]} == asked
    assert token["C_Login"] == 1


def test_a_probe_key_is_no_stranger(node: Node, token: shim.Shim) -> None:
    """It signs like the others, and nobody is told to take it away."""
    text = node.config.read_text()
    before, _, behind = text.partition("[key.ed]")
    probe = '[slot.s1.probe_key]\npublic_key = "keys/ed.pem"\ncka_label = "ed"\n'
    node.config.write_text(before + behind[behind.index("[key.") :] + probe)
    found = one_token(node, token)

    assert {key["key"]: key["signature"] for key in found["keys"]}["[probe]"] == "good"
    assert not any("GR-01" in told for told in found["advice"])


def test_people_get_a_table(node: Node, token: shim.Shim) -> None:
    """Module, token, keys, rates and advice in words."""
    said = run(node, token)

    assert "SoftHSM" in said
    assert all(name in said for name in KEYS)
    assert "for development and tests" in said


def test_a_label_does_not_drive_the_terminal(node: Node, token: shim.Shim) -> None:
    """Whoever made a key on the token named it as he liked: what is shown is text."""
    token.inject("C_GetAttributeValue", shim.odd(CKA_LABEL, b"\x1b]0;root\x1b[2J"))
    shown = run(node, token)

    assert "\x1b" not in shown
    assert "\\x1b]0;root" in shown


def test_a_rejected_pin_is_tried_once(node: Node, token: shim.Shim) -> None:
    """However often it is run; the signer does not try it either."""
    (node.directory / "signer").mkdir()
    (node.directory / "pin").write_text("not-the-pin\n")
    told = [one_token(node, token, code=1)["problem"] for _ in range(2)]

    assert all(problem.startswith("PIN_REJECTED") for problem in told)
    assert token["C_Login"] == 1


def test_a_token_of_two_slots_sees_a_pin_once(node: Node, token: shim.Shim) -> None:
    """The signer would not start with them; whoever looks before that must not pay for it with two wrong tries."""
    text = node.config.read_text()
    slot = text[text.index("[slot.s1]") :].split("\n\n")[0].split("\n[key")[0]
    node.config.write_text(text + "\n" + slot.replace("[slot.s1]", "[slot.s2]") + "\n")
    (node.directory / "pin").write_text("not-the-pin")
    (module,) = json.loads(run(node, token, "--config", str(node.config), "--json", code=1))["modules"]

    assert [one["slot"] for one in module["tokens"]] == ["s1", "s2"]
    assert "this is the token of [slot.s1]" in module["tokens"][1]["problem"]
    assert token["C_Login"] == 1


def test_the_last_try_is_a_persons(node: Node, token: shim.Shim) -> None:
    """With USER_PIN_FINAL_TRY set nothing is tried, and the advice says so."""
    token.inject("C_GetTokenInfo", shim.token_flags(FINAL_TRY))
    found = one_token(node, token, code=1)

    assert found["problem"].startswith("TOKEN_LOCKED")
    assert any("by hand" in told for told in found["advice"])
    assert token["C_Login"] == 0


def test_a_wrong_signature_is_told(node: Node, token: shim.Shim) -> None:
    """One bit of it is enough; a CK_RV is told by its number."""
    token.inject("C_Sign", shim.corrupt(9), shim.nth(1))
    token.inject("C_Sign", shim.answer(0x30), shim.nth(2))
    said = {key["key"]: key["signature"] for key in one_token(node, token, code=1)["keys"]}

    assert said == {"ed": "WRONG: it does not verify", "p256": "CKR 0x30", "proof-rsa": "good", "pss": "good"}


def test_a_key_that_nobody_configured_is_listed_and_not_used(node: Node, token: shim.Shim) -> None:
    """The advice names it (GR-01); a configured key that is not there is missed."""
    text = node.config.read_text()
    node.config.write_text(text.replace("[key.p256]", "[key.stranger]").replace("keys/p256.pem", "main.pub"))
    found = one_token(node, token, code=1)
    unknown = next(key for key in found["keys"] if key["label"] == "p256")

    assert (unknown["key"], unknown["signature"]) == ("", "untried")
    assert any("GR-01" in told and "p256" in told for told in found["advice"])
    assert found["missing"] == ["stranger"]


def test_a_module_is_looked_at_before_anything_is_configured(node: Node, token: shim.Shim) -> None:
    """By its path alone: its tokens. With label and PIN file: its keys too."""
    module = str(node.config.read_text().split('module = "')[1].split('"')[0])
    assert one_token(node, token, "--module", module)["label"] == "kit"
    assert token["C_Login"] == 0
    found = one_token(node, token, "--module", module, "--label", "kit", "--pin-file", str(node.directory / "pin"))

    assert [key["signature"] for key in found["keys"]] == ["good"] * len(KEYS)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [(CKA_SIGN, bytes(8)), (CKA_UNWRAP, b""), (CKA_SENSITIVE, bytes(4)), (CKA_LABEL, b"\xff\xfe"), (CKA_ID, b"")],
    ids=["sign in 8 bytes", "empty unwrap", "sensitive in 4 bytes", "label that is no text", "empty id"],
)
def test_an_odd_attribute_is_one_that_is_not_told(node: Node, token: shim.Shim, attribute: int, value: bytes) -> None:
    """Whatever a token says that is no value of the attribute's type, its keys are found, described, and sign."""
    token.inject("C_GetAttributeValue", shim.odd(attribute, value))
    found = one_token(node, token)

    assert [key["signature"] for key in found["keys"]] == ["good"] * len(KEYS)
    assert all("sensitive" not in key["attributes"] for key in found["keys"]) == (attribute == CKA_SENSITIVE)


def test_a_token_that_cannot_be_looked_at_hides_no_other(node: Node, token: shim.Shim) -> None:
    """A reader with a foreign card in it, say: it has its problem, and the next token its flags and mechanisms."""
    pins = ["--so-pin", "kit-so-pin-5512", "--pin", PIN]
    another = ["softhsm2-util", "--init-token", "--free", "--label", "another", *pins]
    subprocess.run(another, env=node.env, check=True, capture_output=True)
    token.inject("C_OpenSession", shim.answer(0xE1), shim.ONCE)
    (module,) = json.loads(run(node, token, "--module", str(shim.built()), "--json", code=1))["modules"]
    refused, seen = module["tokens"]

    assert refused["problem"].startswith("TOKEN_FAILED: the token opens no session: TokenNotRecognised")
    assert (seen["problem"], {refused["label"], seen["label"]}) == ("", {"kit", "another"})
    assert seen["mechanisms"]


def test_a_mechanism_that_is_not_described_is_not_offered(node: Node, token: shim.Shim) -> None:
    """Some tokens list what they know nothing of: the keys of other mechanisms sign all the same."""
    token.inject("C_GetMechanismInfo", shim.answer(0x70))

    assert [key["signature"] for key in one_token(node, token)["keys"]] == ["good"] * len(KEYS)


def test_a_module_that_crashes_is_a_finding(node: Node, token: shim.Shim) -> None:
    """Exit 1 and a sentence; so is one that is not there."""
    token.inject("C_OpenSession", shim.crash())
    assert "could not be looked at" in run(node, token, code=1)
    assert "MODULE_MISSING" in run(node, token, "--module", "/nowhere.so", code=1)


def test_softhsm_without_its_configuration_is_told_apart(node: Node, token: shim.Shim) -> None:
    """A newcomer's first mistake: no token is found, and the variable that is not set has its name said."""
    node.config.write_text(re.sub('module = ".*"', f'module = "{SOFTHSM}"', node.config.read_text()))
    for unset in (False, True):
        if unset:
            del node.env["SOFTHSM2_CONF"]
        problem = one_token(node, token, code=int(unset))["problem"]
        assert problem.startswith("TOKEN_NOT_FOUND") == ("SOFTHSM2_CONF is not set" in problem) == unset
