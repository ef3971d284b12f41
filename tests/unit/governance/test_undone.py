"""Is a change that had no effect forgotten once it is long over, and nothing that counts with it?"""

from __future__ import annotations

import pytest

from kit.town import Town, read_again
from kit.townsfolk import RELEASE, certificate
from sealpress.errors import Precondition
from sealpress.governance import proposals, state
from sealpress.governance.state import TOKEN_S, encode

KEPT = 3


@pytest.fixture
def town(monkeypatch: pytest.MonkeyPatch) -> Town:
    """One that remembers few."""
    monkeypatch.setattr(state, "UNDONE_KEPT", KEPT)
    return Town()


def taken_back(town: Town, number: int) -> str:
    """A pipeline asks for a release and changes its mind; the change."""
    router = certificate("ci-router")
    change_id = town.request(router, RELEASE, (number,))
    town.act(lambda desk: proposals.withdraw(desk, desk.actor(router.id), change_id, "changed my mind"))
    return change_id


def test_who_asks_and_takes_back_without_end_fills_no_memory(town: Town) -> None:
    """The last few are told of; the state is as large after many as after few, and the same however it was come by."""
    names, sizes = [], []
    for number in range(4 * KEPT):
        names.append(taken_back(town, number))
        town.wait(TOKEN_S + 1)
        sizes.append(len(encode(town.state)))

    kept = [name for name in names if name in town.state.changes]
    assert names[-KEPT:] == kept == list(town.state.undone)
    assert max(sizes[KEPT:]) <= sizes[KEPT] + 16  # numbers have more digits
    assert read_again(town.state) == town.state == town.folded_again() == state.copy(town.state)
    with pytest.raises(Precondition, match="no such change"):
        town.state.change(names[0])


def test_what_a_token_asked_for_stays_while_the_token_counts(town: Town) -> None:
    """Each token asks once, and after a start the daemon knows that from the changes."""
    names = [taken_back(town, number) for number in range(3 * KEPT)]
    assert names == list(town.state.undone)

    town.wait(TOKEN_S + 1)
    last = taken_back(town, 100)
    assert [*names[-KEPT + 1 :], last] == list(town.state.undone)


def test_a_change_with_effect_is_never_forgotten(town: Town) -> None:
    """Neither is one that still waits, however old: the evidence of a signature leads to its change."""
    done = town.pass_(town.request(certificate("ci-router"), RELEASE, (1000,)), "rita", "rob")
    waits = town.request(certificate("ci-router"), RELEASE, (1001,))
    for number in range(3 * KEPT):
        taken_back(town, number)
        town.wait(TOKEN_S + 1)

    assert town.state.change(done).state == "closed"
    assert town.state.change(waits).state == "in_review"


def test_a_state_of_before_has_the_table_after_it_was_read(town: Town) -> None:
    """A file without it says as much: which changes are over without effect, in their order."""
    names = [taken_back(town, number) for number in range(KEPT)]
    town.state.undone = {}

    assert names == list(read_again(town.state).undone)
