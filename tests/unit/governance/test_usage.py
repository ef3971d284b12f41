"""Does a signature rest on a grant that meets all that its own rule demands?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from kit.acme import LOW as LOW_LINE
from kit.acme import TEST as TEST_LINE
from kit.acme import ask, caller, digest
from kit.governed import Governed, refused
from kit.town import Town, sign_ask
from kit.townsfolk import LOW, certificate, policy_text, uri
from sealpress.errors import NotPermitted, Precondition, Refusal
from sealpress.governance import facts as f
from sealpress.governance import usage
from sealpress.values import KeyClass

DIGEST, OTHER = digest(1), digest(2)
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


async def test_a_grant_that_is_named_and_over_brings_no_other(tmp_path: Path) -> None:
    """Whoever names a grant hears that it is over; who names none, of a job whose grant is over, gets another."""
    async with Governed(tmp_path, lines={LOW_LINE: KeyClass.LOW}) as node:
        await node.begin()
        over = node.grant(LOW_LINE, 9, change_id="", not_after=node.now)
        await node.write(over)
        snapshot, ledger, who = node.shared.snapshot, node.office.ledger, caller().identity

        with pytest.raises(Precondition) as caught:
            usage.decide(snapshot, ledger, who, ask(LOW_LINE, DIGEST, grant_id=over.grant), node.now)
        assert caught.value.reason == "GRANT_EXPIRED"
        assert usage.decide(snapshot, ledger, who, ask(LOW_LINE, DIGEST), node.now).automatic


async def test_a_grant_that_is_named_is_spent_where_none_is_needed(tmp_path: Path) -> None:
    """A line of class test asks for none: what is named all the same is held to it, and forgotten when it is over."""
    async with Governed(tmp_path, lines={TEST_LINE: KeyClass.TEST}) as node:
        await node.begin()
        grant = node.grant(TEST_LINE, 1)
        await node.write(grant)
        await node.sign(ask(TEST_LINE, DIGEST, grant_id=grant.grant))
        assert node.office.ledger.grants == {grant.grant: 1}
        assert "GRANT_EXHAUSTED" == (await refused(node, ask(TEST_LINE, OTHER, grant_id=grant.grant))).reason
        await node.sign(ask(TEST_LINE, OTHER))
        await node.write(f.GrantMoved(grant=grant.grant, verb="expire", actor="", reason=""))
        assert node.office.ledger.grants == {}
