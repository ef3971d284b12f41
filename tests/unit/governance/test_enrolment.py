"""Is who is enrolled somebody of his own, and does somebody answer for him who is still here?"""

from __future__ import annotations

from typing import Any

import pytest

from kit.town import Town
from kit.townsfolk import DAY_S, MACHINES, RELEASE, person, policy_text, uri
from sealpress.errors import Malformed, NotPermitted, Precondition
from sealpress.governance import facts as f
from sealpress.governance.changes import BindRequest, EnrolRequest, IssuerRequest, RestoreRequest
from sealpress.governance.roles import Role


def enrolment(kind: str, name: str, **other: Any) -> EnrolRequest:
    """Of somebody new; `other` fields replace these."""
    owners = {"owner": person("kim"), "backup_owner": person("karl")} if kind != "person" else {}
    return EnrolRequest(identity=f"{kind}:{name}", kind=kind, names=(uri(name),), **owners, **other)  # type: ignore[arg-type]


def test_no_id_differs_from_another_only_in_capitals() -> None:
    """Who approves a role of Rita's reads it as rita's: one natural person, one id (GR-32)."""
    town = Town()

    with pytest.raises(Precondition, match="capitals"):
        town.propose("ada", "access.enrol", enrolment("person", "Rita"))
    town.propose("ada", "access.enrol", enrolment("person", "rita.m"))


def test_two_who_differ_only_in_capitals_are_not_both_enrolled() -> None:
    """Proposed side by side, the second is refused when it is to be carried out."""
    town = Town()
    first, second = (town.propose("ada", "access.enrol", enrolment("person", name)) for name in ("zoe", "Zoe"))
    town.pass_(first, "abe", "stella")
    town.approve(second, "abe")

    with pytest.raises(Precondition, match="capitals"):
        town.approve(second, "stella")


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        ("agent", {"on_behalf_of": person("rex")}),
        (
            "partner",
            {"sponsor": person("rex"), "agreement": "A-2", "trust_domain": "x", "line": RELEASE, "expires": DAY_S},
        ),
    ],
)
def test_nobody_is_enrolled_for_who_has_left(kind: str, other: dict[str, Any]) -> None:
    """An agent's principal counts as creator, a partner's sponsor answers for him: both are active persons."""
    town = Town()
    if "expires" in other:
        other = other | {"expires": town.now + DAY_S}
    change_id = town.propose("ada", "access.enrol", enrolment(kind, "new", **other))
    town.approve(change_id, "abe")
    town.stop("iris", "offboard", person("rex"))

    with pytest.raises(Malformed):
        town.approve(change_id, "stella")
    with pytest.raises(Malformed):
        town.propose("ada", "access.enrol", enrolment(kind, "new", **other))


def test_nobody_approves_for_his_own_agent() -> None:
    """It acts on his behalf: what it gains he does, so he proposes it no more than he approves it (GR-34)."""
    town = Town()
    enrol = enrolment("agent", "abe-helper", on_behalf_of=person("abe"))
    with pytest.raises(NotPermitted, match="for himself"):
        town.propose("abe", "access.enrol", enrol)
    change_id = town.propose("ada", "access.enrol", enrol)
    with pytest.raises(NotPermitted):
        town.approve(change_id, "abe")
    town.declare(
        f.IdentityEnrolled(
            identity="agent:abe-helper", kind="agent", names=("uri:abe-helper",), owner="", backup_owner="",
            trust_domain="", environment="", on_behalf_of=person("abe"), change_id="c",
        )
    )  # fmt: skip

    bind = BindRequest(identity="agent:abe-helper", role=Role.REQUESTER, line=RELEASE)
    with pytest.raises(NotPermitted, match="for himself"):
        town.propose("abe", "access.bind", bind)
    other = town.propose("ada", "access.bind", bind)
    with pytest.raises(NotPermitted):
        town.approve(other, "abe")
    town.approve(other, "stella")


def test_an_issuer_has_an_owner() -> None:
    """GR-70: somebody who is here answers for whose tokens are read."""
    town = Town()
    issuer = {"issuer": "https://gitlab.example", "kind": "gitlab", "audience": "a"}

    for owner in ("", "person:nobody", "workload:ci-app"):
        with pytest.raises(Malformed, match="no active person"):
            town.propose("ada", "access.issuer", IssuerRequest(**issuer, owner=owner))  # type: ignore[arg-type]
    town.propose("ada", "access.issuer", IssuerRequest(**issuer, owner=person("kim")))  # type: ignore[arg-type]


def test_a_restored_requester_finds_his_place_taken() -> None:
    """GR-50: a line has no more requesters than its policy says, whether by a new role or by one that returns."""
    town = Town()
    town.declare(f.PolicyInForce(body=policy_text(requesters_max=5)))
    places = [
        f.BindingMade(
            binding=f"z{number}", identity=name, role="requester", line=RELEASE, group="", not_after=0,
            change_id="c",
        )
        for number, name in enumerate(MACHINES)
        if name != "partner:fab"
    ]  # fmt: skip
    suspended = next(one.id for one in town.state.bindings.values() if one.identity == person("rex"))
    town.declare(*places, f.BindingMoved(binding=suspended, verb="suspend", actor="", reason="a new class"))
    change_id = town.propose("ada", "access.restore", RestoreRequest(what="binding", id=suspended))
    town.approve(change_id, "abe")
    other = BindRequest(identity="partner:fab", role=Role.REQUESTER, line=RELEASE)
    town.pass_(town.propose("ada", "access.bind", other), "abe", "stella")

    with pytest.raises(Precondition, match="has its 5 requesters"):
        town.approve(change_id, "stella")
