"""Do the tables move states, and nothing else? Is an illegal move an error that changes nothing?"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from kit.town import Town, read_again
from kit.townsfolk import LOW, certificate, person
from sealpress.errors import Precondition
from sealpress.governance import facts as f
from sealpress.governance import tables
from sealpress.governance.fold import apply
from sealpress.governance.state import State, encode
from sealpress.governance.tables import TABLES, move, states

VERBS = {name: {verb for _, verb in table} for name, table in TABLES.items()}
ENDS = {
    "key": {"destroyed", "destroyed_compromised"},
    "public": {"distrusted"},
    "change": {"rejected", "expired", "withdrawn", "void", "failed", "closed"},
    "approval": {"consumed", "revoked", "expired", "invalidated"},
    "grant": {"expired", "revoked"},
    "binding": {"revoked", "expired"},
    "identity": {"offboarded"},
    "policy": {"superseded", "withdrawn"},
}


def illegal(name: str) -> Iterator[tuple[str, str]]:
    """Every state and verb that a table does not join."""
    for state in sorted(states(TABLES[name])):
        yield from ((state, verb) for verb in sorted(VERBS[name]) if (state, verb) not in TABLES[name])


@pytest.mark.parametrize("name", TABLES)
def test_every_arrow_moves(name: str) -> None:
    """Each legal move gives the state that the table says."""
    for (state, verb), target in TABLES[name].items():
        assert target == move(TABLES[name], state, verb, name)


@pytest.mark.parametrize("name", TABLES)
def test_every_other_move_is_refused(name: str) -> None:
    """All other pairs raise ILLEGAL_MOVE; an unknown state or verb, too."""
    pairs = [*illegal(name), ("nowhere", next(iter(VERBS[name]))), (next(iter(states(TABLES[name]))), "fly")]

    for state, verb in pairs:
        with pytest.raises(Precondition) as caught:
            move(TABLES[name], state, verb, name)
        assert caught.value.reason == "ILLEGAL_MOVE"


@pytest.mark.parametrize("name", TABLES)
def test_ends_are_ends(name: str) -> None:
    """Exactly the states that GOVERNANCE 3.2 calls final have no way out."""
    assert ENDS[name] == {state for state in states(TABLES[name]) if all(source != state for source, _ in TABLES[name])}


def test_a_compromised_key_never_returns() -> None:
    """No chain of moves leads from compromised to a state that signs (GR-114)."""
    reached, waiting = set[str](), ["compromised"]
    while waiting:
        state = waiting.pop()
        reached.add(state)
        waiting += [to for (source, _), to in tables.KEY.items() if source == state and to not in reached]

    assert reached == {"compromised", "destroyed_compromised"}


def refused(state: State, fact: f.Fact) -> None:
    """The fold does not take it, and nothing is different."""
    before = encode(state)
    with pytest.raises(Precondition):
        apply(state, fact, state.seq + 1, state.time + 1)
    assert before == encode(state)


def test_the_fold_refuses_illegal_moves_whole() -> None:
    """Each illegal move of a key, a change, an identity, a binding, a grant leaves the state as it was, to the byte."""
    town = Town()
    change_id = town.propose("rena", "key.deactivate", '{"key":"k-low","line":"acme/app/eu/prod/images"}')
    town.approve(change_id, "tom")
    grant = town.state.open_grants
    town.sign(certificate("ci-app"), LOW, (1,))
    name = next(iter(grant))
    for state, verb in illegal("key"):
        town.state.keys["k-low"].state = state
        refused(town.state, f.KeyMoved(key="k-low", verb=verb, actor="", person="p", reason="r", since=3))
    for state, verb in illegal("change"):
        town.state.changes[change_id] = replace(town.state.changes[change_id], state=state)
        refused(town.state, f.ChangeMoved(change_id=change_id, verb=verb, actor="", reason="r"))
    for state, verb in illegal("approval"):
        if verb in ("revoke", "expire", "invalidate"):
            change = town.state.changes[change_id]
            change.approvals[person("tom")] = replace(change.approvals[person("tom")], state=state)
            refused(
                town.state,
                f.ApprovalEnded(change_id=change_id, person=person("tom"), verb=verb, actor=""),  # type: ignore[arg-type]
            )
    for state, verb in illegal("identity"):
        town.state.identities[person("rita")].state = state
        refused(town.state, f.IdentityMoved(identity=person("rita"), verb=verb, actor="", reason="r"))
    for state, verb in illegal("binding"):
        town.state.bindings["b0"].state = state
        refused(town.state, f.BindingMoved(binding="b0", verb=verb, actor="", reason="r"))
    for ended in ("revoked", "expired"):
        town.state.grants[name] = replace(town.state.grants[name], state=ended)
        refused(town.state, f.GrantMoved(grant=name, verb="revoke", actor="", reason="r"))


def test_the_fold_refuses_what_is_there_already_or_not_at_all() -> None:
    """A second enrolment, key, binding, grant or nonce, and facts about nothing: refused whole."""
    town = Town()
    town.sign(certificate("ci-app"), LOW, (1,))
    change_id = town.propose("rena", "key.deactivate", '{"key":"k-low","line":"acme/app/eu/prod/images"}')
    town.approve(change_id, "tom")
    kinds = (
        f.IdentityEnrolled | f.CredentialEnrolled | f.BindingMade | f.KeyProposed | f.KeyGenerated | f.GrantIssued
        | f.ApprovalCounted | f.ChangeSubmitted | f.AnchorsAdopted
    )  # fmt: skip
    again = [fact for fact in town.history if isinstance(fact, kinds)]
    nothing: list[f.Fact] = [
        f.KeyMoved(key="none", verb="suspend", actor="", person="", reason=""),
        f.ChangeMoved(change_id="none", verb="void", actor=""),
        f.ApprovalEnded(change_id=change_id, person="person:none", verb="revoke", actor=""),
        f.IdentityMoved(identity="person:none", verb="suspend", actor="", reason=""),
        f.CredentialRevoked(fingerprint="SHA256:none", actor="", reason=""),
        f.BindingMoved(binding="none", verb="revoke", actor="", reason=""),
        f.BindingMade(binding="x", identity="person:no", role="auditor", line="*", group="", not_after=0, change_id=""),
        f.BindingMade(binding="x", identity=person("sue"), role="king", line="*", group="", not_after=0, change_id=""),
        f.KeyExtended(key="none", rotate_by=1, not_after=1, change_id=""),
        f.KeyCertified(key="none", chain_sha256="0" * 64, chain="", operator=""),
        f.GrantMoved(grant="none", verb="revoke", actor="", reason=""),
        f.GatePassed(grant="none", gate="g", person="", actor=""),
    ]  # fmt: skip

    assert len({type(fact) for fact in again}) == 9
    for fact in [*again, *nothing]:
        refused(town.state, fact)


def test_a_state_survives_its_encoding() -> None:
    """A snapshot file gives the state back, and the fold goes on from it as from the original."""
    town = Town()
    change_id = town.propose("rena", "key.deactivate", '{"key":"k-low","line":"acme/app/eu/prod/images"}')
    town.approve(change_id, "tom")
    copy = read_again(town.state)

    assert town.state == copy
    assert encode(town.state) == encode(copy)

    moved = f.ChangeMoved(change_id=change_id, verb="withdraw", actor="x", reason="r")
    for state in (town.state, copy):
        apply(state, moved, state.seq + 1, 5)
    assert encode(town.state) == encode(copy)
