"""Is who is enrolled somebody of his own, and does somebody answer for him who is still here?"""

from __future__ import annotations

from typing import Any

import pytest

from kit.town import Town
from kit.townsfolk import DAY_S, RELEASE, person, uri
from sealpress.errors import Malformed
from sealpress.governance.changes import EnrolRequest, IssuerRequest


def enrolment(kind: str, name: str, **other: Any) -> EnrolRequest:
    """Of somebody new; `other` fields replace these."""
    owners = {"owner": person("kim"), "backup_owner": person("karl")} if kind != "person" else {}
    return EnrolRequest(identity=f"{kind}:{name}", kind=kind, names=(uri(name),), **owners, **other)  # type: ignore[arg-type]


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
