"""Is who is enrolled somebody of his own, and does somebody answer for him who is still here?"""

from __future__ import annotations

from typing import Any

import pytest

from kit.town import Town
from kit.townsfolk import DAY_S, RELEASE, person, uri
from sealpress.errors import Malformed, Precondition
from sealpress.governance.changes import EnrolRequest, IssuerRequest


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


def test_an_issuer_has_an_owner() -> None:
    """GR-70: somebody who is here answers for whose tokens are read."""
    town = Town()
    issuer = {"issuer": "https://gitlab.example", "kind": "gitlab", "audience": "a"}

    for owner in ("", "person:nobody", "workload:ci-app"):
        with pytest.raises(Malformed, match="no active person"):
            town.propose("ada", "access.issuer", IssuerRequest(**issuer, owner=owner))  # type: ignore[arg-type]
    town.propose("ada", "access.issuer", IssuerRequest(**issuer, owner=person("kim")))  # type: ignore[arg-type]
