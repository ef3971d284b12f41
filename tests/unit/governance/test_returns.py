"""Does what was stopped come back as it was, or with what it had been given before?"""

from __future__ import annotations

import pytest

from kit.town import Town
from kit.townsfolk import LOW, RELEASE, certificate, person
from sealpress.errors import Precondition
from sealpress.governance.changes import RestoreRequest

HELPER, ROUTER, APP = (certificate(name) for name in ("helper", "ci-router", "ci-app"))


def back(town: Town, identity: str) -> None:
    """Stopped, and restored as it should be."""
    town.stop("iris", "identity", identity)
    town.pass_(town.propose("ada", "access.restore", RestoreRequest(what="identity", id=identity)), "abe", "stella")


def granted(town: Town, who: str) -> str:
    """An approved release whose releaser let it go."""
    change_id = town.request(certificate(who), RELEASE, (1,))
    grant = town.grant_of(town.pass_(change_id, *(("rita",) if who == "helper" else ("rita", "rob"))))
    town.release(grant, "lena")
    return grant


@pytest.mark.parametrize(("who", "stopped"), [("ci-router", "workload:ci-router"), ("helper", person("rex"))])
def test_a_grant_from_before_the_stop_is_over(who: str, stopped: str) -> None:
    """Whoever stole its credential may have asked: it asks again, and so does an agent when its principal returns."""
    town = Town()
    grant = granted(town, who)
    back(town, stopped)

    assert "expired" == town.state.grants[grant].state
    with pytest.raises(Precondition):
        town.sign(certificate(who), RELEASE, (1,))
    assert 1 == len(town.sign(certificate(who), RELEASE, (1,), granted(town, who)))
    assert town.folded_again() == town.state


def test_a_job_goes_on_when_its_pipeline_is_restored() -> None:
    """Its grant is of its credential, which would get another one at once; nobody else's release ends either."""
    town = Town()
    town.sign(APP, LOW, (1,))
    other = granted(town, "ci-router")
    back(town, "workload:ci-app")

    assert 1 == len(town.sign(APP, LOW, (2,)))
    assert "active" == town.state.grants[other].state
