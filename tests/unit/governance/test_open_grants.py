"""Do decisions find every open grant, however many jobs come and go, and is what is over forgotten?"""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kit.town import Town, read_again
from kit.townsfolk import GITHUB, LOW, certificate, secret_token
from sealpress.errors import NotPermitted, Precondition
from sealpress.governance import facts as f
from sealpress.governance import releases, state
from sealpress.governance.fold import apply
from sealpress.governance.open_grants import OpenGrants
from sealpress.governance.state import encode

HOUR_S = 3_600
KEPT = 3


def job(town: Town, number: int) -> str:
    """A job, which is a certificate of its own, signs; its grant."""
    identity = certificate("ci-app", number)
    town.sign(identity, LOW, (number,))
    found = town.state.job_of(identity.credential.hex(), LOW)
    assert found is not None
    return found.issued.grant


@pytest.fixture
def town(monkeypatch: pytest.MonkeyPatch) -> Town:
    """One that remembers few."""
    monkeypatch.setattr(state, "OVER_KEPT", KEPT)
    return Town()


def test_grants_of_jobs_that_are_long_over_are_forgotten(town: Town) -> None:
    """Those that expired, but for the last: the state of a fleet does not grow with its jobs."""
    names = []
    for number in range(3 * KEPT):
        names.append(job(town, number))
        town.wait(HOUR_S + 1)

    assert names[-KEPT:] == list(town.state.grants) == list(town.state.over)
    assert KEPT == len(town.state.jobs)
    assert not town.state.open_grants
    assert not town.state.ending
    assert vars(OpenGrants()) == vars(town.ledger.open)
    assert job(town, 0) not in names


def test_a_revoked_grant_is_never_forgotten(town: Town) -> None:
    """Else its job would get another one, some thousand jobs later."""
    revoked = job(town, 100)
    town.stop("olga", "grant", revoked)
    for number in range(2 * KEPT):
        job(town, number)
        town.wait(HOUR_S + 1)

    assert town.state.grants[revoked].state == "revoked"
    with pytest.raises(Precondition, match="revoked"):
        job(town, 100)


def test_revoked_grants_of_tokens_are_forgotten_when_no_token_of_then_counts(town: Town) -> None:
    """A pipeline that gives back each job's grant does not fill the memory: a token lasts for a quarter of an hour."""
    issued = town.state.grants[job(town, 1)].issued
    for number in range(20):
        name, holder = f"g{number}", secret_token(number).hex()
        times = {"not_before": town.now, "not_after": town.now + 900}
        town.declare(replace(issued, grant=name, identity=f"oidc:{GITHUB}#repo", holder=holder, **times))
        town.declare(f.GrantMoved(grant=name, verb="revoke", actor="", reason="done"))
        town.wait(900)

    kept = [name for name in town.state.grants if name != issued.grant]
    assert ["g16", "g17", "g18", "g19"] == kept  # of the last hour, and as many as are kept in any case
    assert read_again(town.state) == town.state == town.folded_again()


def test_a_state_that_was_read_has_the_same_tables(town: Town) -> None:
    """What follows from the grants is made again from them: what is open, whose it is, when it ends, what is over."""
    for number in range(2 * KEPT):
        job(town, number)
        town.wait(HOUR_S // 2)
    town.stop("olga", "grant", job(town, 100))
    read = read_again(town.state)

    assert read == town.state
    assert list(read.over) == list(town.state.over)
    assert [*read.over_at(town.now + HOUR_S)] == [*town.state.over_at(town.now + HOUR_S)]
    assert vars(OpenGrants.of(read)) == vars(town.ledger.open)


def test_a_copy_is_another_state(town: Town) -> None:
    """What is tried on it leaves the original as it was."""
    first, second = job(town, 1), job(town, 2)
    before, copy = encode(town.state), state.copy(town.state)
    assert copy == town.state

    apply(copy, f.GrantMoved(grant=first, verb="expire", actor="", reason=""), copy.seq + 1, town.now)
    apply(copy, f.GatePassed(grant=second, gate="g", person="person:lena", actor="a"), copy.seq + 1, town.now)
    assert before == encode(town.state)
    assert {first, second} == set(town.state.open_grants)


def test_a_gate_does_not_open_what_is_over(town: Town) -> None:
    """A gate that is passed after the grant was revoked gives nobody a right."""
    revoked = job(town, 1)
    town.stop("olga", "grant", revoked)
    town.declare(f.GatePassed(grant=revoked, gate="g", person="person:lena", actor="a"))

    assert town.ledger.open.get(revoked) is None
    with pytest.raises(NotPermitted):
        town.sign(certificate("ci-app", 1), LOW, (7,), revoked)


def test_time_looks_at_what_ends_now(town: Town) -> None:
    """Of thousands of open grants the clock looks at those whose minute has come."""
    for number in range(20):
        job(town, number)
        town.wait(60, tick=False)

    assert not [*town.state.over_at(town.now)]
    assert len(town.state.ending) >= 20
    town.wait(HOUR_S - 20 * 60, tick=False)
    assert [*town.state.over_at(town.now)] == list(town.state.open_grants)[:1]
    assert releases.HOUR_S == HOUR_S
