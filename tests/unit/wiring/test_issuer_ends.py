"""Can an issuer that must not be believed any more be ended?"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from kit.town import Town
from kit.townsfolk import AUDIENCE, GITHUB, person
from sealpress.governance.changes import IssuerRequest
from sealpress.wiring import services


def test_an_issuer_registered_for_nobody_is_over() -> None:
    """As the manual says: two persons give it another audience, and the next call's token is not read."""
    town, tokens = Town(), SimpleNamespace()
    office: Any = SimpleNamespace(state=town.state)
    services.registered(tokens, office)  # type: ignore[arg-type]
    assert tokens.registered(GITHUB, "github", AUDIENCE)

    request = IssuerRequest(issuer=GITHUB, kind="github", audience="-", owner=person("kim"))
    town.pass_(town.propose("ada", "access.issuer", request), "abe", "stella")
    assert not tokens.registered(GITHUB, "github", AUDIENCE)
