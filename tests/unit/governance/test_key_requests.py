"""Do requests about a key say what their approvers need to know, and can they be made when they must be?"""

from __future__ import annotations

import pytest

from kit.town import Town
from kit.townsfolk import FIRMWARE, LOW, RELEASE, TEST, key_request, policy_text
from sealpress.errors import Malformed, Precondition
from sealpress.governance import facts as f
from sealpress.governance import proposals
from sealpress.governance.changes import CompromiseRequest, KeyAct
from sealpress.governance.state import copy, encode

TABLE = f'[line."{RELEASE}"]\n'


@pytest.mark.parametrize("trust", ["Firmware", "boot ", "recovery_path, nothing else", "\ufb01rmware", ""])
def test_what_trusts_a_key_is_said_in_the_policy_s_words(trust: str) -> None:
    """Another spelling of firmware is not below its class's floor, and no approver reads what is not so (GR-02)."""
    town = Town()

    with pytest.raises(Malformed, match="in the policy's words"):
        town.propose("ines", "key.issue", key_request("k1", RELEASE, town.now, trusts=(trust,)))


@pytest.mark.parametrize("length", range(20, 24))
def test_a_summary_that_is_cut_says_so(length: int) -> None:
    """Nobody hides at the end of a long list how far a key reaches, or loses his request to a blank at the cut."""
    town = Town()
    trusts = (*(f"{'x' * length}-{number:02}" for number in range(30)), "firmware")
    change_id = town.propose("ines", "key.issue", key_request("k1", FIRMWARE, town.now, trusts=trusts))
    summary = town.state.change(change_id).record.summary

    assert len(summary) == proposals.SUMMARY_MAX
    assert summary.endswith("…")


def test_a_key_of_a_line_that_is_gone_is_found_compromised() -> None:
    """Officers decide when no policy names the line any more: its devices trust the key all the same (GR-114)."""
    town = Town()
    town.declare(f.PolicyInForce(body=policy_text(lines=(TEST, LOW, RELEASE))))
    request = CompromiseRequest(key="k-firmware", line=FIRMWARE, since=town.now - 60, evidence="found on a share")

    town.pass_(town.propose("iris", "key.compromise", request), "stella")
    assert town.state.keys["k-firmware"].state == "compromised"


def test_a_key_is_trusted_at_least_as_its_line() -> None:
    """Approvers read how far a key reaches: not less than the policy says of its line."""
    town = Town()
    town.declare(f.PolicyInForce(body=town.state.policy.replace(TABLE, f'{TABLE}trusts = ["ota"]\n')))

    with pytest.raises(Malformed, match="policy's words: ota"):
        town.propose("ines", "key.issue", key_request("k1", RELEASE, town.now, trusts=("apps",)))
    town.propose("ines", "key.issue", key_request("k1", RELEASE, town.now, trusts=("apps", "ota")))


@pytest.mark.parametrize(("devices", "taken"), [(1 << 53, True), ((1 << 53) + 1, False), (1 << 64, False)])
def test_no_number_of_devices_makes_a_state_that_nobody_can_write(devices: int, taken: bool) -> None:
    """One proposer would end governance with it, stops included: what stands in a record stands in a snapshot, too."""
    town = Town(strict=False)
    request = key_request("k1", RELEASE, town.now, fleet_estimate=devices)

    if not taken:
        with pytest.raises(Malformed, match="at most"):
            town.propose("ines", "key.issue", request)
        return
    town.propose("ines", "key.issue", request)
    assert encode(town.state) == encode(copy(town.state))


def test_a_key_that_was_issued_for_less_takes_no_line_over() -> None:
    """It would end the key that signs, and sign nothing itself: its line became another class since it was made."""
    town = Town()
    made = town.propose("ines", "key.issue", key_request("k1", LOW, town.now))
    town.execute(town.pass_(made, "kim"), "ines")
    act = KeyAct(key="k1", line=LOW)
    waiting = town.propose("ines", "key.activate", act)
    town.declare(f.PolicyInForce(body=policy_text(low_class="release")))

    with pytest.raises(Malformed) as refusal:
        town.propose("ines", "key.activate", act)
    assert "KEY_DIFFERS_FROM_POLICY" == refusal.value.reason
    town.declare(f.PolicyInForce(body=policy_text()))
    town.execute(town.pass_(waiting, "kim"), "ines")
    assert "k1" == town.state.active[LOW]


def test_who_carries_out_a_change_twice_is_not_sent_for_approvals() -> None:
    """The answer to the first time was lost, or the command was typed again: it is done, and can be seen."""
    town = Town()
    change = town.pass_(town.propose("ines", "key.issue", key_request("k1", LOW, town.now)), "kim")
    town.execute(change, "ines")

    with pytest.raises(Precondition) as refusal:
        town.execute(change, "ines")
    assert ("CHANGE_NOT_APPROVED", True) == (refusal.value.reason, "sealpress change show" in refusal.value.hint)
