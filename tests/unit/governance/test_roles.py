"""Are the roles, their planes and their conflicts those of GOVERNANCE 3.4?"""

from __future__ import annotations

import itertools

import pytest

from kit.world import apart
from sealpress.governance.roles import CONFLICTS, PLANE_OF, Plane, Role, conflict, strict
from sealpress.values import KeyClass


def test_every_role_has_its_plane() -> None:
    """All fourteen roles stand in one plane each, and no plane is empty."""
    assert set(Role) == set(PLANE_OF)
    assert len(Role) == 14
    assert set(Plane) == set(PLANE_OF.values())


@pytest.mark.parametrize("one", Role)
def test_the_matrix_is_that_of_the_text(one: Role) -> None:
    """Every pair conflicts or not as a second reading of GOVERNANCE 3.4 says, in both orders."""
    for other in Role:
        if other is not one:
            expected = apart(str(one), str(other))

            assert expected == (frozenset((one, other)) in CONFLICTS), (one, other)
            assert expected == (conflict([one, other]) is not None) == (conflict([other, one]) is not None)


def test_an_incident_responder_goes_with_everything_else() -> None:
    """He can only stop; auditor and log operator are the text's own words about writing."""
    free = [role for role in Role if conflict([role, Role.INCIDENT_RESPONDER]) is None]

    assert set(Role) == set(free)


def test_one_role_never_conflicts_with_itself() -> None:
    """Two bindings to one role are no conflict."""
    assert all(conflict([role, role]) is None for role in Role)


def test_a_conflict_among_many_is_found() -> None:
    """Whatever else somebody is."""
    for pair in CONFLICTS:
        for third in itertools.islice(Role, 3):
            assert conflict([*pair, third]) is not None


def test_the_matrix_binds_from_class_release_up() -> None:
    """Test and low lines may be run by few."""
    assert [False, False, True, True, True] == [strict(class_) for class_ in KeyClass]
