"""Does a snapshot say of each name what it may at that second?"""

from __future__ import annotations

import pytest

from kit.town import Town
from kit.townsfolk import DAY_S, GENESIS, LOW, TEST, certificate, key_request, uri
from sealpress.errors import Precondition
from sealpress.governance import facts as f
from sealpress.governance.changes import KeyAct


def test_an_auditor_is_none_when_his_enrolment_is_over() -> None:
    """A partner reads the log until his enrolment ends, whether a role or the policy lets him read it."""
    town = Town()
    audit = f'[audit]\nidentities = ["{uri("mac")}"]\n'
    town.declare(
        f.PolicyInForce(body=f"{town.state.policy}{audit}"),
        f.IdentityEnrolled(
            identity="partner:mac", kind="partner", names=(uri("mac"),), owner="", backup_owner="", trust_domain="",
            environment="", expires=GENESIS + DAY_S, change_id="c",
        ),
        f.BindingMade(
            binding="x", identity="partner:fab", role="auditor", line="*", group="", not_after=0, change_id="c"
        ),
    )  # fmt: skip
    assert town.snapshot is not None
    may = town.snapshot.may_audit

    assert may(uri("mac"), GENESIS + DAY_S - 1)
    assert not may(uri("mac"), GENESIS + DAY_S)
    assert may(uri("fab"), GENESIS + 300 * DAY_S - 1)
    assert not may(uri("fab"), GENESIS + 300 * DAY_S)


def test_an_auditor_of_one_line_does_not_read_them_all() -> None:
    """The logs hold every line's records: to read them takes the role for every line, as its approvers read it."""
    town = Town()
    for name, line in (("ci-app", TEST), ("ci-test", "*")):
        town.declare(
            f.BindingMade(
                binding=name, identity=f"workload:{name}", role="auditor", line=line, group="", not_after=0,
                change_id="c",
            )
        )  # fmt: skip
    assert town.snapshot is not None

    assert [town.snapshot.may_audit(uri(name), GENESIS) for name in ("ci-app", "ci-test")] == [False, True]


def test_a_key_that_others_know_signs_no_more() -> None:
    """From the policy on that denies its public key it signs nothing; what was approved before starts none."""
    town = Town()
    issued = town.pass_(town.propose("ines", "key.issue", key_request("k1", LOW, town.now)), "kim")
    town.execute(issued, "ines")
    activation = town.pass_(town.propose("ines", "key.activate", KeyAct(key="k1", line=LOW)), "kim")
    assert 1 == len(town.sign(certificate("ci-app"), LOW, (1,)))
    leaked = ", ".join(f'"{town.state.keys[key].key_id}"' for key in ("k-low", "k1"))

    town.declare(f.PolicyInForce(body=f"{town.state.policy}[denied]\nspki_sha256 = [{leaked}]\n"))

    with pytest.raises(Precondition, match="no key that may sign now"):
        town.sign(certificate("ci-app"), LOW, (2,))
    with pytest.raises(Precondition, match="GR-84"):
        town.execute(activation, "ivan")
