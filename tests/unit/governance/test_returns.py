"""Does what was stopped come back as it was, or with what it had been given before?"""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kit.town import Town
from kit.townsfolk import HOUR_S, LOW, RELEASE, certificate, person
from sealpress.core.segment import SEGMENT_BYTES_MIN
from sealpress.errors import Precondition
from sealpress.governance import facts as f
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


def test_a_return_fits_into_the_smallest_segment_however_much_was_granted() -> None:
    """What it had ends look by look while people approve its return: the last approval has only that to record."""
    town = Town(strict=False)
    issued = town.state.grants[granted(town, "ci-router")].issued
    town.declare(*(replace(issued, grant=f"g{number}", change_id="founding") for number in range(400)))
    town.stop("iris", "identity", "workload:ci-router")
    request = RestoreRequest(what="identity", id="workload:ci-router")
    other, _ = (town.propose("ada", "access.restore", request) for _ in range(2))
    town.tick()
    before = len(town.history)
    town.pass_(other, "abe", "stella")

    assert sum(len(f.body_of(fact)) for fact in town.history[before:]) < SEGMENT_BYTES_MIN // 4
    assert not town.state.open_grants and "active" == town.state.identities["workload:ci-router"].state


def test_what_is_granted_after_a_return_is_not_ended_by_another_that_is_pending() -> None:
    """Only who is still stopped loses what he had: a second proposal for one who came back ends nothing."""
    town = Town(strict=False)
    town.stop("iris", "identity", "workload:ci-router")
    request = RestoreRequest(what="identity", id="workload:ci-router")
    asked = [town.propose("ada", "access.restore", request) for _ in range(2)]
    town.pass_(asked[0], "abe", "stella")
    grant = granted(town, "ci-router")
    town.wait(1)

    assert "active" == town.state.grants[grant].state


def test_a_grant_whose_hour_has_come_ends_once_though_its_identity_is_to_return() -> None:
    """Time and the return would both end it: the look that meets them says so once, or no look would ever fold."""
    town = Town(strict=False)
    grant = granted(town, "ci-router")
    town.stop("iris", "identity", "workload:ci-router")
    town.propose("ada", "access.restore", RestoreRequest(what="identity", id="workload:ci-router"))
    town.wait(8 * HOUR_S)

    assert "expired" == town.state.grants[grant].state
    assert town.folded_again() == town.state
