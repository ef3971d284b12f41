"""Does a signature rest on a grant that meets all that its own rule demands?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from kit.town import Town, sign_ask
from kit.townsfolk import LOW, certificate, policy_text, uri
from sealpress.errors import NotPermitted, Precondition, Refusal
from sealpress.governance import facts as f

SECOND_RULE = f"""
[line."{LOW}".rule.named]
action = "sign"
identities = ["{uri("ci-app")}"]
artifact = {{ names = {{ prefix = "a." }} }}
grant = {{ constraint = "exact-digests" }}
"""


def two_rules() -> Town:
    """The first rule of the line is about other artifacts and lets a job sign any of them; the second names digests."""
    first = f'[line."{LOW}".rule.ci]\naction = "sign"\n'
    text = policy_text().replace(first, first + 'artifact = { names = { prefix = "docs" } }\n')
    town = Town()
    town.declare(f.PolicyInForce(body=text + SECOND_RULE))
    return town


def test_a_job_grant_is_no_grant_for_a_rule_that_demands_digests() -> None:
    """A grant for any artifact, which one rule gives, does not let its job sign what another wants named."""
    town, ci = two_rules(), certificate("ci-app")
    town.request(ci, LOW, (1,))

    with pytest.raises(Precondition) as caught:
        town.append(ci, sign_ask(LOW, (2,)))
    assert caught.value.reason == "GRANT_REQUIRED"


def test_a_job_that_has_a_grant_gets_no_other_by_itself() -> None:
    """What its grant does not name is refused as such, by whatever rule it is asked for: asking again is no use."""
    first = f'[line."{LOW}".rule.ci]\naction = "sign"\n'
    text = policy_text().replace(first, SECOND_RULE.replace('"a."', '"image"') + first)
    town, ci = Town(), certificate("ci-app")
    town.declare(f.PolicyInForce(body=text))
    town.request(ci, LOW, (1,))

    with pytest.raises(NotPermitted) as caught:
        town.sign(ci, LOW, (2,))
    assert caught.value.reason == "GRANT_MISMATCH"


@pytest.mark.parametrize(("token", "reason"), [(b"", "CREDENTIAL_EXPIRED"), (b"sha256", "TOKEN_EXPIRED")])
@pytest.mark.parametrize("late", [0, 59])
def test_a_credential_that_is_over_fills_no_log(late: int, token: bytes, reason: str) -> None:
    """It may ask for a minute more, for clocks differ; a grant that is over when it begins is not written each time."""
    town = Town()
    job = replace(certificate("ci-app"), not_after=town.now + 10, token_sha256=token)
    town.wait(10 + late)
    before = len(town.history)

    with pytest.raises(NotPermitted) as caught:
        town.sign(job, LOW, (1,))
    assert caught.value.reason == reason
    assert len(town.history) == before


def test_a_token_in_another_form_has_the_grant_that_it_had() -> None:
    """An ECDSA signature has a second form: its job gets no second grant with it, and none after it was revoked."""
    town, job = Town(), replace(certificate("ci-app"), signed_sha256=b"s" * 32, token_sha256=b"1" * 32)
    turned = replace(job, token_sha256=b"2" * 32)
    grant = town.request(job, LOW, (1,))

    assert town.request(turned, LOW, (1,)) == grant
    town.stop("olga", "grant", grant)
    with pytest.raises(Precondition) as caught:
        town.request(turned, LOW, (1,))
    assert caught.value.reason == "GRANT_REVOKED"


@pytest.mark.parametrize(
    ("rule", "asked", "reason"),
    [
        ('artifact = { names = { prefix = "docs" } }', {}, "ARTIFACT_NOT_ALLOWED"),
        ('artifact = { digest_algs = ["sha384"] }', {}, "ALGORITHM_NOT_ALLOWED"),
        ("", {"grant_id": "01T"}, "GRANT_UNKNOWN"),
    ],
)
def test_who_is_refused_hears_what_to_do(rule: str, asked: dict[str, Any], reason: str) -> None:
    """Each refusal of a decision has a hint, and none tells what the rule says."""
    first = f'[line."{LOW}".rule.ci]\naction = "sign"\n'
    town, ci = Town(), certificate("ci-app")
    town.declare(f.PolicyInForce(body=policy_text().replace(first, f"{first}{rule}\n")))

    with pytest.raises(Refusal) as caught:
        town.append(ci, structs.replace(sign_ask(LOW, (1,)), **asked))
    assert reason == caught.value.reason
    assert caught.value.hint
    assert "docs" not in caught.value.hint
